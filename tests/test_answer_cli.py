"""Answers that judgeq run and judgeq chat constrain or penalise, on tiny models with random weights.
test_answer_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import subprocess
import sys
import unittest

from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

SCHEMA = {"type": "object", "additionalProperties": False, "required": ["name", "age", "kind"],
          "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 1, "maximum": 99},
                         "kind": {"enum": ["cat", "dog"]}}}
ANSWER = 'root ::= "yes" | "no" | "it is " [a-c]{2}\n'


class Answers(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_model(MAKE_FIXTURE, "endless", "bpe-smollm")
        cls.schema = cls.write("answer.schema.json", json.dumps(SCHEMA))
        cls.grammar = cls.write("answer.gbnf", ANSWER)

    def execute(self, command, *arguments, text="", status=0):
        done = subprocess.run([JUDGEQ, command, "-m", self.model, "-t", "1", "--quiet", *arguments], input=text.encode(),
                              capture_output=True, timeout=120)
        self.assertEqual(done.returncode, status, done.stderr.decode())
        return (done.stdout if status == 0 else done.stderr).decode()

    def run_tokens(self, *arguments):
        return json.loads(self.execute("run", "-p", "the room", "-n", "24", "--json", *arguments))["tokens"]

    def check_schema(self, text):
        answer = json.loads(text)
        self.assertEqual(set(answer), {"name", "age", "kind"})
        self.assertIsInstance(answer["name"], str)
        self.assertIn(answer["age"], range(1, 100))
        self.assertIn(answer["kind"], ("cat", "dog"))

    def check_answer(self, text):
        self.assertRegex(text, r"\A(yes|no|it is [abc]{2})\n\Z")

    def test_schema(self):
        for seed in range(6):
            for schema in (self.schema, json.dumps(SCHEMA)):
                self.check_schema(self.execute("run", "-p", "the", "-n", "500", "--temp", "1.5", "--seed", str(seed),
                                               "--json-schema", schema))
        self.check_schema(self.execute("run", "-p", "the", "-n", "500", "--json-schema", self.schema))

    def test_grammar(self):
        seen = {self.execute("run", "-p", "the", "--temp", "20", "--top-k", "0", "--top-p", "1", "--min-p", "0",
                             "--seed", str(seed), "--grammar", self.grammar)
                for seed in range(12)}
        for text in seen:
            self.check_answer(text)
        self.assertGreater(len(seen), 2)

    def test_every_turn(self):
        for _ in range(2):
            lines = self.execute("chat", "--temp", "1.5", "--grammar", self.grammar, text="the room\nagain\nand again\n")
            self.assertEqual(len(lines.splitlines()), 3)
            for line in lines.splitlines():
                self.check_answer(line + "\n")

    def test_penalties(self):
        plain = self.run_tokens()
        self.assertLess(len(set(plain)), len(plain))  # or there would be nothing to penalise
        self.assertEqual(len(set(self.run_tokens("--presence-penalty", "100"))), 24)
        self.assertEqual(len(set(self.run_tokens("--frequency-penalty", "100"))), 24)
        self.assertEqual(self.run_tokens("--repeat-penalty", "1"), plain)
        self.assertNotEqual(self.run_tokens("--repeat-penalty", "100"), plain)
        near = self.run_tokens("--presence-penalty", "100", "--penalty-window", "1")
        self.assertTrue(all(a != b for a, b in zip(near, near[1:])))
        self.assertLess(len(set(near)), 24)

    def test_template(self):
        file = self.write("upper.jinja", "{% for m in messages %}{{ m.content | upper }}{% endfor %}")
        upper = self.run_tokens("--chat-template", file)
        shouted = json.loads(self.execute("run", "-p", "THE ROOM", "-n", "24", "--json", "--raw"))["tokens"]
        self.assertEqual(upper, shouted)
        self.assertEqual(self.run_tokens("--chat-template", "chatml"),
                         json.loads(self.execute("run", "-p", "<|im_start|>user\nthe room<|im_end|>\n<|im_start|>assistant\n", "-n",
                                                 "24", "--json", "--raw"))["tokens"])
        chat = json.loads(self.execute("chat", "-n", "24", "--json", "--policy", "full", "--chat-template", file,
                                       text="the room\n"))["tokens"]
        self.assertEqual(chat, upper)

    def test_refused(self):
        broken = self.write("broken.gbnf", 'root ::= "a"\nb "c"\n')
        cases = (
            (2, "broken.gbnf: grammar: line 2: expecting ::= at", "--grammar", broken),
            (1, f"--grammar: {self.path('nowhere.gbnf')}: No such file", "--grammar", self.path("nowhere.gbnf")),
            (1, f"--json-schema: {self.path('nowhere.json')}: No such file", "--json-schema", self.path("nowhere.json")),
            (2, "--json-schema: JSON schema: no JSON: line 1", "--json-schema", '{"type"'),
            (2, "answer.gbnf: JSON schema: no JSON: line 1", "--json-schema", self.grammar),
            (2, "unrecognized type strnig", "--json-schema", '{"type": "strnig"}'),
            (1, "No such file", "--chat-template", self.path("nowhere.jinja")),
            (1, "the chat template cannot be used", "--chat", "--chat-template", self.write("bad.jinja", "{% for %}")),
            (2, "exclude each other", "--grammar", self.grammar, "--json-schema", self.schema),
            (2, "--raw has no template", "--raw", "--chat-template", "chatml"),
            (2, "--defer", "--defer", "--grammar", self.grammar),
            (2, "--presence-penalty", "--presence-penalty", "101"),
            (2, "--repeat-penalty", "--repeat-penalty", "0"),
        )
        for status, words, *arguments in cases:
            self.assertIn(words, self.execute("run", "-p", "the", *arguments, status=status))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
