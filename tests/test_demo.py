"""The demo, on a tiny model: it says what it saw, whatever that is. test_demo.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import demo
from arguments import with_defaults
from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])


class Demo(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_long_model(MAKE_FIXTURE)

    def demo(self, *more, status=0):
        defaults = {"--judgeq": JUDGEQ, "-m": self.model, "-t": "1", "-n": "3", "--tokens": "1200", "-o": self.path("demo")}
        done = subprocess.run([sys.executable, ROOT / "tools/demo.py", *with_defaults(defaults, more)],
                              capture_output=True, encoding="utf-8", timeout=120, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_says_what_it_saw(self):
        done = self.demo("--budget", "50")
        words = " ".join(done.stdout.split())
        self.assertIn("With the full cache 0 of 8 answers were right; with 50 rows per layer and KV head, ", words)
        self.assertIn("0 with streaming, 0 with snapkv, 0 with judge, 0 with judge-laq.", words)
        rows = [line.split() for line in done.stdout.splitlines() if " of 8 " in line and "MiB" in line]
        self.assertEqual([row[:4] for row in rows],
                         [[policy, "0", "of", "8"] for policy in ("full", "streaming", "snapkv", "judge", "judge-laq")])
        self.assertTrue(all(float(row[-1]) > 0 for row in rows), rows)  # a speed of its own for each
        asked = [line for line in done.stdout.splitlines() if "?" in line]
        self.assertEqual(len(asked), 8)
        self.assertTrue(all(line.split()[-5:] == ["-"] * 5 for line in asked), asked)

    def test_one_document_and_its_facts(self):
        result = json.loads(self.demo("--policies", "streaming", "--json").stdout)
        self.assertEqual(len({question["question"] for question in result["questions"]}), 8)
        self.assertEqual({question["depth"] for question in result["questions"]}, {(i + 0.5) / 8 for i in range(8)})
        for question in result["questions"]:
            for reference in question["references"]:
                self.assertEqual(result["document"].count(reference), 1)
            self.assertNotIn(question["question"], result["document"])
        self.assertEqual([row["asked"] for row in result["policies"]], [8, 8])

    def test_is_run_anew(self):
        for seed in "1", "2", "2":
            result = json.loads(self.demo("--policies", "streaming", "--questions", "2", "--seed", seed, "--json").stdout)
            self.assertEqual((result["seed"], len(result["questions"])), (int(seed), 2))
        shown = self.demo("--policies", "streaming", "--questions", "1", "--show-document").stdout
        self.assertTrue(shown.index("A made-up document") > 1000)

    def test_failures_are_passed_on(self):
        done = self.demo("--policies", "broken", status=2)
        self.assertEqual(done.stdout, "")
        self.assertIn("broken", done.stderr)
        self.assertIn("./demo.sh builds it", self.demo("--judgeq", self.path("none"), status=1).stderr)
        self.assertIn("--policies names no policy", self.demo("--policies", "full", status=2).stderr)

    def test_conclusions(self):
        def row(policy, right):
            return {"policy": policy, "right": right, "asked": 6, "kv_share": 0.05}

        self.assertEqual(demo.conclusion([row("full", 4), row("judge", 3), row("snapkv", 1)], 9),
                         "With the full cache 4 of 6 answers were right; with 9 rows per layer and KV head, 5 % of the KV "
                         "memory, 3 with judge, 1 with snapkv.")
        self.assertEqual([demo.mark(score) for score in (1, 0.5, 0)], ["yes", "part", "-"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
