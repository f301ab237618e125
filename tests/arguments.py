"""Arguments of a command that most tests of a class share: an option may be given once, so those of a test replace them."""

ALSO = {"-m": "--model", "-t": "--threads", "-n": "--tokens"}


def with_defaults(defaults, more):
    """defaults: values by option. The options that `more` does not give, and `more`."""
    missing = [(option, value) for option, value in defaults.items() if not {option, ALSO.get(option)} & set(more)]
    return [word for pair in missing for word in pair] + list(more)
