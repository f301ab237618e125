"""judgeq inspect --kept on tiny models: the rows against what a policy says, the marks against the rows, the page's data.
test_kept.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest

import terminal
from arguments import with_defaults
from in_folder import InFolder
from page_elements import Elements

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

TEXT = "the room in the rain is on a string again\nand the heron sings to the iron ring\n" * 3
# Tokens are strings of their own, so the whole of it can only come in a file's name.
HOSTILE_NAME = "<", "script><script>document.title='taken'<", "script><!-- <script>.gguf"
HOSTILE = "</script><script>document.title='taken'</script><!-- <img src=x onerror=alert(1)> \x1b[31m & ' \" \u2028 \u00e9\U0001f600"


def positions(runs):
    return [i for first, last in zip(runs[::2], runs[1::2]) for i in range(first, last + 1)]


class Kept(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model, cls.judge = cls.path("model.gguf"), cls.path("judge.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "bpe-smollm", cls.model], check=True)
        subprocess.run([MAKE_FIXTURE, "judge", cls.model, cls.judge], check=True)

    def arguments(self, *more):
        defaults = {"-m": self.model, "--judge": self.judge, "-t": "1"}
        return [JUDGEQ, "inspect", "--kept", "--raw", *with_defaults(defaults, more)]

    def succeed(self, *more):
        done = subprocess.run(self.arguments(*more), stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def refuse(self, status, words, *more):
        done = subprocess.run([JUDGEQ, "inspect", "--kept", *more], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, status, said)
        self.assertIn(words, said)
        self.assertEqual(said.count("\n"), 1, said)

    def json(self, *more):
        return json.loads(self.succeed("--json", *more))

    def test_rows_are_the_policy_s(self):
        found = self.json("-p", TEXT, "--policy", "streaming", "--policy", "full", "--budget", "16,25%")
        n = found["prompt_tokens"]
        self.assertEqual(len(found["tokens"]), n)
        self.assertEqual([(cut["policy"], cut["budget"]) for cut in found["cuts"]],
                         [("streaming", "16"), ("streaming", "25%"), ("full", "16"), ("full", "25%")])
        for cut in found["cuts"]:
            self.assertEqual(len(cut["kept"]), found["n_layer"])
            rows = n if cut["policy"] == "full" else 16 if cut["budget"] == "16" else cut["rows"]
            # StreamingLLM: four sinks, and the last rows of the prompt
            expected = list(range(n)) if rows == n else [*range(4), *range(n - rows + 4, n)]
            for heads in cut["kept"]:
                self.assertEqual([positions(runs) for runs in heads], [expected] * found["n_head_kv"])
        self.assertAlmostEqual(found["cuts"][1]["rows"], n / 4, delta=1)

    def test_budgets_are_kept(self):
        found = self.json("-p", TEXT, "--policy", "judge", "--policy", "snapkv,keep=recent:8", "--policy", "judge-laq",
                          "--budget", "16,32")
        for cut in found["cuts"]:
            for heads in cut["kept"]:
                kept = [positions(runs) for runs in heads]
                self.assertEqual(sum(map(len, kept)), cut["rows"] * found["n_head_kv"], cut["policy"])
                if "recent:8" in cut["policy"]:
                    self.assertTrue(all(rows[-8:] == list(range(found["prompt_tokens"] - 8, found["prompt_tokens"]))
                                        for rows in kept))
                self.assertTrue(all(rows == sorted(set(rows)) for rows in kept))

    def test_the_same_as_alone(self):
        together = self.json("-p", TEXT, "--policy", "snapkv", "--policy", "judge", "--budget", "48,40")
        alone = self.json("-p", TEXT, "--policy", "judge", "--budget", "40")
        self.assertEqual(together["cuts"][3], alone["cuts"][0])

    def test_texts_make_the_prompt(self):
        for text in TEXT, HOSTILE, "\U0001f600" * 5:
            found = self.json("-p", text, "--policy", "full")
            self.assertEqual("".join(token["text"] for token in found["tokens"]).lstrip(" "), text)

    def marks(self, found, cut, layer=None):
        """The mark of each token, from the rows."""
        held = [positions(runs) for l, heads in enumerate(cut["kept"]) for runs in heads if layer in (None, l)]
        shares = [sum(i in rows for rows in held) / len(held) for i in range(found["prompt_tokens"])]
        return [" " if share == 0 else "#" if share == 1 else "." if share < 0.1 else str(int(share * 10 + 1e-6))
                for share in shares]

    def test_plain_marks(self):
        choice = "-p", TEXT, "--policy", "judge", "--budget", "24"
        found = self.json(*choice)
        for layer in None, 1:
            shown = self.succeed(*choice, "--quiet", *(["--layer", str(layer)] if layer is not None else []))
            heading, legend, empty, *lines = shown.split("\n")
            self.assertIn("judge, budget 24: 24 of %d rows" % found["prompt_tokens"], heading)
            expected_text, expected_marks = "", ""
            for token, mark in zip(found["tokens"], self.marks(found, found["cuts"][0], layer)):
                expected_text += token["text"]
                expected_marks += "".join("\n" if c == "\n" else mark for c in token["text"])
            expected = []
            for text, marks in zip(expected_text.split("\n"), expected_marks.split("\n")):
                expected += [text] + ([marks.rstrip()] if marks.strip() else [])
            self.assertEqual(lines[:len(expected)], expected)
            self.assertEqual("".join(lines[len(expected):]), "")

    def test_lines_fit_the_page(self):
        shown = self.succeed("-p", "the iron ring " * 40 + "\u4e2d\u6587" * 60, "--policy", "full")
        lines = shown.split("\n")[3:]
        for text, marks in zip(lines[::2], lines[1::2]):
            width = sum(2 if ord(c) > 0x2e80 else 1 for c in text)
            self.assertLessEqual(width, 80)
            self.assertEqual(len(marks), width)

    def on_terminal(self, environment, *more):
        """What the command writes to a terminal."""
        screen = terminal.Terminal()
        done = subprocess.run(self.arguments("--quiet", *more), stdout=screen.file, stderr=subprocess.PIPE, timeout=60,
                              env={**os.environ, "TERM": "xterm-256color", **environment})
        shown = screen.end()
        self.assertEqual(done.returncode, 0, done.stderr)
        return shown

    def test_colours_on_terminals_only(self):
        choice = "-p", TEXT + "\x1b[5m", "--policy", "streaming", "--budget", "16"
        plain = self.succeed(*choice)
        self.assertNotIn("\x1b", plain)
        self.assertEqual(self.on_terminal({"NO_COLOR": "1"}, *choice), plain)
        self.assertEqual(self.on_terminal({"TERM": "dumb", "NO_COLOR": ""}, *choice), plain)
        deep = self.on_terminal({"COLORTERM": "truecolor", "NO_COLOR": ""}, *choice)
        self.assertIn("48;2;253;231;37m", deep)  # all keep it: viridis' bright end
        few = self.on_terminal({"COLORTERM": "", "NO_COLOR": ""}, *choice)
        self.assertRegex(few, r"48;5;\d+m")
        self.assertNotIn("48;2;", few)
        for shown in deep, few:
            self.assertNotIn("\x1b[5m", shown)  # the text cannot steer the terminal
            bare = re.sub(r"\x1b\[[0-9;]*m", "", shown)
            self.assertIn(TEXT, bare)

    def test_page(self):
        page, model = self.path("kept.html"), self.path(os.path.join(*HOSTILE_NAME))
        os.makedirs(os.path.dirname(model))
        shutil.copy(self.model, model)
        self.succeed("-m", model, "-p", TEXT + HOSTILE, "--policy", "judge", "--policy", "snapkv", "--html", page)
        with open(page, encoding="utf-8") as file:
            text = file.read()
        found = Elements(text)
        self.assertEqual(found.tags.count("script"), 2)
        self.assertNotIn("img", found.tags)
        self.assertEqual(found.addresses, [])  # nothing is loaded
        self.assertIn("default-src 'none'", text)
        self.assertNotIn("@DATA@", text)
        self.assertNotIn("@STYLE@", text)
        self.assertNotIn("@SCRIPT@", text)
        data = json.loads(found.scripts[0])
        self.assertEqual(data["model"], model)
        self.assertEqual("".join(token["text"] for token in data["tokens"]).lstrip(" "), TEXT + HOSTILE)
        n = data["prompt_tokens"]
        budgets = [32 * 2**i for i in range(10) if 32 * 2**i < n]
        self.assertEqual([cut["rows"] for cut in data["cuts"]], budgets * 2)

    def test_page_and_json_together(self):
        page = self.path("both.html")
        printed = self.json("-p", TEXT, "--policy", "streaming", "--budget", "8", "--html", page)
        with open(page, encoding="utf-8") as file:
            self.assertEqual(json.loads(Elements(file.read()).scripts[0]), printed)

    def test_failures(self):
        self.refuse(2, '-p "TEXT", -f FILE or both', "-m", self.model)
        self.refuse(2, 'what is "x"', "-p", "a", "x")
        self.refuse(2, "unknown option", "-p", "a", "--nonsense")
        self.refuse(2, "--budget needs a value", "-p", "a", "--budget")
        for budget in "", "0", "5%,x", "101%", "1,", "-3", "1" * 40:
            with self.subTest(budget):
                self.refuse(2, '--budget "%s": expected' % budget, "-p", "a", "--budget", budget)
        self.refuse(2, "--policy can be given 16 times", "-p", "a", *["--policy", "full"] * 17)
        self.refuse(2, "exclude each other", "-p", "a", "--chat", "--raw")
        self.refuse(2, "count from 0", "-m", self.model, "-p", "a", "--policy", "full", "--layer", "99")
        self.refuse(2, "nonesuch", "-m", self.model, "-p", "a", "--policy", "nonesuch")
        self.refuse(1, "/no/such", "-m", "/no/such", "-p", "a", "--policy", "full")
        self.refuse(1, "/no/such", "-m", self.model, "-f", "/no/such", "--policy", "full")
        done = subprocess.run(self.arguments("-p", TEXT, "--policy", "full", "--html", "/no/such/page.html"),
                              capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"/no/such/page.html", done.stderr)
        with open("/dev/full", "w") as full:
            for more in [], ["--json"]:
                done = subprocess.run(self.arguments("-p", TEXT, "--policy", "full", *more), stdout=full,
                                      stderr=subprocess.PIPE, timeout=60)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"cannot write to standard output", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
