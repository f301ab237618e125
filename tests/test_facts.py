#!/usr/bin/env python3
"""Tests of bench/facts.py, bench/needle.py and tools/demo.py. Runs no model: a script stands in for judgeq.

    python3 tests/test_facts.py
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]
sys.dont_write_bytecode = True
import demo
import facts
import needle
import prose


def words_before(document, sentence):
    """The share of the document's words that stand before `sentence`."""
    return len(document[: document.index(sentence)].split()) / len(document.split())


class Documents(unittest.TestCase):
    def prompts(self, tokens=900):
        for kind in facts.KINDS:
            for seed in range(5):
                yield facts.make_prompt(seed, tokens, kind, 0.5)

    def test_same_seed_same_prompt(self):
        for kind in facts.KINDS:
            self.assertEqual(facts.make_prompt(7, 900, kind, 0.3), facts.make_prompt(7, 900, kind, 0.3))
            documents = [facts.make_prompt(seed, 900, kind, 0.3).document for seed in (7, 8)]
            self.assertNotEqual(*documents)

    def test_length_is_as_asked(self):
        for tokens in (300, 900, 3000, 12000):
            prompt = facts.make_prompt(1, tokens, "code", 0.5)
            words = len(prompt.document.split()) + len(prompt.question.split())
            about = words * facts.TOKENS_PER_WORD + facts.TOKENS_OF_TEMPLATE
            self.assertAlmostEqual(about / tokens, 1, delta=0.05)

    def test_facts_stand_at_their_depth(self):
        for kind in facts.KINDS:
            for depth in (0, 0.1, 0.5, 0.9, 1):
                prompt = facts.make_prompt(3, 2500, kind, depth)
                place = words_before(prompt.document, prompt.fact.sentences[0])
                self.assertAlmostEqual(place, depth, delta=0.03, msg=f"{kind} at {depth}")

    def test_answers_stand_in_the_document_once(self):
        for prompt in self.prompts():
            for reference in prompt.fact.references:
                found = [s for s in reference if re.search(rf"(?<!\w){re.escape(s)}(?!\w)", prompt.document)]
                self.assertEqual(len(found), 1, prompt.fact)
                self.assertEqual(prompt.document.count(found[0]), 1, prompt.fact)
                self.assertNotIn(found[0], prompt.fact.question)

    def test_every_sentence_and_decoy_is_there(self):
        for prompt in self.prompts():
            for sentence in (*prompt.fact.sentences, *prompt.fact.decoys):
                self.assertEqual(prompt.document.count(sentence), 1)

    def test_questions_about_one_document(self):
        for count in (1, 8, facts.QUESTIONS_MOST):
            prompts = facts.make_questions(4, 2500, count)
            self.assertEqual(len({prompt.document for prompt in prompts}), 1)
            self.assertEqual(len({prompt.question for prompt in prompts}), count)
            for prompt in prompts:
                self.assertEqual(prompt.document.count(prompt.fact.sentences[0]), 1)
                self.assertAlmostEqual(words_before(prompt.document, prompt.fact.sentences[0]), prompt.depth, delta=0.05)
        self.assertEqual(facts.make_questions(4, 2500, 8), facts.make_questions(4, 2500, 8))

    def test_locker_has_decoys_of_the_same_form(self):
        fact = facts.make_prompt(1, 900, "locker", 0.5).fact
        forms = {re.sub(r"[A-H]\d\d|\d{5}", "_", sentence) for sentence in (*fact.sentences, *fact.decoys)}
        self.assertEqual((len(forms), len(fact.decoys)), (1, 6))

    def test_several_values_stand_apart(self):
        prompt = facts.make_prompt(1, 2500, "values", 0.2)
        places = sorted(words_before(prompt.document, sentence) for sentence in prompt.fact.sentences)
        self.assertEqual(len(places), 3)
        self.assertGreater(min(b - a for a, b in zip(places, places[1:])), 0.2)

    def test_own_facts(self):
        asked = facts.Fact("own", ("The moon is made of basalt.",), "What is the moon made of?", (("basalt",),))
        other = facts.Fact("own", ("Tea is served at five.",), "", ())
        prompt = facts.assemble(1, 900, asked, [other], 0.5)
        self.assertAlmostEqual(words_before(prompt.document, asked.sentences[0]), 0.5, delta=0.05)
        self.assertIn(other.sentences[0], prompt.document)

    def test_prose_holds_nothing_like_an_answer(self):
        text = prose.POOLS.values(), prose.CHAPTERS.values()
        text = " ".join(part for parts in text for part in parts)
        self.assertIsNone(re.search(r"\d", text))
        for name in (*facts.CITIES.split(), *facts.FIRST_NAMES.split(), *facts.LAST_NAMES.split()):
            self.assertIsNone(re.search(rf"\b{name}\b", text), name)

    def test_templates_use_known_words(self):
        for template in " ".join(prose.CHAPTERS.values()), :
            self.assertLessEqual(set(re.findall(r"\{(\w+)\}", template)), set(prose.POOLS))
        self.assertNotIn("{", facts.make_prompt(1, 12000, "code", 0.5).document)

    def test_prompts_cover_kinds_and_depths(self):
        prompts = facts.make_prompts(1, 24, 600)
        self.assertEqual({prompt.fact.kind for prompt in prompts}, set(facts.KINDS))
        depths = sorted(prompt.depth for prompt in prompts)
        self.assertLess(max(b - a for a, b in zip(depths, depths[1:])), 0.12)
        self.assertGreater(depths[-1] - depths[0], 0.8)


class Scores(unittest.TestCase):
    def test_share_of_references(self):
        references = (("Halcyon",), ("Isolde",), ("Juniper",))
        self.assertEqual(facts.score("halcyon, ISOLDE and Juniper.", references), 1)
        self.assertAlmostEqual(facts.score("Halcyon and Juniper", references), 2 / 3)
        self.assertEqual(facts.score("", references), 0)

    def test_any_spelling_counts(self):
        date = facts.date(facts.random.Random(1), set())
        day, month, year = date.sentences[0].rstrip(".").replace("It was on ", "").split(" that")[0].split()[-3:]
        for written in (f"{day} {month} {year}", f"{month} {day}, {year}", f"the {day}th of {month}, {year}",
                        f"{month} {day}th, {year}", f"{day}th {month}\n{year}"):
            self.assertEqual(facts.score(written, date.references), 1, written)
        self.assertEqual(facts.score(f"{month} {year}", date.references), 0.5)

    def test_a_part_of_a_word_is_not_an_answer(self):
        self.assertEqual(facts.score("The code is 4839201.", (("483920",),)), 0)
        self.assertEqual(facts.score("The code is 483920.", (("483920",),)), 1)
        self.assertEqual(facts.score("Rigaud", (("Riga",),)), 0)


class Record(unittest.TestCase):
    def test_interrupted_record_is_read_and_mended(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "needle.jsonl"
            self.assertEqual(needle.read_record(path), {})
            needle.append(path, {"key": "a", "score": 1})
            with path.open("a", encoding="utf-8") as file:
                file.write('{"key": "b", "sco')
            self.assertEqual(needle.read_record(path), {"a": {"key": "a", "score": 1}})
            needle.append(path, {"key": "c", "score": 0})
            self.assertEqual([json.loads(line)["key"] for line in path.read_text().splitlines()], ["a", "c"])

    def test_table(self):
        options = types.SimpleNamespace(policies=["full", "snapkv"], budgets=[64, 128], kinds=["code"])
        self.assertEqual(needle.arms(options), [("full", None), ("snapkv", 64), ("snapkv", 128)])
        entries = [{"asked_policy": policy, "asked_budget": budget, "kind": "code", "score": score,
                    "decode_tokens_per_s": None, "policy": policy}
                   | {name: 100 for name in needle.FROM_JUDGEQ if name not in ("policy", "decode_tokens_per_s")}
                   for policy, budget in needle.arms(options) for score in (0, 1, 1, 0.5)]
        row = needle.rows(entries, options)[1]
        self.assertEqual((row["prompts"], row["right"], row["score"], row["kv_bytes_held"]), (4, 2, 0.625, 100))
        self.assertAlmostEqual(row["error"], 0.2394, places=4) # stdev of 0, 1, 1, 0.5 over 2
        self.assertIsNone(row["decode_tokens_per_s"])


# Stands in for `answers`: reads a line for each prompt, answers as a perfect model with the full cache and as one that read
# nothing with any other policy, and logs each run.
ANSWERS = """#!/usr/bin/env python3
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
for line in sys.stdin:
    request = json.loads(line)
    runs = []
    for run in request["runs"]:
        with open(folder / "log", "a") as log:
            log.write(f"{run['policy']} {run['budget'] or '-'}\\n")
        full = run["policy"] == "full"
        held = 100 if full else run["budget"]
        runs.append({"text": request["text"] if full else "Nobody knows.", "policy": "x", "budget": run["budget"],
                     "prompt_tokens": 900, "completion_tokens": 1, "kv_bytes_full": 1000, "kv_bytes_held": 10 * held,
                     "kv_bytes_peak": 2000, "decode_tokens_per_s": None, "score_s": 0.1, "blocks_s": 1.5})
    stop = (folder / "stop").exists()
    print(json.dumps({"error": "no such policy"} if stop else {"runs": runs}), flush=True)
"""


class Programs(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.answers = self.folder / "answers"
        self.answers.write_text(ANSWERS)
        self.answers.chmod(0o755)

    def run_program(self, program, *arguments):
        return subprocess.run([sys.executable, ROOT / program, "--answers", self.answers, *arguments],
                              capture_output=True, encoding="utf-8", check=False)

    def runs(self):
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def needle(self, *policies):
        return self.run_program("bench/needle.py", "--policies", ";".join(policies), "--prompts", "2",
                                "--budgets", "64,32", "-o", self.folder / "out")

    def test_needle_table(self):
        done = self.needle("full", "judge,smooth=none")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [line.split() for line in done.stdout.splitlines()[2:5]]
        self.assertEqual([line[:7] for line in lines], [["full", "-", "100", "+-", "0", "2/2", "0.00"],
                                                       ["judge,smooth=none", "64", "0", "+-", "0", "0/2", "0.00"],
                                                       ["judge,smooth=none", "32", "0", "+-", "0", "0/2", "0.00"]])
        self.assertEqual(len(self.runs()), 6)

    def test_needle_goes_on_where_it_stopped(self):
        (self.folder / "stop").touch()
        done = self.needle("full")
        self.assertEqual((done.returncode, len(self.runs())), (1, 1))
        self.assertIn("no such policy", done.stderr)
        (self.folder / "stop").unlink()
        self.needle("full")
        self.assertEqual(len(self.runs()), 3)
        self.needle("full", "snapkv") # what is there already is not run again
        self.assertEqual(self.runs()[3:], ["snapkv 64", "snapkv 32"] * 2)

    def test_needle_without_worker(self):
        self.answers.unlink()
        done = self.needle("full")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--target bench", done.stderr)

    def demo(self, *arguments):
        return self.run_program("tools/demo.py", *arguments)

    def test_demo_says_what_it_saw(self):
        done = self.demo("--budget", "50", "--questions", "5")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("With the full cache 5 of 5 answers were right; with 50 rows per layer and KV head, 50 % of the KV "
                      "memory, 0 with streaming, 0 with snapkv, 0 with judge, 0 with judge-laq.", done.stdout)
        self.assertEqual(self.runs(), ["full -", "streaming 50", "snapkv 50", "judge 50", "judge-laq 50"] * 5)
        rows = [line.split() for line in done.stdout.splitlines() if " of 5 " in line and "MiB" in line]
        self.assertEqual([row[:4] for row in rows], [["full", "5", "of", "5"]] +
                         [[policy, "0", "of", "5"] for policy in ("streaming", "snapkv", "judge", "judge-laq")])
        asked = [line for line in done.stdout.splitlines() if "?" in line]
        self.assertEqual(len(asked), 5)
        self.assertTrue(all(line.split()[-5:] == ["yes", "-", "-", "-", "-"] for line in asked), asked)
        self.assertIn("5 of 5: ", done.stderr)

    def test_demo_asks_several_questions_by_default(self):
        done = self.demo("--policies", "full", "--json")
        result = json.loads(done.stdout)
        self.assertGreaterEqual(len(result["questions"]), 5)
        self.assertEqual(result["policies"][0]["right"], len(result["questions"]))

    def test_demo_takes_own_facts(self):
        done = self.demo("--policies", "full", "--json",
                         "--fact", "The moon is made of basalt.", "What is the moon made of?", "basalt",
                         "--fact", "Tea is at five.", "When is tea?", "five")
        result = json.loads(done.stdout)
        self.assertIn("Tea is at five.", result["document"])
        self.assertEqual([question["question"] for question in result["questions"]],
                         ["What is the moon made of?", "When is tea?"])
        self.assertEqual(result["policies"][0]["right"], 2)

    def test_failures_are_passed_on(self):
        (self.folder / "stop").touch()
        done = self.demo("--policies", "broken")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("no such policy", done.stderr)
        self.answers.unlink()
        done = self.demo()
        self.assertEqual(done.returncode, 1)
        self.assertIn("build it first", done.stderr)

    def test_conclusions(self):
        def row(policy, right):
            return {"policy": policy, "right": right, "asked": 6, "kv_share": 0.05}

        self.assertEqual(demo.conclusion([row("full", 4)], 9), "With the full cache 4 of 6 answers were right.")
        self.assertEqual(demo.conclusion([row("judge", 3), row("snapkv", 1)], 9),
                         "With 9 rows per layer and KV head, 5 % of the KV memory, 3 with judge, 1 with snapkv, of 6.")


if __name__ == "__main__":
    unittest.main()
