"""What serve_load.py and serve_throughput.py share: a client that takes a stream of tokens, and a server that they start."""

import http.client
import json
import random
import re
import subprocess
import threading
import time
import urllib.request

WORDS = ("rain river stone window garden letter morning station winter paper bridge candle forest engine silver market teacher "
         "harbour mountain kitchen village shadow printer island ladder blanket journey whisper").split()

N_SENTENCE = 13  # tokens


class Answer:
    """One request: `error` is None, a status, or what went wrong; times are seconds since it was sent."""

    def __init__(self):
        self.error, self.text, self.times, self.sent, self.n_prompt, self.n_tokens = None, "", [], 0.0, 0, 0
        self.retry_after = 1.0


def prompt(seed, n_tokens):
    """Sentences of about so many tokens (a word here is one, for most vocabularies), different for each seed from the first on.
    Models go on with them; asked in a chat about so many words, a small one has nothing to say."""
    rng = random.Random(seed)
    text = "".join(f"The {rng.choice(WORDS)} was near the {rng.choice(WORDS)}, and the {rng.choice(WORDS)} was not. "
                   for _ in range(n_tokens // N_SENTENCE))
    return text + "The"


def take_line(answer, line, begin):
    if not line.startswith(b"data: {"):
        return
    chunk = json.loads(line[6:])
    if "error" in chunk:
        answer.error = "in the stream: " + str(chunk["error"].get("code") or chunk["error"]["type"])
    if usage := chunk.get("usage"):
        answer.n_prompt, answer.n_tokens = usage["prompt_tokens"], usage["completion_tokens"]
    for choice in chunk.get("choices", []):
        if text := choice["text"]:
            answer.text += text
            answer.times.append(time.monotonic() - begin)


def ask(port, text, n_tokens, until=None, enough=None, answer=None, **more):
    """Streams a greedy answer. until: of time.monotonic(); enough: an Event; then it leaves, with the error "left". answer: where
    others see it grow."""
    answer = answer or Answer()
    body = {"model": "any", "prompt": text, "max_tokens": n_tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, **more}
    answer.sent = begin = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=max(until - begin, 0.01) if until else 3600)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        if reply.status != 200:
            answer.error = str(reply.status)
            answer.retry_after = float(reply.headers.get("Retry-After") or 1)
            return answer
        done = False
        while line := reply.readline():
            done = done or line.startswith(b"data: [DONE]")
            take_line(answer, line, begin)
            if not done and (until and time.monotonic() > until or enough and enough.is_set()):
                answer.error = "left"
                return answer
        if not done and not answer.error:
            answer.error = "cut off"
    except TimeoutError:
        answer.error = "left" if until and time.monotonic() > until - 0.1 else "silence"
    except (OSError, http.client.HTTPException) as error:
        answer.error = type(error).__name__
    finally:
        connection.close()
    return answer


class Streams:
    """Answers that are written together, each to a client of its own: made once all of them have a first token, or have failed."""

    def __init__(self, port, prompts, n_tokens):
        self.answers, self.enough = [Answer() for _ in prompts], threading.Event()
        self.threads = [threading.Thread(target=ask, args=(port, text, n_tokens), kwargs={"enough": self.enough, "answer": answer})
                        for text, answer in zip(prompts, self.answers)]
        for thread in self.threads:
            thread.start()
        while not all(answer.times or not thread.is_alive() for answer, thread in zip(self.answers, self.threads)):
            time.sleep(0.05)

    def all_run(self):
        return all(thread.is_alive() for thread in self.threads)

    def leave(self):
        self.enough.set()
        for thread in self.threads:
            thread.join()


def resident(pid):
    """Bytes: what a process holds now, and without the model's file, which is mapped. NaN where it has just ended."""
    with open(f"/proc/{pid}/status") as status:
        text = status.read()

    def size(name):
        found = re.search(name + r":\s+(\d+) kB", text)
        return int(found[1]) << 10 if found else float("nan")

    return size("VmRSS"), size("RssAnon")


class Server:
    """A process with a server. ready: a pattern of its output with the port as a group, or the port that will answer at /v1/models."""

    def __init__(self, command, ready, log, env=None):
        self.log = open(log, "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, env=env)
        end = time.monotonic() + 300
        while time.monotonic() < end and self.process.poll() is None:
            if isinstance(ready, int):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{ready}/v1/models", timeout=5).close()
                    self.port = ready
                    return
                except OSError:
                    pass
            else:
                with open(log, errors="replace") as said:
                    if found := re.search(ready, said.read()):
                        self.port = int(found[1])
                        return
            time.sleep(0.1)
        self.stop()
        raise SystemExit(f"the server did not start; see {log}")

    def resident(self):
        return resident(self.process.pid)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def serve(judgeq, options, log):
    """judgeq serve, on a port of its own."""
    return Server([judgeq, "serve", "--port", "0", *options], r"listening on http://127\.0\.0\.1:(\d+)", log)


def quantile(values, share):
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else float("nan")


def processor():
    with open("/proc/cpuinfo") as file:
        return re.search(r"model name\s*:\s*(.*)", file.read())[1]
