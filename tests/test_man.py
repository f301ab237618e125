"""Every command has a manual page, and page and --help name the same options.
test_man.py JUDGEQ WRITTEN_PAGES MADE_PAGES [unittest arguments]"""

import os
import re
import shutil
import subprocess
import sys
import unittest

JUDGEQ = os.path.abspath(sys.argv[1])
FOLDERS = sys.argv[2:4]

# Options in one line of a help text: at its beginning, up to two spaces.
TERM = re.compile(r"^ +(-.*?)(?:  |$)")
NAME = re.compile(r"(?<![\w-])--?[a-z][\w-]*")


def help_of(*command):
    return subprocess.run([JUDGEQ, *command, "--help"], check=True, capture_output=True, encoding="utf-8").stdout


def commands():
    listed = help_of().split("Commands\n")[1].split("\n\n")[0]
    return re.findall(r"^  ([\w-]+)", listed, re.MULTILINE)


def options_of_help(command):
    texts = [help_of(command)] + ([help_of(command, "--kept")] if command == "inspect" else [])
    terms = [match[1] for text in texts for line in text.split("\n") if (match := TERM.match(line))]
    return {name for term in terms for name in NAME.findall(term)}


def page_of(command):
    for folder in FOLDERS:
        path = os.path.join(folder, f"judgeq-{command}.1")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                return path, file.read()
    return None, ""


def flags(lines):
    """What mdoc's Fl marks: its arguments up to the next macro, as in "Fl m , -model Ar file"."""
    found = set()
    for line in lines:
        marked = False
        for word in line.lstrip(".").split():
            if re.fullmatch("[A-Z][a-z]", word):
                marked = word == "Fl"
            elif marked and re.fullmatch(r"-?[a-z][\w-]*", word):
                found.add("-" + word)
    return found


def options_of_page(text):
    """Described ones, and all that it names."""
    if ".Dd" in text:  # mdoc
        lines = [line for line in text.split("\n") if line.startswith(".")]
        return flags(line for line in lines if line.startswith(".It")), flags(lines)
    terms = re.findall(r"^\.TP\n\.B (.*)$", text, re.MULTILINE)
    described = {name for term in terms if term.startswith("\\-") for name in NAME.findall(term.replace("\\-", "-"))}
    return described, described


class Manual(unittest.TestCase):
    def test_every_command_has_its_page(self):
        self.assertGreaterEqual(len(commands()), 8)
        for command in commands():
            with self.subTest(command):
                self.assertIsNotNone(page_of(command)[0])
        with open(os.path.join(FOLDERS[0], "judgeq.1"), encoding="utf-8") as file:
            listed = re.findall(r"^\.It Cm ([\w-]+)$", file.read(), re.MULTILINE)
        self.assertEqual(sorted(listed), sorted(commands()))

    def test_pages_and_help_agree(self):
        for command in commands():
            with self.subTest(command):
                text = page_of(command)[1]
                described, named = options_of_page(text)
                expected = options_of_help(command)
                self.assertGreater(len(expected), 1)
                self.assertEqual(expected - named - {"-h", "--help"}, set(), "not in the page")
                self.assertEqual(described - expected, set(), "not in --help")

    def test_made_pages_say_all_that_help_says(self):
        for command in commands():
            path, text = page_of(command)
            if not path or not path.startswith(FOLDERS[1]):
                continue
            with self.subTest(command):
                words = lambda some: re.sub(r"[^\w]+", " ", some).split()
                said = set(words(text.replace("\\-", "-").replace("\\e", "\\")))
                self.assertEqual(set(words(help_of(command))) - said - {"Usage", "Example", "Examples"}, set())

    @unittest.skipUnless(shutil.which("man"), "no man")
    def test_pages_are_sound(self):
        for command in commands():
            with self.subTest(command):
                done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page_of(command)[0]],
                                      capture_output=True, encoding="utf-8", env={**os.environ, "MANWIDTH": "80"})
                self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
