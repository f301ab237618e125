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
import demo_report
import demo_text
from arguments import with_defaults
from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
POLICIES = ["full", "streaming", "snapkv", "judge", "judge-laq"]


class Demo(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_long_model(MAKE_FIXTURE)

    def demo(self, *more, status=0):
        defaults = {"--judgeq": JUDGEQ, "-m": self.model, "-t": "1", "-n": "3", "--words": "300", "--budget": "50",
                    "-o": self.path("demo")}
        done = subprocess.run([sys.executable, ROOT / "tools/demo.py", *with_defaults(defaults, more)],
                              capture_output=True, encoding="utf-8", timeout=120, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def result(self, *more):
        return json.loads(self.demo("--json", *more).stdout)

    def judgeq(self, *arguments):
        line = [JUDGEQ, "run", "-m", self.model, "-t", "1", "-n", "3", "--json", "--quiet", *arguments]
        return json.loads(subprocess.run(line, capture_output=True, check=True).stdout)

    def test_says_what_it_saw(self):
        done = self.demo("--questions", "2")
        words = " ".join(done.stdout.split())
        self.assertIn("With the full cache 0 of 2 answers were right; with 50 rows per layer and KV head, ", words)
        self.assertIn("0 with streaming, 0 with snapkv, 0 with judge, 0 with judge-laq.", words)
        rows = [line.split() for line in done.stdout.splitlines() if " of 2 " in line and "MiB" in line]
        self.assertEqual([row[:4] for row in rows], [[policy, "0", "of", "2"] for policy in POLICIES])
        for row in rows:
            *_, speed, first, _, again, _ = row
            self.assertTrue(float(speed) > 0 and 0 <= float(first) <= float(again), row)
        asked = [line for line in done.stdout.splitlines() if line.endswith(" -")]
        self.assertEqual([line.split()[-5:] for line in asked], [["-"] * 5] * 2)
        self.assertIn("--context", done.stdout.splitlines()[-1])

    def test_is_what_judgeq_says(self):
        """With the full cache the answers are those of the document read again; the files answer as they did."""
        result = self.result("--policies", "snapkv", "--questions", "3")
        document = self.path("demo/document.txt")
        self.assertEqual(self.read(document).decode(), result["document"])
        for full, snapkv in zip(*(policy["answers"] for policy in result["policies"])):
            question = ("-p", full["question"])
            self.assertEqual(full["answer"], self.judgeq("-f", document, "--policy", "full", *question)["text"])
            again = self.judgeq("--context", self.path("demo/snapkv.kv"), *question)
            self.assertEqual([snapkv["answer"], snapkv["kv_bytes_held"], 50],
                             [again["text"], again["kv_bytes_held"], again["budget"]])
        full, snapkv = result["policies"]
        self.assertEqual((full["kv_share"], full["asked"], snapkv["asked"]), (1, 3, 3))
        self.assertTrue(all(row["kv_bytes_peak"] > row["kv_bytes_held"] for row in (full, snapkv)))
        self.assertLess(snapkv["kv_bytes_held"], full["kv_bytes_held"] / 4)
        self.assertAlmostEqual(full["first_token_reading_again_s"], full["first_token_s"] + full["read_s"])

    def test_is_run_anew(self):
        seen = []
        for seed in "1", "2", "2":
            result = self.result("--policies", "streaming", "--questions", "1", "--seed", seed)
            self.assertEqual((result["seed"], len(result["questions"])), (int(seed), 1))
            seen.append((result["document"], [policy["answers"][0]["answer"] for policy in result["policies"]]))
        self.assertEqual(seen[1], seen[2])
        self.assertNotEqual(seen[0], seen[1])
        shown = self.demo("--policies", "streaming", "--questions", "1", "--show-document").stdout
        self.assertTrue(shown.index("A made-up document") > 1000)

    def test_failures_are_passed_on(self):
        done = self.demo("--policies", "broken", status=2)
        self.assertEqual(done.stdout, "")
        self.assertIn("broken", done.stderr)
        self.assertIn("./demo.sh builds it", self.demo("--judgeq", self.path("none"), status=1).stderr)
        self.assertIn("--policies names no policy", self.demo("--policies", "full", status=2).stderr)
        self.assertIn("-o names another folder", self.demo("-o", self.write("a file", "x"), status=1).stderr)


class Document(unittest.TestCase):
    def test_facts_stand_there_once_at_even_steps(self):
        for seed in range(1, 40):
            text, facts = demo_text.document(seed, 1200)
            self.assertEqual((text, facts), demo_text.document(seed, 1200))
            self.assertEqual((len(facts), len({fact.question for fact in facts})), (8, 8))
            self.assertTrue(1200 <= len(text.split()) < 1220)
            self.assertNotIn("{", text)
            for i, fact in enumerate(facts):
                self.assertEqual((text.count(fact.sentence), text.lower().count(fact.answer.lower())), (1, 1), fact)
                self.assertIn(fact.answer, fact.sentence)
                self.assertAlmostEqual(text.index(fact.sentence) / len(text), (i + 0.5) / 8, delta=0.05)
                self.assertNotIn(fact.question, text)
        self.assertNotEqual(demo_text.document(1, 1200)[0], demo_text.document(2, 1200)[0])

    def test_right_answers(self):
        fact = demo_text.Fact("The password is Velvet.", "What is the password?", "Velvet")
        self.assertEqual([demo.is_right(text, fact) for text in ("It is VELVET.", "Vel vet", "")], [True, False, False])

    def test_conclusions(self):
        def row(policy, right, share, again):
            return {"policy": policy, "right": right, "asked": 6, "kv_bytes_held": share, "first_token_s": 0.5,
                    "first_token_reading_again_s": again}

        rows = [row("full", 4, 200, 9), row("judge", 3, 10, 5), row("snapkv", 1, 9, 6)]
        demo_report.add_shares(rows)
        self.assertEqual(demo_report.conclusion(rows, 9),
                         "With the full cache 4 of 6 answers were right; with 9 rows per layer and KV head, 5 % of the KV "
                         "memory, 3 with judge, 1 with snapkv. A question's first token came 10 to 12 times as fast as with "
                         "the document read again.")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
