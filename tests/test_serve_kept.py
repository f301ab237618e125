"""What the server says of each token, {"judgeq": {"kept": true}}: against the rows that judgeq inspect --kept lists, and
those that StreamingLLM's definition gives. test_serve_kept.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import subprocess
import sys
import unittest

from serving import Serving

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
CHAT, TEXTS = "/v1/chat/completions", "/v1/completions"
TEXT = "the room in the rain is on a string again\nand the heron sings to the iron ring\n" * 3
CHARACTERS = "in the rain, \u00e4 and \U0001f600\U0001f469\u200d\U0001f680 and \u4e2d\u6587"
HEADS = 2 * 2  # layers and KV heads of the model


class Kept(Serving):
    @classmethod
    def setUpClass(cls):
        super(Serving, cls).setUpClass()
        cls.make_model(MAKE_FIXTURE, "endless", "bpe-smollm")
        cls.judge = cls.path("model.judge.gguf")
        subprocess.run([MAKE_FIXTURE, "judge", cls.model, cls.judge], check=True)
        cls.start()

    def kept(self, text, n_answer, **method):
        """The answer's own object, and what is kept of each token."""
        own = self.chat(text, max_tokens=n_answer, judgeq={"kept": True, **method}).json["judgeq"]
        kept = own["kept"]
        self.assertEqual(set(kept), {"pieces", "share"})
        self.assertEqual(len(kept["pieces"]), own["tokens_seen"])
        self.assertEqual(len(kept["share"]), own["tokens_seen"])
        self.assertAlmostEqual(sum(kept["share"]) * HEADS, own["rows_held"], delta=1e-3)
        return own, kept

    def inspected(self, text, policy, budget):
        """The tokens of a prompt and the share that holds each, from the rows that the library lists."""
        done = subprocess.run([JUDGEQ, "inspect", "--kept", "--json", "-m", self.model, "--judge", self.judge, "-t", "1", "-p", text,
                               "--policy", policy, "--budget", str(budget)], capture_output=True, check=True)
        found = json.loads(done.stdout)
        times = [0] * found["prompt_tokens"]
        for heads in found["cuts"][0]["kept"]:
            for runs in heads:
                for first, last in zip(runs[::2], runs[1::2]):
                    for i in range(first, last + 1):
                        times[i] += 1
        return [token["text"] for token in found["tokens"]], [n / HEADS for n in times]

    def test_a_prompt(self):
        seen = set()
        for policy, budget in ("streaming", 16), ("judge", 24), ("snapkv,probe=window:8,keep=recent:8", 20), ("full", 16):
            _, kept = self.kept(TEXT, 0, policy=policy, budget=budget)
            pieces, share = self.inspected(TEXT, policy, budget)
            self.assertEqual(kept["pieces"], pieces)
            self.assertEqual(kept["share"], share)
            seen |= set(share)
        self.assertGreater(len(seen), 3)  # heads that differ, too

    def test_a_conversation(self):
        """StreamingLLM: four sinks, the prompt's last tokens, and, until a slack of 32 is full, all that came after."""
        own, kept = self.kept(TEXT, 8, policy="streaming", budget=16)
        n_prompt = own["tokens_seen"] - 8 + 1  # nothing comes after the last token
        held = [*range(4), *range(n_prompt - 12, own["tokens_seen"])]
        self.assertEqual(kept["share"], [float(i in held) for i in range(own["tokens_seen"])])
        first = self.chat(TEXT, max_tokens=8, judgeq={"policy": "streaming", "budget": 16}).json["choices"][0]["message"]
        turns = [{"role": "user", "content": TEXT}, first, {"role": "user", "content": "and the string?"}]
        own = self.server.ask(CHAT, {"messages": turns, "max_tokens": 0, "judgeq": {"policy": "streaming", "budget": 16, "kept": True}})
        kept, n = own.json["judgeq"]["kept"], own.json["judgeq"]["tokens_seen"]
        said = "".join(kept["pieces"])
        self.assertTrue(said.index(TEXT) < said.index("and the string?"))
        held = [*range(4), *range(n - 12, n)]
        self.assertEqual(kept["share"], [float(i in held) for i in range(n)])

    def test_characters_of_several_tokens(self):
        own, kept = self.kept(CHARACTERS, 0)
        self.assertIn(CHARACTERS, "".join(kept["pieces"]))
        rendered = self.server.ask("/apply-template", {"messages": [{"role": "user", "content": CHARACTERS}]}).json["prompt"]
        tokens = self.server.ask("/tokenize", {"content": rendered, "add_special": True}).json["tokens"]
        self.assertEqual(own["tokens_seen"], len(tokens))
        self.assertEqual("".join(kept["pieces"]), self.server.ask("/detokenize", {"tokens": tokens}).json["content"])
        self.assertIn("\U0001f680", kept["pieces"])  # one token of several completes it
        self.assertEqual(kept["pieces"][kept["pieces"].index("\U0001f680") - 1], "")
        cut = self.server.ask("/tokenize", {"content": "ab\U0001f600"}).json["tokens"][:-1]
        own = self.server.ask(TEXTS, {"prompt": cut, "max_tokens": 0, "judgeq": {"kept": True}}).json["judgeq"]
        self.assertEqual("".join(own["kept"]["pieces"]), "ab\ufffd")

    def test_zeros(self):
        """As in every text of the server: clients could not send them back."""
        asked = {"temperature": 100, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 1, "judgeq": {"kept": True}}
        answer = self.chat("in the rain", max_tokens=900, **asked).json
        said, pieces = answer["choices"][0]["message"]["content"], "".join(answer["judgeq"]["kept"]["pieces"])
        self.assertIn("\ufffd", said)
        self.assertNotIn("\0", pieces)
        self.assertIn(said[:-20], pieces)  # without the last token, which nothing came after

    def test_streams_and_several_answers(self):
        whole = self.chat(TEXT, judgeq={"kept": True}).json["judgeq"]["kept"]
        for path, asked in (CHAT, {"messages": [{"role": "user", "content": TEXT}]}), (TEXTS, {"prompt": TEXT}):
            events = self.server.events(path, {**asked, "max_tokens": 8, "judgeq": {"kept": True}})
            chunks = [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: {")]
            own = [chunk["judgeq"]["kept"] for chunk in chunks if "judgeq" in chunk]
            self.assertEqual(len(own), 1)
            if path == CHAT:
                self.assertEqual(own[0], whole)
        several = self.chat(TEXT, n=2, temperature=2, seed=1, judgeq={"kept": True}).json["choices"]
        first, second = (choice["judgeq"]["kept"]["pieces"] for choice in several)
        self.assertNotEqual(first, second)

    def test_only_where_it_is_asked_for(self):
        self.assertNotIn("kept", self.chat().json["judgeq"])
        self.assertNotIn("kept", self.chat(judgeq={"kept": False}).json["judgeq"])
        wrong = self.chat(judgeq={"kept": "yes"})
        self.assertEqual((wrong.status, wrong.json["error"]["param"]), (400, "judgeq.kept"))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
