"""judgeq rpc-server lends devices, judgeq run --rpc uses them; what happens when one is gone.
test_rpc_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
PROMPT = "The iron heron is on the ring, and the ring is on the heron. " * 20
SKIPPED = 77


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Rpc(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="judgeq-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.model = os.path.join(cls.folder, "model.gguf")
        cls.endless = os.path.join(cls.folder, "endless.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "q8_0", cls.model], check=True)
        subprocess.run([MAKE_FIXTURE, "endless", "long", cls.endless], check=True)

    def server(self):
        """A server of this test, which listens, as (process, "host:port")."""
        port = free_port()
        process = subprocess.Popen([JUDGEQ, "rpc-server", "--port", str(port), "--device", "CPU", "-t", "1"],
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
        self.assertIn(f"judgeq: one of the servers {server} is gone", said)

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
                for _ in range(2):  # the check, and ggml's connection
                    other.accept()[0].close()
                said = run.communicate(timeout=60)[1].decode()
        self.assertEqual(run.returncode, 1, said)
        self.assertIn(f"one of the servers {server} is gone, or what answers there is not judgeq rpc-server", said)

    def test_wrong_usage(self):
        for command, words in ((["run", "-p", "x", "--rpc", "nowhere"], "expected host:port"),
                               (["run", "-p", "x", "--device", "CUDA7"], 'no device "CUDA7"'),
                               (["rpc-server", "--port", "0"], "--port"), (["rpc-server", "--device", "X"], "no device"),
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
