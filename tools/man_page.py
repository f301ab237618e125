"""A manual page from a command's own --help, so that it cannot say anything else:
man_page.py JUDGEQ COMMAND > judgeq-COMMAND.1

Help texts have paragraphs, headings (short lines without a full stop) over indented lists, list entries (a term, at least two
spaces, what it means, going on further to the right), and examples."""

import re
import subprocess
import sys

HEADING_MOST = 60


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


def summary_of(judgeq, command):
    """The line of `judgeq --help` about the command."""
    found = re.search(rf"^  {command} +(.*)$", output(judgeq, "--help"), re.MULTILINE)
    if not found:
        sys.exit(f"man_page.py: judgeq --help has no command {command}")
    return found[1]


def roff(text):
    """Text as roff reads it: no escapes, no control lines, and hyphens that can be copied as they are."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


OPTION = r"--[\w-]+(?: \S+?)?"  # with the name of its value
OPTIONS = re.compile(rf"\s+((?:-\w, )?{OPTION}(?:, {OPTION})*)(?:\s+(\S.*))?$")
ANY_TERM = re.compile(r"\s+(\S.*?)(?:\s{2,}(\S.*))?$")


def split_term(line):
    """A list entry's term and the beginning of its meaning, which is None where it is on the next line."""
    return (OPTIONS.match(line) or ANY_TERM.match(line)).groups()


class Page:
    def __init__(self, command, summary):
        self.command = command
        self.lines = [f'.TH JUDGEQ\\-{command.upper()} 1 "" "judgeq"', ".SH NAME", f"judgeq\\-{command} \\- {roff(summary)}"]
        self.examples = []
        self.term_indent = None  # of the list that is being read

    def usage(self, lines):
        self.lines.append(".SH SYNOPSIS")
        for line in lines:
            self.lines += [".B " + roff(re.sub(r"^(Usage:)?\s*", "", line)), ".br"]
        self.lines.append(".SH DESCRIPTION")

    def block(self, lines, next_to_list):
        """Lines without indentation."""
        text = " ".join(lines)
        self.term_indent = None
        if next_to_list and len(text) <= HEADING_MOST and not text.endswith("."):
            self.lines.append(f'.SS "{roff(text.rstrip(":"))}"')
        else:
            self.lines += [".PP", roff(text)]

    def entry(self, line):
        """A line of a list."""
        indent = len(line) - len(line.lstrip())
        term, meaning = split_term(line)
        is_option = re.match(r"\s+-", line) is not None
        if self.term_indent is None or is_option or indent <= self.term_indent:
            if not is_option:
                self.term_indent = indent
            elif self.term_indent is None:
                self.term_indent = 6  # of an option without a short name
            self.lines += [".TP", ".B " + roff(term)]
            if meaning:
                self.lines.append(roff(meaning))
        else:
            self.lines.append(roff(line.strip()))

    def end(self):
        if self.examples:
            self.lines.append(".SH EXAMPLES")
            for example in self.examples:
                self.lines += [".PP", ".nf", roff(example), ".fi"]
        self.lines += [".SH EXIT STATUS", "0 on success, 1 on failure, 2 on wrong usage.", ".SH SEE ALSO", ".BR judgeq (1)"]
        return "\n".join(self.lines) + "\n"


def make(command, summary, text):
    page = Page(command, summary)
    blocks = [block.split("\n") for block in text.rstrip("\n").split("\n\n")]
    page.usage(blocks.pop(0))
    in_examples = False
    for block in blocks:
        plain = [line for line in block if not line.startswith(" ")]
        if plain and re.match("Examples?:?$", plain[0]):
            page.examples += [line.strip() for line in block[1:]]
            continue
        at = 0
        while at < len(block):
            line = block[at]
            example = re.match(r"\s+Example: (.*)", line)
            in_examples = example is not None or (in_examples and re.match(r"\s", line) is not None and at > 0)
            if example:
                page.examples.append(example[1])
            elif in_examples:
                page.examples[-1] += " " + line.strip()
            elif line.startswith(" "):
                page.entry(line)
            else:
                end = at
                while end < len(block) and not block[end].startswith(" "):
                    end += 1
                page.block(block[at:end], end < len(block))
                at = end - 1
            at += 1
        in_examples = False
    return page.end()


if __name__ == "__main__":
    judgeq, command = sys.argv[1:3]
    sys.stdout.reconfigure(encoding="utf-8")
    print(make(command, summary_of(judgeq, command), output(judgeq, command, "--help")), end="")
