"""judgeq train as its users meet it, on tiny models: runs, interruptions, wrong usage.
test_train_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree

import interruptions
from arguments import with_defaults
from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])


def tokens(seed, n):
    return [(37 * i * i + 11 * seed + 5) % 200 for i in range(n)]


class Train(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_model(MAKE_FIXTURE, "model", "llama")
        described = subprocess.run([JUDGEQ, "inspect", "--json", cls.model], check=True, capture_output=True)
        cls.fingerprint = json.loads(described.stdout)["fingerprint"]
        cls.data = cls.path("set.jsonl")
        with open(cls.data, "w") as file:
            print(json.dumps({"judgeq_data": 1, "model_fingerprint": cls.fingerprint}), file=file)
            for i in range(20):
                print(json.dumps({"prompt": tokens(i, 90 + i), "response": tokens(i + 50, 8)}), file=file)

    def arguments(self, output, *more):
        defaults = {"-m": self.model, "--data": self.data, "-o": output, "-t": "1", "--n-soft": "4", "--epochs": "3",
                    "--accumulate": "2", "--seed": "3"}
        return [JUDGEQ, "train", *with_defaults(defaults, more)]

    def run_train(self, output, *more):
        return subprocess.run(self.arguments(output, *more), capture_output=True, timeout=120)

    def succeed(self, output, *more):
        done = self.run_train(output, *more)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stderr.decode()

    def refuse(self, status, words, *arguments):
        done = subprocess.run([JUDGEQ, "train", *arguments], capture_output=True, timeout=60)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, status, said)
        self.assertIn(words, said)
        self.assertEqual(said.count("\n"), 1, said)

    def test_no_epoch_measures(self):
        """A judge that is there gets what was measured of it, and stays what it is."""
        def inspect(judge):
            done = subprocess.run([JUDGEQ, "inspect", "--json", judge], check=True, capture_output=True)
            return json.loads(done.stdout)

        trained, measured = self.path("trained.gguf"), self.path("measured.gguf")
        self.succeed(trained, "--heldout", "0")
        said = self.succeed(measured, "--init", f"judge:{trained}", "--epochs", "0", "--heldout", "0.5")
        self.assertIn("held out: loss", said)
        before, after = inspect(trained), inspect(measured)
        self.assertIsNone(before["layer_shares"])
        self.assertEqual(len(after["layer_shares"]), 2)
        self.assertAlmostEqual(sum(after["layer_shares"]), 2, delta=0.02)
        for key in ("origin", "loss", "steps", "data_hash", "norm_min", "norm_mean", "norm_max"):
            self.assertEqual(after[key], before[key], key)
        exported = []
        for judge in trained, measured:
            subprocess.run([JUDGEQ, "judge", "export", judge, "-o", judge + ".npy"], check=True, capture_output=True)
            with open(judge + ".npy", "rb") as file:
                exported.append(file.read())
        self.assertEqual(*exported)
        kept = self.path("kept.gguf")
        self.succeed(kept, "--init", f"judge:{measured}", "--epochs", "0", "--heldout", "0")  # nothing is measured
        for key in ("heldout_loss", "heldout_hit_rate", "layer_shares"):
            self.assertEqual(inspect(kept)[key], after[key], key)
        self.assertIn("only a judge to start from", self.run_train(self.path("none.gguf"), "--epochs", "0").stderr.decode())

    def test_whole_run(self):
        output = self.path("whole.gguf")
        said = self.succeed(output)
        self.assertIn("held out: loss", said)
        self.assertFalse(os.path.exists(output + ".checkpoint"))
        lines = [json.loads(line) for line in self.read(output + ".log.jsonl").splitlines()]
        steps = [line for line in lines if "loss" in line]
        measured = [line for line in lines if "heldout" in line]
        self.assertEqual([line["step"] for line in steps], list(range(1, 28)))  # 18 examples, 2 a step, 3 epochs
        self.assertEqual([line["step"] for line in measured], [0, 9, 18, 27])
        self.assertEqual(measured[0]["heldout"]["examples"], 2)
        self.assertLess(measured[-1]["heldout"]["loss"], measured[0]["heldout"]["loss"])
        self.assertIsNone(measured[0]["heldout"]["hit_rate"]["128"])
        self.assertEqual(steps[-1]["epoch"], 3)
        described = subprocess.run([JUDGEQ, "inspect", "--json", output], check=True, capture_output=True)
        judge = json.loads(described.stdout)
        self.assertEqual(judge["n_soft"], 4)
        self.assertEqual(judge["steps"], 27)
        ran = subprocess.run([JUDGEQ, "run", "-m", self.model, "-t", "1", "--judge", output, "--budget", "16", "-n", "4",
                              "-p", "the ring in the rain " * 20], capture_output=True, timeout=60)
        self.assertEqual(ran.returncode, 0, ran.stderr.decode())

    def test_measured_budgets(self):
        output = self.path("budgets.gguf")
        said = self.succeed(output, "--measure-budgets", "8,16,32,64", "--epochs", "1")
        measured = [line["heldout"] for line in map(json.loads, self.read(output + ".log.jsonl").splitlines())
                    if "heldout" in line]
        for measures in measured:
            self.assertEqual(list(measures["hit_rate"]), ["8", "16", "32", "64"])
            mass = list(measures["mass_kept"].values())
            self.assertEqual(mass, sorted(mass))  # more rows keep more
        self.assertIn("budget 8: hit rate", said)
        described = subprocess.run([JUDGEQ, "inspect", "--json", output], check=True, capture_output=True)
        self.assertAlmostEqual(json.loads(described.stdout)["heldout_hit_rate"], measured[-1]["hit_rate"]["8"], 5)

    @unittest.skipUnless(shutil.which("gnuplot"), "no gnuplot")
    def test_the_curves_are_drawn(self):
        output = self.path("curves.gguf")
        said = self.succeed(output)
        self.assertIn("drew " + output + ".log.svg", said)
        picture = xml.etree.ElementTree.parse(output + ".log.svg").getroot()
        texts = ["".join(text.itertext()).strip() for text in picture.iter("{http://www.w3.org/2000/svg}text")]
        for text in "Loss", "each step", "held out", "Critical KV hit rate, held out", "budget 64", "optimiser step":
            self.assertIn(text, texts)
        self.assertNotIn("budget 128", texts)  # no prompt is longer

    def test_no_gnuplot_is_no_failure(self):
        output = self.path("plain.gguf")
        done = subprocess.run(self.arguments(output), capture_output=True, timeout=120,
                              env=os.environ | {"PATH": self.folder})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"no picture of the curves: gnuplot is not installed", done.stderr)
        self.assertTrue(os.path.exists(output))

    def interrupt_until_done(self, output, number):
        return interruptions.interrupt_until_done(self, lambda *more: self.arguments(output, *more), output, number,
                                                  0.005, 27)

    def test_interrupted_runs_end_the_same(self):
        interruptions.check_ends_the_same(self, ("", ".log.jsonl"))

    def test_an_old_checkpoint_is_not_overwritten(self):
        output = self.path("old.gguf")
        with open(output + ".checkpoint", "w") as file:
            file.write("x")
        done = self.run_train(output)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"--resume continues it", done.stderr)
        done = self.run_train(output, "--resume")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(self.read(output + ".checkpoint"), b"x")
        done = self.run_train(self.path("new.gguf"), "--resume")
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"no run to resume", done.stderr)

    def test_starts(self):
        first = self.path("first.gguf")
        self.succeed(first, "--init", "text:the rain", "--quiet")
        self.assertEqual(self.succeed(self.path("second.gguf"), "--init", "judge:" + first, "--loss", "mse", "--weigh-values", "--quiet"), "")
        self.succeed(self.path("most.gguf"), "--target", "max", "--quiet")
        self.succeed(self.path("copied.gguf"), "--target", "copied", "--quiet")
        self.assertNotEqual(self.read(self.path("most.gguf")), self.read(self.path("copied.gguf")))
        done = self.run_train(self.path("third.gguf"), "--init", "judge:" + first, "--n-soft", "5")
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"has 4 soft tokens", done.stderr)

    def test_one_of_several_processes_is_refused_without_mpi(self):
        """Each would do the same work, and all would write the same files. A job's own variables mean nothing."""
        def said(**variables):
            done = subprocess.run(self.arguments(self.path("several.gguf"), "--data", "/no/such"), timeout=60,
                                  capture_output=True, env=os.environ | variables)
            self.assertEqual(done.returncode, 1)
            return done.stderr.decode()
        for name in "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS":
            self.assertIn(f"one of 4 processes ({name})", said(**{name: "4"}))
            self.assertIn("/no/such", said(**{name: "1"}))
        self.assertIn("/no/such", said(SLURM_JOB_ID="7", SLURM_NTASKS="8", SLURM_NPROCS="8", SLURM_PROCID="0"))

    def test_broken_lines_are_counted(self):
        data = self.path("broken.jsonl")
        with open(data, "wb") as file:
            file.write(self.read(self.data) + b"{\n")
        done = subprocess.run([JUDGEQ, "train", "-m", self.model, "--data", data, "-o", self.path("b.gguf"), "-t", "1",
                               "--n-soft", "2", "--epochs", "1"], capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertIn("1 of 21 lines hold no example", done.stderr.decode())
        self.assertIn("broken.jsonl:22", done.stderr.decode())

    def test_a_full_disk_is_reported(self):
        done = self.run_train(self.path("full.gguf"), "--log", "/dev/full")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"/dev/full", done.stderr)

    def test_wrong_usage(self):
        good = ["-m", self.model, "--data", self.data, "-o", self.path("never.gguf")]
        self.refuse(2, "--data SET.jsonl is missing", "-o", "x")
        self.refuse(2, "-o JUDGE.gguf is missing", "--data", "x")
        self.refuse(2, "unknown option", *good, "--nonsense")
        self.refuse(2, "needs a value", "--data")
        self.refuse(2, "what is \"more\"", *good, "more")
        for option, value in (("--loss", "l1"), ("--target", "least"), ("--n-soft", "0"), ("--init", "magic"), ("--init", "text:"),
                              ("--epochs", "-1"), ("--lr", "0"), ("--lr", "fast"), ("--lr", ""), ("--warm-up", "x"),
                              ("--accumulate", "0"), ("--clip", "-1"), ("--heldout", "0.7"), ("--seed", "x"),
                              ("--seed", "99999999999999999999"), ("--kv-type", "q8"), ("--cache", "1.5"), ("--scratch", "-1"), ("-t", "x"),
                              ("--measure-every", "x"), ("--measure-budgets", "64,,128"), ("--measure-budgets", "0"),
                              ("--measure-budgets", "1,2,3,4,5"), ("--measure-budgets", ""), ("--checkpoint-every", "x")):
            with self.subTest(option + value):
                self.refuse(2, option + ' "' + value + '": expected', *good, option, value)
        self.refuse(1, "/no/such", *good[:2], "--data", "/no/such", *good[4:])
        self.refuse(1, "/no/such", "-m", "/no/such", *good[2:])
        self.assertFalse(os.path.exists(self.path("never.gguf")))

    def test_help_names_every_option(self):
        done = subprocess.run([JUDGEQ, "train", "--help"], check=True, capture_output=True)
        for option in ("model data output log resume checkpoint-every n-soft init seed loss target weigh-values epochs lr warm-up accumulate "
                       "clip heldout measure-every measure-budgets threads kv-type cache scratch quiet help").split():
            self.assertIn("--" + option, done.stdout.decode())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
