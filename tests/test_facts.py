#!/usr/bin/env python3
"""Tests of bench/facts.py and of the record and the tables of bench/needle.py. Runs no model.

    python3 tests/test_facts.py
"""
import json
import pathlib
import re
import sys
import tempfile
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
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
            self.assertNotEqual(facts.make_prompt(7, 900, kind, 0.3).document, facts.make_prompt(8, 900, kind, 0.3).document)

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


if __name__ == "__main__":
    unittest.main()
