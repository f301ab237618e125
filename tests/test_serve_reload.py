"""What SIGHUP makes of a running judgeq serve. test_serve_reload.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import signal
import subprocess
import sys
import threading
import unittest
import urllib.request

from in_folder import InFolder
from serving import Server, wait_until

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
TEXT = "/v1/completions"
N_CTX = 100000
PROMPT = "in the rain on a string again and the heron sings " * 20


def judgeq(*arguments):
    return subprocess.run([JUDGEQ, *arguments], capture_output=True, check=True).stdout


class Reload(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_long_model(MAKE_FIXTURE, "longest")
        with open(cls.judge, "rb") as file:
            cls.first = file.read()
        # another judge: the same vectors with the other sign
        soft = cls.path("soft.npy")
        judgeq("judge", "export", cls.judge, "-o", soft)
        with open(soft, "rb") as file:
            npy = bytearray(file.read())
        begin = 10 + int.from_bytes(npy[8:10], "little")
        npy[begin + 3::4] = bytes(byte ^ 0x80 for byte in npy[begin + 3::4])
        cls.write("other.npy", bytes(npy))
        judgeq("judge", "import", cls.path("other.npy"), "-m", cls.model, "-o", cls.path("other.gguf"))
        cls.second = cls.read(cls.path("other.gguf"))

    def setUp(self):
        self.write("model.judge.gguf", self.first)

    def start(self, *arguments):
        self.server = Server(JUDGEQ, self.model, "--ctx", str(N_CTX), *arguments)
        self.said = self.server.lines
        self.addCleanup(self.end)

    def end(self):
        status, said = self.server.stop()
        self.assertEqual(status, 0)
        self.assertNotIn("ERROR: ", said)

    def hang_up(self, expected):
        n = len(self.said)
        self.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any(expected in line for line in self.said[n:]), lambda: f"{expected} is not in {self.said}")

    def expected(self, judge, n=8):
        said = judgeq("run", "-m", self.model, "-t", "1", "--json", "--quiet", "--raw", "--temp", "0", "--policy", "judge", "--judge",
                      judge, "--budget", "24", "--ctx", str(N_CTX), "-p", PROMPT, "-n", str(n))
        return json.loads(said)["text"].replace("\0", "\ufffd")

    def ask(self, n=8):
        reply = self.server.ask(TEXT, {"prompt": PROMPT, "max_tokens": n})
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json["choices"][0]["text"]

    def take(self, reply, pieces, enough):
        for line in reply:
            if enough.is_set():
                return
            if line.startswith(b"data: {"):
                pieces.append(json.loads(line[6:])["choices"][0]["text"])

    def test_a_judge(self):
        first, other = self.expected(self.judge), self.expected(self.path("other.gguf"))
        self.assertNotEqual(first, other)  # or this shows nothing
        self.start("--policy", "judge", "--budget", "24")
        asked = {"prompt": PROMPT, "max_tokens": N_CTX - 5000, "stream": True}  # some ten seconds
        pieces = []
        with urllib.request.urlopen(self.server.url + TEXT, json.dumps(asked).encode(), timeout=60) as reply:
            enough = threading.Event()
            self.addCleanup(enough.set)
            thread = threading.Thread(target=self.take, args=(reply, pieces, enough))
            thread.start()
            wait_until(lambda: pieces, "no answer")
            self.write("model.judge.gguf", self.second)
            self.hang_up("reloaded the judge")
            self.assertEqual(self.server.metric("jobs_answering"), 1)  # or this shows nothing
            self.assertEqual(self.ask(), other)
            n = len(pieces) + 200
            wait_until(lambda: len(pieces) >= n, "no more of the answer")
            enough.set()
            thread.join()
        running = "".join(pieces)
        self.write("model.judge.gguf", self.first)
        self.assertEqual(running, self.expected(self.judge, len(running.encode()))[:len(running)])

    def test_a_judge_that_is_damaged_or_gone(self):
        first = self.expected(self.judge, 8)
        self.start("--policy", "judge", "--budget", "24")
        self.assertEqual(self.ask(), first)
        self.write("model.judge.gguf", self.first[:100])
        self.hang_up("the judge stays as it was")
        self.assertIn("model.judge.gguf", "".join(self.said))
        os.remove(self.judge)
        self.hang_up("the judge stays as it was")
        self.assertEqual(self.ask(), first)
        self.write("model.judge.gguf", self.first)
        cached = self.server.metric("prompt_tokens_cached_total")
        self.hang_up("the judge is the same")
        self.assertEqual(self.ask(), first)
        self.assertGreater(self.server.metric("prompt_tokens_cached_total"), cached)  # conversations are still found
        self.write("model.judge.gguf", self.second)
        self.hang_up("reloaded the judge")
        self.assertNotEqual(self.ask(), first)

    def test_a_judge_that_comes_later(self):
        os.remove(self.judge)
        self.start("--budget", "24")
        self.assertFalse(self.server.ask("/props").json["judgeq"]["judge"])
        asked = {"prompt": PROMPT, "max_tokens": 8, "judgeq": {"policy": "judge", "budget": 24}}
        self.assertEqual(self.server.ask(TEXT, asked).status, 400)
        self.write("model.judge.gguf", self.first)
        self.hang_up("reloaded the judge")
        self.assertTrue(self.server.ask("/props").json["judgeq"]["judge"])
        self.assertEqual(self.server.ask(TEXT, asked).json["choices"][0]["text"], self.expected(self.judge, 8))

    def statuses(self, *keys):
        return [self.server.ask("/v1/models", Authorization=f"Bearer {key}").status for key in keys]

    def test_keys(self):
        file = self.write("keys.txt", "# old\none\n  \n\t\n two \t\r\n\n")
        self.start("--api-key-file", file, "--api-key", "fixed")
        self.assertEqual(self.statuses("one", "two", "three", "fixed", ""), [200, 200, 401, 200, 401])
        self.write("keys.txt", "three\n")
        self.assertEqual(self.statuses("one", "three"), [200, 401])
        self.hang_up(f"reloaded {file}: 2 keys")
        self.assertEqual(self.statuses("one", "two", "three", "fixed"), [401, 401, 200, 200])
        for wrong in "# none\n", "\n".join(f"k{i}" for i in range(64)):
            self.write("keys.txt", wrong)
            self.hang_up("the keys stay as they were")
            self.assertEqual(self.statuses("three", "k1", "fixed", ""), [200, 401, 200, 401])
        os.remove(file)
        self.hang_up("the keys stay as they were")
        self.assertIn("cannot read " + file, "".join(self.said))
        self.assertEqual(self.statuses("three", "fixed", ""), [200, 200, 401])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
