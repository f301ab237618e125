"""judgeq data as its users meet it, on tiny models: sources of every kind, broken ones, interruptions, wrong usage.
test_data_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

SENTENCE = "The heron sings to the iron ring in the rain, and the string is on the ring again. "


class Data(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="judgeq-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.model = cls.path("model.gguf")  # never ends a response by itself
        subprocess.run([MAKE_FIXTURE, "endless", "bpe-smollm", cls.model], check=True)
        cls.texts = cls.path("texts")
        os.makedirs(os.path.join(cls.texts, "inner"))
        cls.write("texts/a.txt", SENTENCE * 30)
        cls.write("texts/inner/b.md", ("# Über Ströme\n\n" + "Größe, Fläche, Straße; 東京と京都。\n" * 40))
        cls.write("texts/picture.png", "not a text, and not asked for")
        cls.write("texts/.hidden.txt", SENTENCE)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def write(cls, name, text):
        with open(cls.path(name), "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return cls.path(name)

    def arguments(self, output, *more):
        return [JUDGEQ, "data", "-m", self.model, "-o", output, "-t", "1", "--tokens", "6", "--min", "40", "--max",
                "400", *more]

    def run_data(self, output, *more):
        return subprocess.run(self.arguments(output, *more), capture_output=True, timeout=120)

    def make(self, output, *more):
        done = self.run_data(output, *more)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        header, *examples = [json.loads(line) for line in self.read(output).splitlines()]
        self.assertEqual(header["judgeq_data"], 1)
        return examples, done.stderr.decode()

    @staticmethod
    def read(path):
        with open(path, "rb") as file:
            return file.read()

    def test_folder(self):
        output = self.path("folder.jsonl")
        examples, said = self.make(output, self.texts)
        self.assertGreater(len(examples), 3)
        self.assertIn("from 2 files", said)
        self.assertIn("0 files, lines or conversations were left out", said)
        for example in examples:
            self.assertTrue(40 <= len(example["prompt"]) <= 400)
            self.assertEqual(len(example["response"]), 6)
        again = self.path("again.jsonl")
        self.make(again, self.texts)
        self.assertEqual(self.read(again), self.read(output))
        self.make(self.path("seed.jsonl"), self.texts, "--seed", "1")
        self.assertNotEqual(self.read(self.path("seed.jsonl")), self.read(output))
        few, _ = self.make(self.path("few.jsonl"), self.texts, "-n", "2")
        self.assertEqual(few, examples[:2])

    def test_the_response_is_the_model_s_own(self):
        """The same as judgeq run writes, token by token."""
        data = self.write("one.jsonl", json.dumps({"messages": [{"role": "user", "content": SENTENCE * 3}]}))
        examples, _ = self.make(self.path("one-set.jsonl"), data)
        self.assertEqual(len(examples), 1)
        ran = subprocess.run([JUDGEQ, "run", "-m", self.model, "-t", "1", "-n", "6", "--json", "-p", SENTENCE * 3],
                             capture_output=True, check=True)
        result = json.loads(ran.stdout)
        self.assertEqual(result["tokens"], examples[0]["response"])
        self.assertEqual(result["prompt_tokens"], len(examples[0]["prompt"]))

    def test_conversations(self):
        turns = [{"from": "system", "value": "Be brief. " * 5}, {"from": "human", "value": SENTENCE},
                 {"from": "gpt", "value": "Yes."}, {"from": "human", "value": SENTENCE}]
        closed = turns + [{"from": "gpt", "value": "a last answer that the model gives itself"}]
        openai = [{"role": {"human": "user", "gpt": "assistant"}.get(t["from"], t["from"]), "content": t["value"]}
                  for t in turns]
        share = self.write("share.json", json.dumps([{"id": "x", "conversations": turns}, {"conversations": closed}]))
        lines = self.write("openai.jsonl", json.dumps({"messages": openai}) + "\n")
        examples, _ = self.make(self.path("talks.jsonl"), share, lines)
        self.assertEqual(len(examples), 3)
        self.assertEqual(examples[0]["prompt"], examples[1]["prompt"])
        self.assertEqual(examples[0]["prompt"], examples[2]["prompt"])

    def test_weights(self):
        """Every beginning holds the sources by their weights."""
        def talks(name, word):
            lines = [json.dumps({"messages": [{"role": "user", "content": (word + " ") * (60 + i)}]}) for i in range(30)]
            return self.write(name, "\n".join(lines))
        often, seldom = talks("often.jsonl", "ring"), talks("seldom.jsonl", "heron")
        def count(*arguments):
            output = self.path("weights.jsonl")
            if os.path.exists(output):
                os.unlink(output)
            examples, _ = self.make(output, "-n", "20", *arguments)
            return sum(ring in example["prompt"] for example in examples)
        only, _ = self.make(self.path("only.jsonl"), often, "-n", "1")
        other, _ = self.make(self.path("other.jsonl"), seldom, "-n", "1")
        ring = max(set(only[0]["prompt"]) - set(other[0]["prompt"]), key=only[0]["prompt"].count)
        self.assertGreater(count(often + ":9", seldom), 14)
        self.assertLess(count(often, seldom + ":9"), 6)
        self.assertEqual(count(often + ":9", seldom + ":0.000001"), 20)
        self.assertTrue(5 <= count(often, seldom) <= 15)
        named = self.write("name:2", "x")  # a file of that very name is no weight
        _, said = self.make(self.path("named.jsonl"), often, named, "-n", "1")
        self.assertIn("name:2: does not end in", said)

    def test_retrieval(self):
        """This model of random weights answers no question right: all retrieval prompts are counted as wrong."""
        plain, said = self.make(self.path("none.jsonl"), self.texts, "--retrieval", "0")
        self.assertIn("0 a wrong one", said)
        facts, said = self.make(self.path("facts.jsonl"), self.texts, "--retrieval", "1", "--max", "2000")
        self.assertEqual(facts, [])
        self.assertGreater(int(re.search(r"(\d+) a wrong one", said)[1]), 1)
        some, said = self.make(self.path("some.jsonl"), self.texts, "--retrieval", "0.5", "--max", "2000")
        self.assertTrue(some and int(re.search(r"(\d+) a wrong one", said)[1]))

    def test_sampled_responses(self):
        greedy, _ = self.make(self.path("greedy.jsonl"), self.texts)
        sampled, _ = self.make(self.path("sampled.jsonl"), self.texts, "--temp", "1")
        again, _ = self.make(self.path("sampled-again.jsonl"), self.texts, "--temp", "1", "-n", "2")
        self.make(self.path("sampled-again.jsonl"), self.texts, "--temp", "1", "--resume")
        self.assertEqual([e["prompt"] for e in greedy], [e["prompt"] for e in sampled])
        self.assertNotEqual([e["response"] for e in greedy], [e["response"] for e in sampled])
        self.assertEqual(again, sampled[:2])
        self.assertEqual(self.read(self.path("sampled-again.jsonl")), self.read(self.path("sampled.jsonl")))

    def test_what_is_broken_is_named_and_counted(self):
        good = json.dumps({"messages": [{"role": "user", "content": SENTENCE * 3}]})
        lines = self.write("broken.jsonl", "\n".join([
            good, "{", "[]", '{"messages": []}', '{"messages": [{"role": "alien", "content": "x"}]}',
            '{"messages": [{"role": "robot", "content": "x"}, {"role": "user", "content": "x"}]}',
            '{"messages": [{"role": "user", "content": ""}]}', good]))
        latin = self.write("latin.txt", "Stra\xdfe ".encode("latin-1") * 50)
        empty, odd = self.write("empty.txt", ""), self.write("odd.pdf", "%PDF")
        array = self.write("array.json", "{}")
        examples, said = self.make(self.path("rest.jsonl"), lines, latin, empty, odd, array, "/no/such/file")
        self.assertEqual(len(examples), 2)
        for words in ("broken.jsonl:2: not JSON", "broken.jsonl:3: has neither", "broken.jsonl:4: has no turn of a user",
                      "broken.jsonl:5: has no turn of a user", "broken.jsonl:6: has a turn of an unknown role",
                      "broken.jsonl:7: has a turn without text", "latin.txt: is not UTF-8", "empty.txt: is empty",
                      "odd.pdf: does not end in", "array.json: not an array", "/no/such/file: No such file",
                      "11 files, lines or conversations were left out"):
            self.assertIn(words, said)

    def test_lengths_are_counted(self):
        def talk(n):
            return json.dumps({"messages": [{"role": "user", "content": "ring " * n}]})
        data = self.write("lengths.jsonl", "\n".join([talk(1), talk(60), talk(600)]))
        examples, said = self.make(self.path("lengths-set.jsonl"), data)
        self.assertEqual(len(examples), 1)
        self.assertIn("1 were shorter than 40 tokens, 1 longer than 400", said)

    def test_interrupted_sets_end_the_same(self):
        whole = self.path("whole.jsonl")
        self.make(whole, self.texts)
        for name, number in ("int", signal.SIGINT), ("kill", signal.SIGKILL):
            with self.subTest(name):
                output, interrupted = self.path(name + ".jsonl"), 0
                for attempt in range(200):
                    resume = ["--resume"] if os.path.exists(output) else []
                    process = subprocess.Popen(self.arguments(output, self.texts, *resume), stderr=subprocess.PIPE)
                    try:
                        process.wait(0.01 + 0.005 * attempt)
                    except subprocess.TimeoutExpired:
                        process.send_signal(number)
                        interrupted += 1
                    said = process.communicate(timeout=60)[1].decode()
                    if process.returncode == 0:
                        break
                    self.assertIn(process.returncode, (1, -number), said)
                self.assertGreater(interrupted, 0)
                self.assertEqual(self.read(output), self.read(whole))

    def test_a_torn_line_is_cut_off(self):
        output = self.path("torn.jsonl")
        self.make(output, self.texts)
        whole = self.read(output)
        for cut in (10, len(whole) // 2, len(whole) - 1, 0):
            self.write("torn.jsonl", whole[:cut])
            self.make(output, self.texts, "--resume")
            self.assertEqual(self.read(output), whole)

    def test_resuming_what_is_something_else(self):
        output = self.path("else.jsonl")
        self.make(output, self.texts)
        whole = self.read(output)
        done = self.run_data(output, self.texts)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"--resume continues it", done.stderr)
        for more in ("--seed", "9"), (self.path("texts/a.txt"),):
            done = self.run_data(output, self.texts, "--resume", *more)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"cannot be resumed", done.stderr)
        self.assertEqual(self.read(output), whole)

    def test_the_set_trains_a_judge(self):
        output = self.path("train.jsonl")
        self.make(output, self.texts)
        done = subprocess.run([JUDGEQ, "train", "-m", self.model, "--data", output, "-o", self.path("judge.gguf"), "-t",
                               "1", "--n-soft", "2", "--epochs", "1"], capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertNotIn("left out", done.stderr.decode())
        other = self.path("other.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "bpe-default", other], check=True)
        done = subprocess.run([JUDGEQ, "train", "-m", other, "--data", output, "-o", self.path("never.gguf")],
                              capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"made with model", done.stderr)

    def test_a_model_without_a_template(self):
        plain = self.path("plain.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "bpe-default", plain], check=True)
        done = subprocess.run([JUDGEQ, "data", "-m", plain, "-o", self.path("plain.jsonl"), "-t", "1", "--tokens", "4",
                               "--min", "20", "-n", "2", self.texts], capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def test_wrong_usage(self):
        for status, words, arguments in (
                (2, "-o SET.jsonl is missing", ["x"]), (2, "which sources?", ["-o", "x"]),
                (2, "unknown option", ["--nonsense"]), (2, "needs a value", ["-o"]),
                (2, '-n "0": expected', ["-n", "0"]), (2, '--tokens "1": expected', ["--tokens", "1"]),
                (2, '--seed "x": expected', ["--seed", "x"]), (2, '--temp "-1": expected', ["--temp", "-1"]),
                (2, '--retrieval "2": expected', ["--retrieval", "2"]), (2, "--min is more than --max",
                                                               ["-o", "x", "--min", "9", "--max", "8", "y"]),
                (2, "the sources hold no prompt", ["-m", self.model, "-o", self.path("no"), self.write("s.jsonl", "\n")]),
                (1, "/no/such", ["-m", "/no/such", "-o", self.path("no"), "x"]),
                (1, "/no/folder/set", ["-m", self.model, "-o", "/no/folder/set", self.texts])):
            with self.subTest(words):
                done = subprocess.run([JUDGEQ, "data", *arguments], capture_output=True, timeout=60)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(words, done.stderr.decode())
        self.assertFalse(os.path.exists(self.path("no")))
        done = subprocess.run([JUDGEQ, "data", "--help"], check=True, capture_output=True)
        for option in "output model examples tokens min max retrieval temp top-p seed resume threads quiet help".split():
            self.assertIn("--" + option, done.stdout.decode())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
