"""judgeq train --online as its users meet it, on a tiny model: runs, interruptions, sources that end, wrong usage.
test_online_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import subprocess
import sys
import unittest

import interruptions
from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

SENTENCE = "The heron sings to the iron ring in the rain, and the string is on the ring again. "
EXAMPLES, HELD, REPLAY = 10, 2, 2
STEPS = (EXAMPLES - HELD) * REPLAY
PROMPTS = ["--tokens", "6", "--min", "40", "--max", "400"]


class Online(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_model(MAKE_FIXTURE, "endless", "bpe-smollm")
        cls.talks = cls.path("talks.jsonl")
        with open(cls.talks, "w") as file:
            for i in range(14):
                turn = {"role": "user", "content": SENTENCE * 2 + "ring " * i}
                print(json.dumps({"messages": [turn]}), file=file)

    def arguments(self, output, *more, n=EXAMPLES):
        return [JUDGEQ, "train", "--online", "-m", self.model, "-n", str(n), "-o", output, "-t", "1", "--n-soft", "4",
                "--heldout", "0.2", "--replay", str(REPLAY), "--ring", "3", "--accumulate", "2", "--seed", "3",
                *PROMPTS, *(more or [self.talks])]

    def succeed(self, output, *more, n=EXAMPLES):
        done = subprocess.run(self.arguments(output, *more, n=n), capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stderr.decode()

    def lines(self, path):
        return [json.loads(line) for line in self.read(path).splitlines()]

    def test_whole_run(self):
        output = self.path("whole.gguf")
        said = self.succeed(output)
        self.assertIn("held out: loss", said)
        self.assertIn(f"{EXAMPLES} examples in {output}.data.jsonl", said)
        self.assertFalse(os.path.exists(output + ".checkpoint"))
        log = self.lines(output + ".log.jsonl")
        self.assertEqual([line["step"] for line in log if "loss" in line], list(range(1, STEPS + 1)))
        measured = [line for line in log if "heldout" in line]
        self.assertEqual([line["heldout"]["examples"] for line in measured], [HELD] * len(measured))
        self.assertEqual((measured[0]["step"], measured[-1]["step"]), (0, STEPS))
        described = subprocess.run([JUDGEQ, "inspect", "--json", output], check=True, capture_output=True)
        judge = json.loads(described.stdout)
        self.assertEqual(judge["steps"], STEPS)
        self.assertIn("online", judge["origin"])

    def test_fewer_steps_than_epochs(self):
        self.assertIn(f"wrote {self.path('few.gguf')}", self.succeed(self.path("few.gguf"), n=2))

    def test_the_examples_are_a_training_set(self):
        """The prompts that judgeq data takes from the same sources, and judgeq train learns from the file."""
        output, saved = self.path("saved.gguf"), self.path("saved.jsonl")
        self.succeed(output, "--save-data", saved, self.talks)
        plain = self.path("plain.jsonl")
        subprocess.run([JUDGEQ, "data", "-m", self.model, "-o", plain, "-t", "1", "-n", str(EXAMPLES), "--seed", "3",
                        "--quiet", *PROMPTS, self.talks], check=True)
        header, *examples = self.lines(saved)
        plain_header, *plain_examples = self.lines(plain)
        self.assertEqual(header, plain_header)
        self.assertEqual([e["prompt"] for e in examples], [e["prompt"] for e in plain_examples])
        self.assertEqual({len(e["response"]) for e in examples}, {6})
        subprocess.run([JUDGEQ, "train", "-m", self.model, "--data", saved, "-o", self.path("again.gguf"), "-t", "1",
                        "--n-soft", "4", "--epochs", "1", "--quiet"], check=True)

    def test_wrong_answers_are_left_out(self):
        """The tiny model finds no fact: every passage that hides one is answered wrongly, and the sources end."""
        text = self.path("text.txt")
        with open(text, "w") as file:
            file.write(SENTENCE * 300)
        output = self.path("wrong.gguf")
        said = self.succeed(output, "--retrieval", "1", text, self.talks, n=15)
        self.assertIn("the sources ended before the 15 examples", said)
        self.assertNotIn(" 0 a wrong one", said)
        self.assertEqual(len(self.lines(output + ".data.jsonl")), 1 + 14)
        described = subprocess.run([JUDGEQ, "inspect", "--json", output], check=True, capture_output=True)
        self.assertEqual(json.loads(described.stdout)["steps"], (14 - 3) * REPLAY)

    def test_questions_that_come_later(self):
        """They are asked, and answered wrongly: the conversations are learnt from."""
        text, output = self.path("text.txt"), self.path("later.gguf")
        with open(text, "w") as file:
            file.write(SENTENCE * 300)
        said = self.succeed(output, "--retrieval", "1", "--later", "1", text, self.talks, n=15)
        self.assertNotIn(" 0 a wrong one", said)
        header, *examples = self.lines(output + ".data.jsonl")
        self.assertEqual((header["later"], len(examples)), (1, 14))

    def interrupt_until_done(self, output, number):
        def done(code):
            return code == 0 or os.path.exists(output)  # killed after the last step, while it drew curves
        return interruptions.interrupt_until_done(self, lambda *more: self.arguments(output, *more, self.talks), output,
                                                  number, 0.007, STEPS, done)

    def test_interrupted_runs_end_the_same(self):
        interruptions.check_ends_the_same(self, ("", ".log.jsonl", ".data.jsonl"))

    def test_lost_examples_are_made_again(self):
        """A power cut may take lines that were written but not synced."""
        whole, output = self.path("kept.gguf"), self.path("lost.gguf")
        self.succeed(whole)
        process = subprocess.Popen(self.arguments(output, "--checkpoint-every", "0", self.talks), stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if os.path.exists(output + ".data.jsonl") and self.read(output + ".data.jsonl").count(b"\n") > HELD + 2:
                process.kill()
                process.wait()
        data = self.read(output + ".data.jsonl")
        with open(output + ".data.jsonl", "wb") as file:
            file.write(data[:len(data) * 2 // 5])
        self.succeed(output, "--checkpoint-every", "0", "--resume", self.talks)
        self.assertEqual(self.read(output), self.read(whole))
        self.assertEqual(self.read(output + ".data.jsonl"), self.read(whole + ".data.jsonl"))

    def refuse(self, status, words, *arguments):
        done = subprocess.run([JUDGEQ, "train", *arguments], capture_output=True, timeout=60)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, status, said)
        self.assertIn(words, said)

    def test_wrong_usage(self):
        good = ["--online", "-m", self.model, "-o", self.path("never.gguf"), *PROMPTS]
        self.refuse(2, "--online needs -n", *good, self.talks)
        self.refuse(2, "which sources?", *good, "-n", "5")
        self.refuse(2, "--data does not go with it", *good, "-n", "5", "--data", "x", self.talks)
        self.refuse(2, "14 prompts only", *good, "-n", "15", self.talks)
        self.refuse(2, "the sources hold no prompt", *good, "-n", "15", "/no/such")
        self.refuse(2, '--ring "0": expected', *good, "-n", "5", "--ring", "0", self.talks)
        self.refuse(2, '--replay "x": expected', *good, "-n", "5", "--replay", "x", self.talks)
        self.assertFalse(os.path.exists(self.path("never.gguf")))
        self.assertFalse(os.path.exists(self.path("never.gguf.checkpoint")))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
