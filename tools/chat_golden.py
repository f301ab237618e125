#!/usr/bin/env python3
"""Writes tests/data/chat/expected.jsonl: what jinja2, set up as transformers does for apply_chat_template, makes of the
templates beside it, which have the shapes of well-known models' templates.

    python3 -m venv venv && venv/bin/pip install jinja2==3.1.6
    TZ=UTC venv/bin/python tools/chat_golden.py tests/data/chat

A line: {"template", "case", "messages", "think", "closed", "text" or "error"}. The clock stands at NOW; the first and the
last token of a sequence are those of the tests' SentencePiece vocabulary. Where a template leaves a system message out
without a word, "error" is what judgeq says of it: it refuses where jinja2 does not.
"""
import datetime
import json
import pathlib
import sys

from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = 1735689600 + 86400 * 64  # 2025-03-06
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class Generation(Extension):
    """{% generation %} marks what the assistant said, and shows it"""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def raise_exception(message):
    raise TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(form):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)


ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = raise_exception
ENVIRONMENT.globals["strftime_now"] = strftime_now


def message(role, content):
    return {"role": role, "content": content}


USER = message("user", "Who signed it?")
SYSTEM = message("system", "Be brief.\nNever guess.")
TURNS = [
    message("user", "  Höflich, mit\n\nAbsätzen und Rändern \n"),
    message("assistant", "<think>\nHm.\n</think>\n\nGewiss."),
    message("user", "{{ bos_token }} {% if %} \\n 你好 🙂 'quoted' \"too\""),
]
CASES = {
    "user": ([USER], {}),
    "system": ([SYSTEM, USER], {}),
    "turns": (TURNS, {}),
    "system and turns": ([SYSTEM, *TURNS], {}),
    "closed": ([USER, message("assistant", "Nobody.")], {"closed": True}),
    "think": ([USER], {"think": True}),
    "no think": ([USER], {"think": False}),
    "no think in turns": ([SYSTEM, *TURNS], {"think": False}),
}


def typed(messages):
    """For templates that read lists of parts, as their users give them"""
    return [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]


def render(name, source, messages, settings):
    variables = {}
    if "think" in settings:
        variables = {"enable_thinking": settings["think"], "thinking": settings["think"]}
    return ENVIRONMENT.from_string(source).render(
        messages=typed(messages) if name == "typed-contents" else messages, tools=None, documents=None,
        add_generation_prompt=not settings.get("closed", False), **TOKENS, **variables)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    with open(folder / "expected.jsonl", "w", encoding="utf-8") as out:
        for path in sorted(folder.glob("*.jinja")):
            for case, (messages, settings) in CASES.items():
                line = {"template": path.name, "case": case, "messages": messages, "think": settings.get("think"),
                        "closed": settings.get("closed", False)}
                try:
                    line["text"] = render(path.stem, path.read_bytes().decode(), messages, settings)
                    if SYSTEM in messages and SYSTEM["content"] not in line["text"]:
                        del line["text"]
                        line["error"] = "it has no place for a system message"
                except TemplateError as error:
                    line["error"] = str(error)
                out.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
