"""The server under load: many clients at once, of good will and of none, and then the same requests alone.
test_serve_load.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import collections
import json
import os
import random
import re
import sys
import threading
import time
import unittest

from serving import Serving, post, wait_until

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench"))
from streams import ask, prompt  # the client of the measurements

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
CHAT = "/v1/chat/completions"
CLIENTS, TURNS, TOKENS = 24, 3, 12
with open(JUDGEQ, "rb") as program:
    SANITIZED = b"__asan_init" in program.read()  # which keeps freed memory for a while


def body(**more):
    return json.dumps({"messages": [{"role": "user", "content": "in the rain"}], "max_tokens": 2000, **more}).encode()


def head(length):
    return f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


# What nobody means well, and the status that it may get: None is a connection that is closed without a word.
HOSTILE = {
    "silence": (b"", (None,)),
    "half a body": (head(1000) + b"x" * 500, (None,)),
    "a body longer than it says": (head(10) + body(), (400,)),
    "no length": (head("many"), (400,)),
    "deep JSON": (post(CHAT, b'{"messages": ' + b"[" * 500000 + b"]" * 500000 + b"}"), (400,)),
    "bad UTF-8": (post(CHAT, b'{"messages": [{"role": "user", "content": "\xff\xc0\x80"}]}'), (400,)),
    "100 MB": (head(100 << 20) + b" " * (1 << 20), (413, None)),
    "no HTTP": (os.urandom(4) + b"\x00" * 1000 + b"\r\n\r\n", (400, None)),
}


class Load(Serving):
    ARGUMENTS = ("--policy", "streaming", "--budget", "64", "--kv-bytes", "512K", "--parallel", "8", "--queue", "8", "--timeout", "10",
                 "--quiet")

    def client(self, index, answers):
        rng = random.Random(index)
        for turn in range(TURNS):
            text = prompt(f"{index} {turn}", rng.randint(20, 90))
            while (answer := ask(self.server.port, text, TOKENS)).error == "429":
                self.n_told += 1
                time.sleep(0.05)  # sooner than it says
            answers.append((text, answer))

    def leave(self, stream):
        """A client that goes away while its answer is written."""
        with self.server.connect() as connection:
            connection.sendall(post(CHAT, body(stream=stream)))
            connection.settimeout(0.3)
            try:
                connection.recv(200)
            except TimeoutError:
                pass

    def attack(self, name, got):
        data, statuses = HOSTILE[name]
        reply = self.server.send(data, 5 if statuses == (None,) else 60)  # the stalled leave before they are closed
        got[name] = int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else None

    def round(self):
        """What many clients are answered, while some leave."""
        answers = []
        self.n_told = 0
        threads = [threading.Thread(target=self.client, args=(i, answers)) for i in range(CLIENTS)]
        threads += [threading.Thread(target=self.leave, args=(i % 2 == 0,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def own_memory(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"RssAnon:\s+(\d+) kB", status.read())[1]) << 10

    def test_many_at_once(self):
        sizes, got = [], {}
        hostile = [threading.Thread(target=self.attack, args=(name, got)) for name in HOSTILE]
        for thread in hostile:
            thread.start()
        for _ in range(3):
            answers = self.round()
            self.assertEqual(collections.Counter(answer.error for _, answer in answers), {None: CLIENTS * TURNS})
            self.assertGreater(self.n_told, 0)  # 24 clients, 8 answers and 8 who wait
            wait_until(lambda: self.server.metric("jobs_waiting") + self.server.metric("jobs_answering") == 0, "jobs go on")
            sizes.append(self.own_memory())
            self.assertLessEqual(self.server.metric("kv_bytes_most"), 512 << 10)
        for thread in hostile:
            thread.join()
        self.assertEqual(set(got), set(HOSTILE))
        for name, status in got.items():
            self.assertIn(status, HOSTILE[name][1], name)
        for text, answer in random.Random(1).sample(answers, 16):
            self.assertEqual(len(answer.times) > 0, True)
            self.assertEqual(ask(self.server.port, text, TOKENS).text, answer.text)
        if not SANITIZED:
            self.assertLess(sizes[-1] - sizes[0], 4 << 20, sizes)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
