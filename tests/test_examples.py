"""examples/ does what it says, and README.md's C is taken from it.
test_examples.py JUDGEQ MAKE_FIXTURE FIRST CONVERSATION [unittest arguments]"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

JUDGEQ, MAKE_FIXTURE, FIRST, CONVERSATION = (os.path.abspath(path) for path in sys.argv[1:5])
ROOT = pathlib.Path(__file__).resolve().parent.parent
QUESTION = "Which of the herons sings in the rain? " * 12 # more rows than the example keeps


def execute(*command):
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)


def lines_of(text):
    """Without indentation, which differs, and without what stands after the code."""
    return [line for line in (re.sub(r"\s*/\*.*?\*/", "", line).strip() for line in text.split("\n")) if line]


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="judgeq-test-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.model = os.path.join(cls.folder.name, "bpe.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "bpe-smollm", cls.model], check=True)

    def test_first_answers_as_the_command_does(self):
        done = execute(FIRST, self.model, QUESTION)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        command = execute(JUDGEQ, "run", "-m", self.model, "-p", QUESTION, "--policy", "snapkv", "--budget", "64", "-n",
                          "128", "--quiet")
        self.assertEqual(command.returncode, 0, command.stderr)
        self.assertGreater(len(done.stdout), 20)
        self.assertEqual(done.stdout, command.stdout.removesuffix("\n"))

    def test_first_says_what_is_wrong(self):
        for arguments, message in [((), "usage: first MODEL.gguf QUESTION"), (("/nowhere.gguf", "Why?"), "/nowhere.gguf"),
                                   ((self.model, "why " * 10000), "tokens")]:
            with self.subTest(message):
                done = execute(FIRST, *arguments)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(message, done.stderr)

    def test_conversation_goes_on(self):
        """Turns longer than the context together; the first answer is that of judgeq run."""
        turns = ["Which of the herons sings?", "And in the rain?", "Why?", "Is it again on a string?"]
        done = subprocess.run([CONVERSATION, self.model], input="\n".join(turns) + "\n", capture_output=True, encoding="utf-8",
                              errors="replace", check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        command = execute(JUDGEQ, "run", "-m", self.model, "-p", turns[0] + "\n", "--policy", "full", "-n", "20", "--quiet")
        first = command.stdout.removesuffix("\n")
        self.assertEqual(command.returncode, 0, command.stderr)
        self.assertGreater(len(first), 10)
        self.assertEqual(done.stdout[:len(first)], first)
        self.assertGreater(len(done.stdout), 3 * len(first))
        wrong = execute(CONVERSATION, "/nowhere.gguf")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("/nowhere.gguf", wrong.stderr)

    def test_readme_quotes_it(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        block = re.search(r"```c\n(.*?)```", text, re.DOTALL)
        self.assertIsNotNone(block)
        example = lines_of((ROOT / "examples/first.c").read_text(encoding="utf-8"))
        quoted = lines_of(block[1])
        self.assertGreater(len(quoted), 5)
        self.assertEqual([line for line in quoted if line not in example], [])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
