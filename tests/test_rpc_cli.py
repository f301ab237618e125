"""judgeq rpc-server lends devices, judgeq run --rpc uses them; what happens when one is gone or says nothing.
test_rpc_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
PROMPT = "The iron heron is on the ring, and the ring is on the heron. " * 20
SKIPPED = 77
HELLO = b"\x0e" + struct.pack("<Q", 24) + bytes(24)
DEVICE_COUNT = b"\x0f" + struct.pack("<Q", 0)


def version(major):
    """The answer to HELLO."""
    return struct.pack("<Q4B", 28, major, 0, 0, 0) + bytes(24)


def read_all(connection, n):
    while n > 0 and (got := connection.recv(n)):
        n -= len(got)


class Stranger:
    """Listens, and answers each connection by a script: bytes to send after as many bytes have come; then it is silent."""

    def __init__(self, *scripts, pause=0):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.pause, self.connections = pause, []
        threading.Thread(target=self.serve, args=scripts, daemon=True).start()

    def serve(self, *scripts):
        for script in scripts:
            connection = self.listener.accept()[0]
            self.connections.append(connection)
            for n, answer in script:
                read_all(connection, n)
                for piece in [answer[i:i + 1] for i in range(len(answer))] if self.pause else [answer]:
                    time.sleep(self.pause)
                    try:
                        connection.sendall(piece)
                    except OSError:
                        return

    def __enter__(self):
        return self.name

    def __exit__(self, *_):
        for open_socket in (self.listener, *self.connections):
            open_socket.close()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Rpc(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = os.path.join(cls.folder, "model.gguf")
        cls.endless = os.path.join(cls.folder, "endless.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "q8_0", cls.model], check=True)
        subprocess.run([MAKE_FIXTURE, "endless", "long", cls.endless], check=True)

    def server(self, *options):
        """A server of this test, which listens, as (process, "host:port")."""
        port = free_port()
        process = subprocess.Popen([JUDGEQ, "rpc-server", "--port", str(port), "--device", "CPU", "-t", "1", *options],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        for _ in range(1000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process, f"127.0.0.1:{port}"
            self.assertIsNone(process.poll(), process.stderr.read() if process.poll() is not None else "")
            time.sleep(0.01)
        return self.fail("the server does not listen")

    def judgeq(self, *arguments, status=0):
        done = subprocess.run([JUDGEQ, *arguments], capture_output=True, timeout=100, encoding="utf-8")
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def run_json(self, *arguments):
        done = self.judgeq("run", "-m", self.model, "-p", PROMPT, "-n", "24", "-t", "1", "--json", "--logprobs", "3",
                           *arguments)
        return json.loads(done.stdout)

    def test_devices_are_listed(self):
        _, one = self.server()
        _, two = self.server()
        devices = json.loads(self.judgeq("inspect", "--devices", "--rpc", f"{one},{two}", "--json").stdout)
        self.assertEqual([d["description"] for d in devices if d["offload"] and d["name"].startswith("RPC")], [one, two])
        self.assertIn("RPC1", self.judgeq("inspect", "--devices", "--rpc", f"{one},{two}").stdout)
        here = json.loads(self.judgeq("inspect", "--devices", "--json").stdout)
        self.assertIn("CPU", [device["name"] for device in here])

    def test_answers_are_local(self):
        """Tokens and their probabilities, whatever lies where; plain weights, so that the same kernels run."""
        _, one = self.server()
        _, two = self.server()
        servers = ["--rpc", f"{one},{two}", "--plain-weights"]
        for policy in (["--policy", "full"], ["--policy", "snapkv", "--budget", "40"],
                       ["--policy", "laq", "--budget", "40", "--kv-type", "q8_0"]):
            local = self.run_json(*policy, "--plain-weights")
            for places in ([], ["--ngl", "1"], ["-ngl", "2"], ["--device", "RPC1"], ["--ngl", "0"]):
                with self.subTest(policy=policy, places=places):
                    there = self.run_json(*policy, *servers, *places)
                    self.assertEqual(there["tokens"], local["tokens"])
                    self.assertEqual(there["logprobs"], local["logprobs"])
                    self.assertEqual(there["kv_bytes_held"], local["kv_bytes_held"])

    def test_bench(self):
        _, server = self.server()
        bench = self.judgeq("bench", "-m", self.endless, "--lengths", "64", "--policies", "snapkv", "--budgets", "40", "-n", "4",
                            "--repeat", "1", "--warm-up", "0", "-t", "1", "--json", "--rpc", server)
        self.assertEqual(len(json.loads(bench.stdout)["cells"]), 2)

    def test_a_server_that_dies(self):
        """A message and status 1, where ggml alone would abort."""
        process, server = self.server()
        command = [JUDGEQ, "run", "-m", self.endless, "-t", "1", "-p", "the", "-n", "3000", "--rpc", server]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            self.assertTrue(run.stdout.read(1))  # it writes
            process.kill()
            said = run.communicate(timeout=60)[1].decode()
        self.assertEqual(run.returncode, 1, said)
        self.assertIn(f"judgeq: RPC server {server} is gone: it closed the connection", said)

    def test_a_server_that_stops(self):
        """Its machine still acknowledges what is sent."""
        process, server = self.server()
        command = [JUDGEQ, "run", "-m", self.endless, "-t", "1", "-p", "the", "-n", "3000", "--rpc", server,
                   "--rpc-timeout", "2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            self.assertTrue(run.stdout.read(1))
            process.send_signal(signal.SIGSTOP)
            said = run.communicate(timeout=60)[1].decode()
        self.assertEqual(run.returncode, 1, said)
        self.assertIn(f"judgeq: RPC server {server} is gone: it has not answered for 2 s", said)

    def test_a_client_that_was_stopped_goes_on(self):
        _, server = self.server("--idle", "1")
        command = [JUDGEQ, "run", "-m", self.endless, "-t", "1", "-p", "the", "-n", "1000", "--rpc", server,
                   "--rpc-timeout", "2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            self.assertTrue(run.stdout.read(1))
            run.send_signal(signal.SIGSTOP)
            time.sleep(3)
            run.send_signal(signal.SIGCONT)
            said = run.communicate(timeout=60)[1].decode()
        self.assertEqual(run.returncode, 0, said)

    def test_silent_servers(self):
        hello, devices = (len(HELLO), version(7)), (len(DEVICE_COUNT), struct.pack("<QI", 4, 1))
        first, later = "has not answered within 1 s", "is gone: it has not answered for 1 s"
        for name, scripts, pause, words in (("at once", [[]], 0, first), ("after hello", [[hello]], 0, first),
                                            ("in an answer", [[(len(HELLO), version(7)[:9])]], 0, first),
                                            ("a byte from time to time", [[hello, devices]], 0.3, first),
                                            ("to ggml", [[hello, devices], []], 0, later),
                                            ("to ggml, after hello", [[hello, devices], [hello]], 0, later)):
            with self.subTest(name), Stranger(*scripts, pause=pause) as server:
                said = self.judgeq("run", "-m", self.model, "-p", "x", "--rpc", server, "--rpc-timeout", "1",
                                   status=1).stderr
                self.assertIn(f"judgeq: RPC server {server} {words}", said)
                self.assertEqual(said.strip().count("\n"), 0)

    def test_servers_of_others(self):
        """Another version's, and others that answer."""
        for answer, words in ((version(6), "speaks ggml's protocol 6.0, and this ggml"),
                              (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(40), "gave another answer")):
            with self.subTest(words), Stranger([(len(HELLO), answer)]) as server:
                said = self.judgeq("inspect", "--devices", "--rpc", server, status=1).stderr
                self.assertIn(f"judgeq: RPC server {server} {words}", said)

    def test_silent_clients(self):
        """They lose their connections to one that speaks."""
        for name, sent, answered, words in (("nothing", b"", 0, "it was silent"),
                                            ("half of hello", HELLO[:20], 0, "it was silent"),
                                            ("hello", HELLO, 36, "it was silent"),
                                            ("half a message", HELLO + b"\x06" + struct.pack("<Q", 1000) + bytes(500), 36,
                                             "it was silent"),
                                            ("an endless one", HELLO + b"\x06" + struct.pack("<Q", 2**63 - 1), 36,
                                             "its message is longer than the device's memory"),
                                            ("what it does not know", HELLO + b"\xff" + bytes(8), 36, "ggml")):
            with self.subTest(name):
                process, server = self.server("--idle", "1")
                with socket.create_connection(("127.0.0.1", int(server.split(":")[1]))) as client:
                    client.sendall(sent)
                    read_all(client, answered)
                    self.judgeq("run", "-m", self.model, "-p", "x", "-n", "2", "-t", "1", "--rpc", server)
                    read_all(client, 1)  # closed
                process.kill()
                said = process.stderr.read().decode()
                self.assertIn("disconnected", said)
                self.assertIn(words, said)

    def test_a_silent_client_alone_may_stay(self):
        process, server = self.server("--idle", "1")
        with socket.create_connection(("127.0.0.1", int(server.split(":")[1]))) as client:
            client.sendall(HELLO)
            read_all(client, 36)
            time.sleep(2)
            client.sendall(DEVICE_COUNT)
            self.assertEqual(client.recv(12, socket.MSG_WAITALL), struct.pack("<QI", 4, 1))

    def test_quiet(self):
        for options, words in ((["--quiet"], b""), ([], b"lends CPU")):
            process, server = self.server(*options)
            self.judgeq("inspect", "--devices", "--rpc", server)
            process.kill()
            said = process.stderr.read()
            self.assertTrue(words in said if words else not said, said)

    def test_nobody_is_there(self):
        server = f"127.0.0.1:{free_port()}"
        said = self.judgeq("run", "-m", self.model, "-p", "x", "--rpc", server, status=1).stderr
        self.assertEqual(said, f"judgeq: RPC server {server}: Connection refused; judgeq rpc-server starts one there\n")
        self.judgeq("inspect", "--devices", "--rpc", server, status=1)

    def test_somebody_else_is_there(self):
        """A program that closes the connection: no server of ggml's."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            server = f"127.0.0.1:{other.getsockname()[1]}"
            command = [JUDGEQ, "run", "-m", self.model, "-p", "x", "--rpc", server]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
                other.accept()[0].close()
                said = run.communicate(timeout=60)[1].decode()
        self.assertEqual(run.returncode, 1, said)
        self.assertIn(f"judgeq: RPC server {server} closed the connection: what listens there is not judgeq rpc-server",
                      said)

    def test_wrong_usage(self):
        for command, words in ((["run", "-p", "x", "--rpc", "nowhere"], "expected host:port"),
                               (["run", "-p", "x", "--device", "CUDA7"], 'no device "CUDA7"'),
                               (["rpc-server", "--port", "0"], "--port"),
                               (["rpc-server", "--idle", "0"], "--idle"),
                               (["run", "-p", "x", "--rpc-timeout", "0"], "--rpc-timeout"),
                               (["rpc-server", "--host", "256.1.1.1"], "cannot listen on 256.1.1.1:50052"), (["rpc-server", "--device", "X"], "no device"),
                               (["rpc-server", "x"], 'what is "x"'), (["rpc-server", "--host"], "needs a value"),
                               (["run", "-p", "x", "-ngl"], "-ngl needs a value"),
                               (["run", "-p", "x", "-ngl", "-1"], "--ngl"), (["bench", "--ngl", "x"], "--ngl"),
                               (["bench", "-ngl", "x"], "--ngl"),
                               (["run", "-p", "-ngl", "--device", "CUDA7"], 'no device "CUDA7"'),  # a prompt
                               (["inspect", "--rpc"], "needs a value")):
            with self.subTest(command=command):
                more = ["-m", self.model] if command[0] == "run" and "-ngl" not in command else []
                done = subprocess.run([JUDGEQ, command[0], *more, *command[1:]], capture_output=True, timeout=60,
                                      encoding="utf-8")
                self.assertIn(words, done.stderr)
                self.assertIn(done.returncode, (1, 2))

    def test_a_port_that_is_taken(self):
        _, server = self.server()
        said = self.judgeq("rpc-server", "--port", server.split(":")[1], "--device", "CPU", status=1).stderr
        self.assertIn(f"cannot listen on {server}", said)


if __name__ == "__main__":
    probe = subprocess.run([JUDGEQ, "inspect", "--devices", "--rpc", f"127.0.0.1:{free_port()}"], capture_output=True,
                           encoding="utf-8")
    if "without its RPC backend" in probe.stderr:
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
