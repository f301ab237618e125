"""judgeq train on several ranks: the same judge as on one, and runs that lose a rank.
test_ranks_cli.py JUDGEQ_WITH_MPI JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

WITH_MPI, JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:4])
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--mca", "btl", "self,vader,tcp"]


def tokens(seed, n):
    return [(37 * i * i + 11 * seed + 5) % 200 for i in range(n)]


class Ranks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="judgeq-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.model, cls.data = cls.path("model.gguf"), cls.path("set.jsonl")
        subprocess.run([MAKE_FIXTURE, "model", "llama", cls.model], check=True)
        described = subprocess.run([JUDGEQ, "inspect", "--json", cls.model], check=True, capture_output=True)
        with open(cls.data, "w") as file:
            header = {"judgeq_data": 1, "model_fingerprint": json.loads(described.stdout)["fingerprint"]}
            for line in [header] + [{"prompt": tokens(i, 90 + i), "response": tokens(i + 50, 8)} for i in range(20)]:
                print(json.dumps(line), file=file)
        cls.run_ranks(1, cls.path("whole.gguf")).check_returncode()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def command(cls, n, output, *more, program=WITH_MPI, epochs=6):
        return [*MPIRUN, "-n", str(n), program, "train", "-m", cls.model, "--data", cls.data, "-o", output, "-t", "1",
                "--n-soft", "4", "--epochs", str(epochs), "--accumulate", "4", "--seed", "3", *more]

    @classmethod
    def run_ranks(cls, n, output, *more, **options):
        return subprocess.run(cls.command(n, output, *more, **options), capture_output=True, timeout=120)

    def soft_tokens(self, judge):
        exported = self.path("exported.npy")
        subprocess.run([JUDGEQ, "judge", "export", judge, "-o", exported], check=True, capture_output=True)
        with open(exported, "rb") as file:
            data = file.read()
        return struct.unpack("<256f", data[-256 * 4:])

    def expect_same(self, output):
        ours, whole = self.soft_tokens(output), self.soft_tokens(self.path("whole.gguf"))
        self.assertLess(max(abs(a - b) for a, b in zip(ours, whole)), 1e-5)
        with open(output + ".log.jsonl") as ours, open(self.path("whole.gguf.log.jsonl")) as whole:
            for a, b in zip(map(json.loads, ours), map(json.loads, whole), strict=True):
                self.assertEqual((a["step"], a.get("examples")), (b["step"], b.get("examples")))
                if "loss" in a:
                    self.assertAlmostEqual(a["loss"], b["loss"], places=5)
                else:
                    self.assertAlmostEqual(a["heldout"]["loss"], b["heldout"]["loss"], places=5)
                    self.assertEqual(a["heldout"]["examples"], b["heldout"]["examples"])

    def test_any_number_of_ranks_gives_the_same_judge(self):
        for n in (2, 3):
            with self.subTest(ranks=n):
                output = self.path(f"{n}.gguf")
                done = self.run_ranks(n, output)
                self.assertEqual(done.returncode, 0, done.stderr.decode())
                self.assertEqual(done.stderr.decode().count("wrote " + output), 1)
                self.expect_same(output)

    @staticmethod
    def steps_in_log(output):
        try:
            with open(output + ".log.jsonl") as log:
                return sum("rate" in line for line in log)
        except FileNotFoundError:
            return 0

    def ranks_of(self, output):
        """Process ids of the ranks that write `output`, by rank."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().decode().split("\0")
                with open(f"/proc/{pid}/environ", "rb") as file:
                    variables = dict(word.split("=", 1) for word in file.read().decode().split("\0") if "=" in word)
            except OSError:
                continue
            if words[0] == WITH_MPI and output in words and "OMPI_COMM_WORLD_RANK" in variables:
                found[int(variables["OMPI_COMM_WORLD_RANK"])] = int(pid)
        return found

    def lose(self, rank, output, steps):
        """Starts a run of 2 ranks that would last for minutes, and kills one after some steps."""
        process = subprocess.Popen(self.command(2, output, epochs=100000), stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.steps_in_log(output) < steps:
            time.sleep(0.02)
        os.kill(self.ranks_of(output)[rank], signal.SIGKILL)
        said = process.communicate(timeout=60)[1].decode()
        self.assertNotEqual(process.returncode, 0)
        return said

    def test_a_killed_rank_leaves_a_checkpoint(self):
        for rank in (0, 1):
            with self.subTest(killed=rank):
                output = self.path(f"killed-{rank}.gguf")
                said = self.lose(rank, output, 10)
                self.assertIn("--resume continues", said)
                self.assertFalse(os.path.exists(output))
                before = self.steps_in_log(output)
                process = subprocess.Popen(self.command(3, output, "--resume", epochs=100000), stderr=subprocess.PIPE)
                while process.poll() is None and self.steps_in_log(output) <= before:
                    time.sleep(0.02)
                self.assertIsNone(process.poll())
                process.terminate()
                self.assertIn("interrupted after step", process.communicate(timeout=60)[1].decode())

    def interrupt(self, output):
        """Ends a run of 2 ranks after a few of its steps, which read their examples anew each time and so take longer than
        a look at the log. The ranks are told themselves: mpirun takes seconds to pass a signal on where cores are busy.
        False where they were done before."""
        process = subprocess.Popen(self.command(2, output, "--cache", "0"), stderr=subprocess.PIPE)
        while process.poll() is None and not self.steps_in_log(output):
            time.sleep(0.005)
        for rank in self.ranks_of(output).values():
            os.kill(rank, signal.SIGTERM)
        process.communicate(timeout=60)
        return os.path.exists(output + ".checkpoint")

    def test_an_interrupted_run_resumes_with_another_number(self):
        outputs = (self.path(f"interrupted-{attempt}.gguf") for attempt in range(10))
        output = next(output for output in outputs if self.interrupt(output))
        done = self.run_ranks(3, output, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.expect_same(output)

    def test_without_mpi_several_ranks_are_refused(self):
        done = self.run_ranks(2, self.path("refused.gguf"), program=JUDGEQ)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("was built without MPI", done.stderr.decode())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
