"""judgeq train and judgeq eval on several ranks: the same judge and the same lines as on one, and runs that lose a rank.
test_ranks_cli.py JUDGEQ_WITH_MPI JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import unittest

from in_folder import InFolder

WITH_MPI, JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:4])
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--mca", "btl", "self,vader,tcp"]


def tokens(seed, n):
    return [(37 * i * i + 11 * seed + 5) % 200 for i in range(n)]


class Ranks(InFolder):
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

    def wait_for_ranks(self, output):
        """On a busy machine they outlive mpirun, and still write."""
        while self.ranks_of(output):
            time.sleep(0.01)


class Train(Ranks):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model, cls.data = cls.path("model.gguf"), cls.path("set.jsonl")
        subprocess.run([MAKE_FIXTURE, "model", "llama", cls.model], check=True)
        described = subprocess.run([JUDGEQ, "inspect", "--json", cls.model], check=True, capture_output=True)
        with open(cls.data, "w") as file:
            header = {"judgeq_data": 1, "model_fingerprint": json.loads(described.stdout)["fingerprint"]}
            for line in [header] + [{"prompt": tokens(i, 90 + i), "response": tokens(i + 50, 8)} for i in range(20)]:
                print(json.dumps(line), file=file)
        cls.run_ranks(1, cls.path("whole.gguf")).check_returncode()

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

    def shares(self, judge):
        done = subprocess.run([JUDGEQ, "inspect", "--json", judge], check=True, capture_output=True)
        return json.loads(done.stdout)["layer_shares"]

    def expect_same(self, output):
        ours, whole = self.soft_tokens(output), self.soft_tokens(self.path("whole.gguf"))
        self.assertLess(max(abs(a - b) for a, b in zip(ours, whole)), 1e-5)
        shares, of_whole = self.shares(output), self.shares(self.path("whole.gguf"))
        self.assertAlmostEqual(sum(shares), len(shares), delta=0.02)
        for a, b in zip(shares, of_whole, strict=True):
            self.assertAlmostEqual(a, b, delta=0.02)  # two places are shown; a row may change its rank
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

    def lose(self, rank, output, steps):
        """Starts a run of 2 ranks that would last for minutes, and kills one after some steps."""
        process = subprocess.Popen(self.command(2, output, epochs=100000), stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.steps_in_log(output) < steps:
            time.sleep(0.02)
        os.kill(self.ranks_of(output)[rank], signal.SIGKILL)
        said = process.communicate(timeout=60)[1].decode()
        self.wait_for_ranks(output)
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
        self.wait_for_ranks(output)
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


class Eval(Ranks):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_model(MAKE_FIXTURE, "endless", "long")
        cls.whole = cls.path("whole")
        subprocess.run(cls.command(0, cls.whole), check=True, capture_output=True)

    @classmethod
    def command(cls, n, output, *more, program=WITH_MPI):
        """n: ranks; 0: without mpirun."""
        start = [*MPIRUN, "-n", str(n)] if n > 0 else []
        return [*start, program, "eval", "own", "-m", cls.model, "-o", output, "-t", "1", "-n", "4", "--length",
                "600,900", "--samples", "2", "--policies", "snapkv;tova", "--budgets", "64", *more]

    @staticmethod
    def lines(output):
        lines = {}
        for name in os.listdir(output):
            if name.startswith("samples"):
                with open(os.path.join(output, name), encoding="utf-8") as file:
                    whole = [json.loads(line) for line in file if line.endswith("\n")]
                assert not lines.keys() & {line["key"] for line in whole}, "a sample was done twice"
                lines.update((line["key"], line) for line in whole)
        return lines

    def expect_same(self, output):
        self.assertEqual(sorted(os.listdir(output)), ["run.json", "samples.jsonl"])
        ours, whole = self.lines(output), self.lines(self.whole)
        for lines in ours, whole:
            for line in lines.values():
                del line["prefill_s"]
                for result in line["results"]:
                    del result["decode_s"]
        self.assertEqual(ours, whole)

    def test_any_number_of_ranks_gives_the_same_lines(self):
        tables = subprocess.run(self.command(0, self.whole), check=True, capture_output=True).stdout
        for n in (2, 3):
            with self.subTest(ranks=n):
                output = self.path(f"eval-{n}")
                done = subprocess.run(self.command(n, output), capture_output=True, timeout=120)
                self.assertEqual(done.returncode, 0, done.stderr.decode())
                self.assertEqual(done.stdout, tables)
                self.expect_same(output)

    def test_work_is_shared(self):
        """Every rank has written lines of its own, of both lengths, before the first gathers them."""
        seen = {}
        process = subprocess.Popen(self.command(2, self.path("shared")), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while process.poll() is None:
            try:
                for name in ("samples.jsonl", "samples.1.jsonl"):
                    with open(os.path.join(self.path("shared"), name), encoding="utf-8") as file:
                        lines = file.read().split("\n")[:-1]  # at once: what follows a line in the making is its rest
                    seen[name] = [json.loads(line)["key"] for line in lines]
            except FileNotFoundError:
                pass
            time.sleep(0.005)
        self.assertEqual(process.returncode, 0)
        self.assertEqual({key.split("/")[1] for key in seen["samples.1.jsonl"]}, {"600", "900"})

    def lose(self, rank, output):
        """Starts a run of 2 ranks, and kills one once both have written a line. None if the run was faster."""
        process = subprocess.Popen(self.command(2, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        files = [os.path.join(output, name) for name in ("samples.jsonl", "samples.1.jsonl")]
        while process.poll() is None and not all(os.path.exists(file) and os.path.getsize(file) for file in files):
            time.sleep(0.002)
        pid = self.ranks_of(output).get(rank)
        if pid:
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=60)
        self.wait_for_ranks(output)
        return self.lines(output) if process.returncode != 0 else None

    def test_a_killed_rank_leaves_its_lines(self):
        """What was finished is not done again, by other numbers of ranks or without MPI."""
        for rank, then, program in ((0, 3, WITH_MPI), (1, 0, JUDGEQ)):
            with self.subTest(killed=rank):
                outputs = (self.path(f"killed-{rank}-{attempt}") for attempt in range(10))
                output, before = next((o, lines) for o in outputs if (lines := self.lose(rank, o)))
                self.assertLess(len(before), len(self.lines(self.whole)))
                done = subprocess.run(self.command(then, output, program=program), capture_output=True, timeout=120)
                self.assertEqual(done.returncode, 0, done.stderr.decode())
                after = self.lines(output)
                self.assertEqual({key: after[key] for key in before}, before)
                self.expect_same(output)

    def test_a_refusal_ends_all_ranks(self):
        done = subprocess.run([*self.command(2, self.whole), "--kv-type", "f32"], capture_output=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('another "settings"', done.stderr.decode())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
