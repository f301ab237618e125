"""A server of `judgeq serve` for tests: it runs on a free port until the test class is done."""

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from in_folder import InFolder


def client_module(name):
    """A client of PyPI's, unmodified, as tools/deps.sh --test provides it; None where it has not."""
    deps = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools", "deps.sh")
    folder = subprocess.run([deps, "--print-clients"], capture_output=True, check=True, encoding="utf-8").stdout.strip()
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def wait_until(condition, what):
    """Asks a condition until it holds; it need not hold a moment later. what: it may be a function that says it."""
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after 30 s: {what() if callable(what) else what}")
        time.sleep(0.02)


class Answer:
    """What HTTP gives back. `json`: its body, where it is JSON."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    def __init__(self, program, model, *arguments, port=0):
        self.process = subprocess.Popen(
            [program, "serve", "-m", model, "-t", "1", "--port", str(port), "--temp", "0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace")
        self.lines = []  # of what it says; they are taken at once, since it waits where a pipe is full
        self.out = None
        while True:
            line = self.process.stderr.readline()
            self.lines.append(line)
            if found := re.search(r"listening on (http://\S+:(\d+))$", line.rstrip()):
                self.url, self.port = found[1], int(found[2])
                break
            if not line:
                raise AssertionError("the server did not start: " + "".join(self.lines))
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def stop(self, how=signal.SIGTERM):
        """(exit status, all that it said)."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if self.out is None:
            self.reader.join()
            self.out = self.process.stdout.read()
            self.process.stdout.close()
            self.process.stderr.close()
        return self.process.returncode, self.out + "".join(self.lines)

    def ask(self, path, body=None, method=None, **headers):
        """headers: with _ for -. body: JSON, or bytes."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method,
                                         headers={name.replace("_", "-"): value for name, value in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return Answer(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def events(self, path, body):
        """The lines of a stream without the empty ones."""
        reply = self.ask(path, {**body, "stream": True})
        if reply.status != 200:
            raise AssertionError(reply.body)
        return [line for line in reply.body.decode().split("\n") if line]

    def metric(self, name, **headers):
        text = self.ask("/metrics", **headers).body.decode()
        return float(re.search(rf"^judgeq_{re.escape(name)} (.*)$", text, re.MULTILINE)[1])

    def wait_for(self, name, value, **headers):
        wait_until(lambda: self.metric(name, **headers) == value, f"{name} is not {value}")

    def connect(self, timeout=30):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def send(self, data, timeout=30):
        """Sends bytes, and returns all that comes until the server closes the connection, or has been silent that long."""
        with self.connect(timeout) as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass  # it need not read what it refuses
            got = b""
            try:
                while part := connection.recv(1 << 16):
                    got += part
            except OSError:
                pass
            return got


def post(path, body, *headers):
    """The bytes of a request after which the connection closes."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Serving(InFolder):
    """Tests of one server. ARGUMENTS: its options; SPEC: its model, which never ends an answer by itself; TEMPLATE: or one
    that may, with this chat template of tests/data/plan."""
    PROGRAM = MAKE_FIXTURE = TEMPLATE = None
    SPEC, KIND, ARGUMENTS = "bpe-smollm", "endless", ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.TEMPLATE:
            cls.make_templated(cls.TEMPLATE)
        else:
            cls.make_model(cls.MAKE_FIXTURE, cls.KIND, cls.SPEC)
        cls.start()

    @classmethod
    def start(cls):
        cls.server = Server(cls.PROGRAM, cls.model, *cls.ARGUMENTS)
        cls.addClassCleanup(cls.end)

    @classmethod
    def end(cls):
        status, said = cls.server.stop()
        assert status == 0, f"{status}: {said}"
        assert "ERROR: " not in said, said  # of a sanitizer

    @classmethod
    def make_templated(cls, name):
        """Makes cls.model one that writes noise, with a template of tests/data/plan."""
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "plan")
        with open(os.path.join(folder, name + ".jinja"), encoding="utf-8") as file:
            template = file.read()
        cls.model = cls.path("model.gguf")
        subprocess.run([cls.MAKE_FIXTURE, "template", cls.SPEC, cls.model, template], check=True)

    @classmethod
    def environment(cls):
        return {**os.environ, "OPENAI_API_KEY": "none"}

    def chat(self, text="in the rain", **more):
        return self.server.ask("/v1/chat/completions",
                               {"messages": [{"role": "user", "content": text}], "max_tokens": 8, **more})
