"""judgeq data as its users meet it, on tiny models: sources of every kind, broken ones, interruptions, wrong usage.
test_data_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import re
import signal
import subprocess
import sys
import unittest

from arguments import with_defaults
from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

SENTENCE = "The heron sings to the iron ring in the rain, and the string is on the ring again. "


class Data(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_model(MAKE_FIXTURE, "endless", "bpe-smollm")
        cls.texts = cls.path("texts")
        os.makedirs(os.path.join(cls.texts, "inner"))
        cls.write("texts/a.txt", SENTENCE * 30)
        cls.write("texts/inner/b.md", ("# Über Ströme\n\n" + "Größe, Fläche, Straße; 東京と京都。\n" * 40))
        cls.write("texts/picture.png", "not a text, and not asked for")
        cls.write("texts/.hidden.txt", SENTENCE)

    def arguments(self, output, *more):
        defaults = {"-m": self.model, "-o": output, "-t": "1", "--tokens": "6", "--min": "40", "--max": "400"}
        return [JUDGEQ, "data", *with_defaults(defaults, more)]

    def run_data(self, output, *more):
        return subprocess.run(self.arguments(output, *more), capture_output=True, timeout=120)

    def make(self, output, *more):
        done = self.run_data(output, *more)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        header, *examples = [json.loads(line) for line in self.read(output).splitlines()]
        self.assertEqual(header["judgeq_data"], 1)
        return examples, done.stderr.decode()

    def test_folder(self):
        output = self.path("folder.jsonl")
        examples, said = self.make(output, self.texts)
        self.assertGreater(len(examples), 3)
        self.assertIn("from 2 files", said)
        self.assertIn("0 files, lines or conversations were left out", said)
        for example in examples:
            self.assertTrue(40 <= len(example["prompt"]) <= 400)
            self.assertEqual(len(example["response"]), 6)
        again = self.path("again.jsonl")
        self.make(again, self.texts)
        self.assertEqual(self.read(again), self.read(output))
        self.make(self.path("seed.jsonl"), self.texts, "--seed", "1")
        self.assertNotEqual(self.read(self.path("seed.jsonl")), self.read(output))
        few, _ = self.make(self.path("few.jsonl"), self.texts, "-n", "2")
        self.assertEqual(few, examples[:2])

    def test_the_response_is_the_model_s_own(self):
        """The same as judgeq run writes, token by token."""
        data = self.write("one.jsonl", json.dumps({"messages": [{"role": "user", "content": SENTENCE * 3}]}))
        examples, _ = self.make(self.path("one-set.jsonl"), data)
        self.assertEqual(len(examples), 1)
        ran = subprocess.run([JUDGEQ, "run", "-m", self.model, "-t", "1", "-n", "6", "--json", "-p", SENTENCE * 3],
                             capture_output=True, check=True)
        result = json.loads(ran.stdout)
        self.assertEqual(result["tokens"], examples[0]["response"])
        self.assertEqual(result["prompt_tokens"], len(examples[0]["prompt"]))

    def test_conversations(self):
        turns = [{"from": "system", "value": "Be brief. " * 5}, {"from": "human", "value": SENTENCE},
                 {"from": "gpt", "value": "Yes."}, {"from": "human", "value": SENTENCE}]
        closed = turns + [{"from": "gpt", "value": "a last answer that the model gives itself"}]
        openai = [{"role": {"human": "user", "gpt": "assistant"}.get(t["from"], t["from"]), "content": t["value"]}
                  for t in turns]
        share = self.write("share.json", json.dumps([{"id": "x", "conversations": turns}, {"conversations": closed}]))
        lines = self.write("openai.jsonl", json.dumps({"messages": openai}) + "\n")
        examples, _ = self.make(self.path("talks.jsonl"), share, lines)
        self.assertEqual(len(examples), 3)
        self.assertEqual(examples[0]["prompt"], examples[1]["prompt"])
        self.assertEqual(examples[0]["prompt"], examples[2]["prompt"])

    def prompts(self, name, source):
        """The prompts of a source's bytes or text, as token ids, and what was said."""
        self.write(name, source)
        output = self.path("prompts.jsonl")
        if os.path.exists(output):
            os.unlink(output)
        done = self.run_data(output, self.path(name), "--max", "3000")
        lines = self.read(output).splitlines() if os.path.exists(output) else []
        order = sorted(map(json.loads, lines[1:]), key=lambda example: len(example["prompt"]))
        return [example["prompt"] for example in order], done.stderr.decode()

    def test_forms_of_conversations(self):
        """Every record asks what the plain one does, or is named with a reason."""
        user, brief = {"role": "user", "content": SENTENCE * 3}, {"role": "system", "content": "Be brief."}
        lone = SENTENCE * 3 + "\ud83d"  # what json.dumps writes of half an emoji
        plain, _ = self.prompts("plain.jsonl", json.dumps({"messages": [user]}))
        told, _ = self.prompts("told.jsonl", json.dumps({"messages": [brief, user]}))
        mended, _ = self.prompts("mended.jsonl", json.dumps({"messages": [dict(user, content=SENTENCE * 3 + "\ufffd")]}))
        calls = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]}
        shared = {"from": "human", "value": SENTENCE * 3}
        for record, wanted, words in (
                ({"messages": [user, {"role": "assistant", "content": ""}]}, plain, ""),
                ({"messages": [{"role": "USER", "content": user["content"]}]}, plain, ""),
                ({"messages": [dict(user, content=[{"type": "text", "text": SENTENCE}, SENTENCE * 2])]}, plain, ""),
                ({"messages": [{"role": "system", "content": ""}, user]}, plain, ""),
                ({"messages": [{"role": "system", "content": None}, user]}, plain, ""),
                ({"messages": [user], "system": ""}, plain, ""), ({"messages": [user], "system": None}, plain, ""),
                ({"messages": [user, calls, {"role": "tool", "content": "7"}]}, plain, ""),
                ({"messages": [{"role": "developer", "content": "Be brief."}, user]}, told, ""),
                ({"conversations": [shared], "system": "Be brief."}, told, ""),
                ({"conversations": [shared], "system_prompt": "Be brief."}, told, ""),
                ({"messages": [brief, user], "system": "Never heard."}, told, ""),
                ({"messages": None, "conversations": [shared]}, plain, ""),
                ({"id": 10 ** 40, "score": float("nan"), "low": -float("inf"), "x": [-1.5e300, 1e999, 0, -0.0],
                  "messages": [user]}, plain, ""),
                ({"note": "\ud83d \0", "messages": [user]}, plain, ":1: 2 escapes for no character"),
                ({"messages": [dict(user, content=lone)]}, mended, ":1: 1 escape for no character"),
                ({"messages": [dict(user, content=SENTENCE * 3 + "\0")]}, mended, ":1: 1 escape for no character"),
                ({"messages": [user, calls, {"role": "tool", "content": "7"}, user]}, [], "calls a tool"),
                ({"messages": [user, {"role": "function", "content": "7"}, user]}, [], "a turn of a tool"),
                ({"messages": [user, {"role": "assistant", "content": None}, user]}, [], "a turn without text"),
                ({"messages": [dict(user, content=[{"type": "image_url", "image_url": {}}])]}, [], "no text"),
                ({"messages": [{"role": "alien", "content": "x"}, user]}, [], "an unknown role")):
            with self.subTest(record=json.dumps(record)[-160:]):
                found, said = self.prompts("record.jsonl", json.dumps(record))
                self.assertEqual(found, wanted, said)
                self.assertIn(words, said)
                self.assertEqual("left out: " in said, not wanted)
        text, answer = SENTENCE * 3, {"role": "assistant", "content": "Yes."}
        asked, _ = self.prompts("asked.jsonl", json.dumps({"messages": [dict(user, content=f"{text}\n{SENTENCE}")]}))
        after, _ = self.prompts("after.jsonl", json.dumps({"messages": [user, answer, user]}))
        for record, wanted, words in (  # Alpaca, Dolly, LLaMA-Factory, UltraChat, LMSYS, TRL, Gemini
                ({"instruction": text, "input": "", "output": "x"}, plain, ""),
                ({"instruction": text, "input": SENTENCE, "output": "x"}, asked, ""),
                ({"instruction": text, "context": SENTENCE, "response": "x", "category": "qa"}, asked, ""),
                ({"instruction": text, "input": "", "output": "x", "system": "Be brief."}, told, ""),
                ({"instruction": text, "output": "x", "history": [[text, "Yes."]]}, after, ""),
                ({"instruction": text, "output": "x", "history": []}, plain, ""),
                ({"prompt": text, "completion": "x"}, plain, ""),
                ({"prompt": [user], "chosen": [answer], "rejected": [answer]}, plain, ""),
                ({"id": "0", "data": [text, "Yes.", text, "Yes."]}, after, ""),
                ({"conversation": [user, answer, user], "language": "English", "turn": 2}, after, ""),
                ({"conversations": [text, "Yes.", text]}, after, ""),
                ({"messages": [{"role": "prompter", "text": text}, {"role": "model", "text": "Yes."}, user]}, after, ""),
                ({"instruction": text, "history": [[text]]}, [], "not of pairs"),
                ({"instruction": text, "history": [[text, None]]}, [], "a turn without text"),
                ({"instruction": "", "input": ""}, [], "a turn without text"),
                ({"data": [text, 7, text]}, [], "a turn without text"),
                ({"messages": {"0": user}}, [], "has neither"), ({"data": [{"messages": [user]}]}, [], "has neither"),
                ({"data": ["x"], "messages": [user]}, plain, ""),
                ({"instruction": None}, [], "has neither"), ("text", [], "not JSON"), (7, [], "not JSON")):
            with self.subTest(record=json.dumps(record)[-160:]):
                found, said = self.prompts("record.jsonl", json.dumps(record))
                self.assertEqual(found, wanted, said)
                self.assertIn(words, said)
        twice, _ = self.prompts("twice.jsonl", '{"messages": [], "messages": %s}' % json.dumps([user]))
        self.assertEqual(twice, plain)

    def test_strings_stay_as_they_are(self):
        """What looks like a number or an escape in a string is text, as Python's json has it."""
        texts = ("NaN, -Infinity and 123456789012345678901234567890", r"\ud83d \\ud83d \\\ud83d", "\\", '\\"', '"NaN"',
                 "\U0001f6a3 \u2028 \x7f", "] } , [ {", "tab\tand\nline", "\\u0000")
        lines, lengths = [], []
        for text in texts:
            content = SENTENCE * 3 + text
            record = {"big": 10 ** 30, "messages": [{"role": "user", "content": content}], "nan": float("nan")}
            lines += [json.dumps(record), json.dumps(record, ensure_ascii=False)]
            ran = subprocess.run([JUDGEQ, "run", "-m", self.model, "-t", "1", "-n", "1", "--json", "-p", content],
                                 capture_output=True, check=True)
            lengths += [json.loads(ran.stdout)["prompt_tokens"]] * 2
        found, said = self.prompts("text.jsonl", "\n".join(lines))
        self.assertEqual([len(prompt) for prompt in found], sorted(lengths), said)
        self.assertNotIn("U+FFFD", said)
        self.assertEqual(self.prompts("text.json", "[" + ",\n".join(lines) + "]")[0], found)

    def test_encodings_and_endings_of_files(self):
        line = json.dumps({"messages": [{"role": "user", "content": SENTENCE * 3 + "Größe 京"}]}, ensure_ascii=False)
        plain, _ = self.prompts("plain.jsonl", line)
        for name, source in (("bom.jsonl", "\ufeff" + line), ("blank.jsonl", "\n\n" + line + "\n \n\n"),
                             ("crlf.jsonl", "\r\n" + line + "\r\n\r\n"), ("u16.jsonl", line.encode("utf-16")),
                             ("be.jsonl", ("\ufeff" + line).encode("utf-16-be")), ("u32.jsonl", line.encode("utf-32")),
                             ("bom.json", "\ufeff[" + line + "]"), ("nl.json", " \r\n[\n" + line + "\n]\n"),
                             ("UPPER.JSONL", line), ("Upper.Json", f"[{line}]")):
            with self.subTest(name):
                found, said = self.prompts(name, source)
                self.assertEqual(found, plain, said)
                self.assertIn(" 0 files, lines or conversations were left out", said)
        text = (SENTENCE * 12).encode()
        plain, _ = self.prompts("plain.txt", text)
        for name, source in (("BOM.TXT", b"\xef\xbb\xbf" + text), ("u16.MD", text.decode().encode("utf-16"))):
            self.assertEqual(self.prompts(name, source)[0], plain)
        for source, words in ((b"A\0B\0", "need a byte order mark"), (b"\xff\xfeA", "begins as UTF-16 text and is none"),
                              (b"caf\xe9", "is not UTF-8 text from byte 4 on; iconv")):
            found, said = self.prompts("odd.txt", source)
            self.assertEqual(found, [])
            self.assertIn("odd.txt: " + ("holds a zero byte: it is not text (UTF-16 and UTF-32 " if b"A\0" == source[:2]
                                         else "") + words, said)

    def test_a_broken_element_loses_itself(self):
        good = json.dumps({"messages": [{"role": "user", "content": SENTENCE * 3}]})
        for elements, n_good, words in (
                ([good, '{"messages": }', good], 2, "array.json:2: not JSON"),
                ([good, '{"a": [1, 2}', good], 1, "array.json:2: not JSON"),  # nobody can tell where it ends
                ([good, '{"a": "open}\n', good], 1, "array.json:2: not JSON"),
                ([good, '{"a": 1}}', good], 2, "array.json:2: not JSON"), ([good, "", good], 2, "array.json:2: not JSON"),
                ([good, "01", good], 2, "array.json:2: not JSON"), ([good, "nan", good], 2, "array.json:2: not JSON"),
                ([good, '"text"', good], 2, "array.json:2: not JSON"),
                ([good, "[]", good], 2, 'array.json:2: has neither "messages"'), ([], 0, "hold no prompt"),
                ([good, "[" * 100000 + "]" * 100000, good], 2, "array.json:2: not JSON: maximum parsing depth")):
            with self.subTest(elements=[element[:30] for element in elements]):
                found, said = self.prompts("array.json", "[" + ", ".join(elements) + "]")
                self.assertEqual(len(found), n_good, said)
                self.assertIn(words, said)
        for source, n_good in (f"[{good}", 1), (f"[{good}] x", 1), (f"[{good}]]", 1), ("hello", 0), ("", 0), ("[", 0):
            found, said = self.prompts("array.json", source)
            self.assertEqual(len(found), n_good)
            self.assertIn("left out: ", said)

    def test_a_text_that_no_context_holds_costs_itself(self):
        huge = {"messages": [{"role": "user", "content": SENTENCE * 9000}]}
        short = {"messages": [{"role": "user", "content": SENTENCE * 3}]}
        found, said = self.prompts("huge.jsonl", json.dumps(huge) + "\n" + json.dumps(short))
        self.assertEqual(len(found), 1, said)
        self.assertIn(" 1 longer than 3000 or than the model's context", said)

    def test_arrays_and_lines_by_what_they_are(self):
        """Whatever the file is called. Records that are printed over several lines come one after the other."""
        records = [{"messages": [{"role": "user", "content": SENTENCE * (3 + i)}], "note": "\n{"} for i in range(3)]
        plain, _ = self.prompts("plain.jsonl", "\n".join(map(json.dumps, records)))
        self.assertEqual(len(plain), 3)
        printed = [json.dumps(record, indent=2) for record in records]
        for name, source in (("lines.json", "\n".join(map(json.dumps, records))), ("array.jsonl", json.dumps(records)),
                             ("printed.jsonl", json.dumps(records, indent=1)), ("jq.json", "\n".join(printed) + "\n"),
                             ("jq.jsonl", "\r\n".join(printed).replace("\r\n", "\n").replace("\n", "\r\n"))):
            with self.subTest(name):
                found, said = self.prompts(name, source)
                self.assertEqual(found, plain, said)
                self.assertNotIn("left out: ", said)
        found, _ = self.prompts("one.json", printed[0])
        self.assertEqual(found, plain[:1])
        for source, place in (("\n".join([printed[0], "{\n  broken\n}", printed[2]]), "2"),
                              ("\n".join([json.dumps(records[0]), "{", json.dumps(records[2])]), "2")):
            found, said = self.prompts("broken.json", source)
            self.assertEqual(found, plain[::2], said)
            self.assertIn(f"broken.json:{place}: not JSON", said)

    def test_folders_with_everything(self):
        """Links around in circles, pipes, devices and names that steer terminals."""
        os.makedirs(self.path("every/inner"))
        self.write("every/A.TXT", SENTENCE * 12)
        self.write("every/inner/b.md", SENTENCE * 13)
        for target, name in ((".", "l1"), (".", "l2"), ("..", "inner/up"), ("/dev/zero", "zero.txt"), ("/no", "none.md"),
                             ("A.TXT", "again.txt")):
            os.symlink(target, self.path("every/" + name))
        os.link(self.path("every/A.TXT"), self.path("every/hard.txt"))
        os.mkfifo(self.path("every/pipe.jsonl"))
        with open(self.path("every/huge.txt"), "wb") as file:
            file.truncate(3 << 30)
        for name in ("x\x1b[2J.png", "y.pdf", "z.doc", "zz.doc", ".hidden.doc"):
            self.write("every/" + name, "x")
        output = self.path("every.jsonl")
        done = self.run_data(output, self.path("every"), "--retrieval", "0")
        said = done.stderr.decode()
        self.assertEqual(done.returncode, 0, said)
        for words in ("from 2 files", "every/zero.txt: is a device, not a regular file", "every/none.md: is a link to nothing",
                      "every/pipe.jsonl: is a pipe, not a regular file", "every/huge.txt: is larger than 2 GiB",
                      "4 files, lines or conversations were left out",
                      "4 files of the folders were passed over: not .txt, .md, .markdown, .json or .jsonl "
                      "(x\\x1b[2J.png, y.pdf, z.doc, ...)"):
            self.assertIn(words, said)
        self.assertNotIn("\x1b", said)
        again = self.path("every-again.jsonl")  # in another locale the order is the same
        environment = dict(os.environ, LC_ALL="C.UTF-8")
        subprocess.run(self.arguments(again, self.path("every"), "--retrieval", "0"), check=True, capture_output=True,
                       env=environment)
        self.assertEqual(self.read(again), self.read(output))
        done = self.run_data(self.path("pipe-set.jsonl"), self.path("every/pipe.jsonl"))
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"is a pipe", done.stderr)

    def test_nothing_that_is_read_steers_the_terminal(self):
        self.write("evil\x1b]0;x\x07\u202e.txt", "caf\xe9".encode("latin-1"))
        self.write("evil.jsonl", b'{"a\x1b[31m\xc2\x9b\xe2\x80\xae": \x07\n\xff\xfe\n{"x": "\x1b[2J"}\n')
        done = self.run_data(self.path("evil-set.jsonl"), self.path("evil\x1b]0;x\x07\u202e.txt"), self.path("evil.jsonl"),
                             self.path("no\n\x9b\udcff"))
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"evil\\x1b]0;x\\x07\\u202e.txt: is not UTF-8", done.stderr)
        self.assertIn(b"no\\x0a\\u009b\\xff: No such file", done.stderr)
        said = done.stderr.decode()  # it is UTF-8
        self.assertEqual([c for c in said if c != "\n" and not c.isprintable()], [])
        done = subprocess.run([JUDGEQ, "data", "--\x1b[2J", "x"], capture_output=True, timeout=60)
        self.assertIn(rb"\x1b[2J", done.stderr)

    def test_texts_without_spaces(self):
        """Chinese and Thai come in passages of the lengths asked for, with facts hidden in many places."""
        for text in "港務長每天早上數船。他把數字寫在藍色的書裡！", "ท่าเรือมีเรือสี่สิบลำ":
            plain, said = self.prompts("script.txt", text * 400)
            self.assertGreater(len(plain), 10, said)

    def test_weights(self):
        """Every beginning holds the sources by their weights."""
        def talks(name, word):
            lines = [json.dumps({"messages": [{"role": "user", "content": (word + " ") * (60 + i)}]}) for i in range(30)]
            return self.write(name, "\n".join(lines))
        often, seldom = talks("often.jsonl", "ring"), talks("seldom.jsonl", "heron")
        def count(*arguments):
            output = self.path("weights.jsonl")
            if os.path.exists(output):
                os.unlink(output)
            examples, _ = self.make(output, "-n", "20", *arguments)
            return sum(ring in example["prompt"] for example in examples)
        only, _ = self.make(self.path("only.jsonl"), often, "-n", "1")
        other, _ = self.make(self.path("other.jsonl"), seldom, "-n", "1")
        ring = max(set(only[0]["prompt"]) - set(other[0]["prompt"]), key=only[0]["prompt"].count)
        self.assertGreater(count(often + ":9", seldom), 14)
        self.assertLess(count(often, seldom + ":9"), 6)
        self.assertEqual(count(often + ":9", seldom + ":0.000001"), 20)
        self.assertTrue(5 <= count(often, seldom) <= 15)
        named = self.write("name:2", "x")  # a file of that very name is no weight
        _, said = self.make(self.path("named.jsonl"), often, named, "-n", "1")
        self.assertIn("name:2: does not end in", said)

    def test_retrieval(self):
        """This model of random weights answers no question right: all retrieval prompts are counted as wrong."""
        plain, said = self.make(self.path("none.jsonl"), self.texts, "--retrieval", "0")
        self.assertIn("0 a wrong one", said)
        facts = self.path("facts.jsonl")
        done = self.run_data(facts, self.texts, "--retrieval", "1", "--max", "2000")
        self.assertEqual((done.returncode, os.path.exists(facts)), (1, False), done.stderr.decode())
        self.assertGreater(int(re.search(rb"(\d+) a wrong one", done.stderr)[1]), 1)
        some, said = self.make(self.path("some.jsonl"), self.texts, "--retrieval", "0.5", "--max", "2000")
        self.assertTrue(some and int(re.search(r"(\d+) a wrong one", said)[1]))

    def test_later(self):
        """Questions after the document. The answers of this model are wrong; test_data_maker.c has right ones."""
        later = self.path("later.jsonl")
        done = self.run_data(later, self.texts, "--retrieval", "1", "--later", "1", "--max", "2000")
        self.assertEqual((done.returncode, os.path.exists(later)), (1, False), done.stderr.decode())
        self.assertGreater(int(re.search(rb"(\d+) a wrong one", done.stderr)[1]), 1)
        without, zero, half = (self.path(f"later-{name}.jsonl") for name in ("without", "zero", "half"))
        mixed = self.texts, "--retrieval", "0.5", "--max", "2000"
        self.make(without, *mixed)
        self.make(zero, *mixed, "--later", "0")
        self.assertEqual(self.read(zero), self.read(without))
        self.assertNotIn(b'"later"', self.read(zero))
        self.assertTrue(self.make(half, *mixed, "--later", "0.5")[0])
        self.assertEqual(json.loads(self.read(half).splitlines()[0])["later"], 0.5)
        self.make(half, *mixed, "--later", "0.5", "--resume")
        done = self.run_data(half, *mixed, "--later", "0.6", "--resume")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot be resumed", done.stderr)

    def test_later_needs_a_template_of_conversations(self):
        for text, words in (("{% if messages | length > 1 %}{{ raise_exception('one only') }}{% endif %}"
                             "{{ messages[0]['content'] }}", "one only"),
                            ("{{ messages[-1]['content'] }}", "leaves the answers")):
            single = self.path("single.gguf")
            subprocess.run([MAKE_FIXTURE, "template", "bpe-smollm", single, text], check=True)
            output = self.path("single.jsonl")
            done = self.run_data(output, self.texts, "-m", single, "--later", "1")
            self.assertEqual(done.returncode, 1, done.stderr.decode())
            self.assertIn("--later asks in turns: ", done.stderr.decode())
            self.assertIn(words, done.stderr.decode())
            self.assertFalse(os.path.exists(output))

    def test_sampled_responses(self):
        greedy, _ = self.make(self.path("greedy.jsonl"), self.texts)
        sampled, _ = self.make(self.path("sampled.jsonl"), self.texts, "--temp", "1")
        again, _ = self.make(self.path("sampled-again.jsonl"), self.texts, "--temp", "1", "-n", "2")
        self.make(self.path("sampled-again.jsonl"), self.texts, "--temp", "1", "--resume")
        self.assertEqual([e["prompt"] for e in greedy], [e["prompt"] for e in sampled])
        self.assertNotEqual([e["response"] for e in greedy], [e["response"] for e in sampled])
        self.assertEqual(again, sampled[:2])
        self.assertEqual(self.read(self.path("sampled-again.jsonl")), self.read(self.path("sampled.jsonl")))

    def test_what_is_broken_is_named_and_counted(self):
        good = json.dumps({"messages": [{"role": "user", "content": SENTENCE * 3}]})
        lines = self.write("broken.jsonl", "\n".join([
            good, "{", "[]", '{"messages": []}', '{"messages": [{"role": "alien", "content": "x"}]}',
            '{"messages": [{"role": "robot", "content": "x"}, {"role": "user", "content": "x"}]}',
            '{"messages": [{"role": "user", "content": ""}]}', good]))
        latin = self.write("latin.txt", "Stra\xdfe ".encode("latin-1") * 50)
        empty, odd = self.write("empty.txt", ""), self.write("odd.pdf", "%PDF")
        array = self.write("array.json", "{}")
        examples, said = self.make(self.path("rest.jsonl"), lines, latin, empty, odd, array, "/no/such/file")
        self.assertEqual(len(examples), 2)
        for words in ("broken.jsonl:2: not JSON", "broken.jsonl:3: has neither", "broken.jsonl:4: has no turn of a user",
                      "broken.jsonl:5: has no turn of a user", "broken.jsonl:6: has a turn of an unknown role",
                      "broken.jsonl:7: has a turn without text", "latin.txt: is not UTF-8", "empty.txt: is empty",
                      "odd.pdf: does not end in", "array.json:1: has neither", "/no/such/file: No such file",
                      "11 files, lines or conversations were left out"):
            self.assertIn(words, said)

    def test_lengths_are_counted(self):
        def talk(n):
            return json.dumps({"messages": [{"role": "user", "content": "ring " * n}]})
        data = self.write("lengths.jsonl", "\n".join([talk(1), talk(60), talk(600)]))
        examples, said = self.make(self.path("lengths-set.jsonl"), data)
        self.assertEqual(len(examples), 1)
        self.assertIn("1 were shorter than 40 tokens, 1 longer than 400", said)

    def test_interrupted_sets_end_the_same(self):
        whole = self.path("whole.jsonl")
        self.make(whole, self.texts)
        for name, number in ("int", signal.SIGINT), ("kill", signal.SIGKILL):
            with self.subTest(name):
                output, interrupted = self.path(name + ".jsonl"), 0
                for attempt in range(200):
                    resume = ["--resume"] if os.path.exists(output) else []
                    process = subprocess.Popen(self.arguments(output, self.texts, *resume), stderr=subprocess.PIPE)
                    try:
                        process.wait(0.01 + 0.005 * attempt)
                    except subprocess.TimeoutExpired:
                        process.send_signal(number)
                        interrupted += 1
                    said = process.communicate(timeout=60)[1].decode()
                    if process.returncode == 0:
                        break
                    self.assertIn(process.returncode, (128 + number, -number), said)
                self.assertGreater(interrupted, 0)
                self.assertEqual(self.read(output), self.read(whole))

    def test_a_torn_line_is_cut_off(self):
        output = self.path("torn.jsonl")
        self.make(output, self.texts)
        whole = self.read(output)
        for cut in (10, len(whole) // 2, len(whole) - 1, 0):
            self.write("torn.jsonl", whole[:cut])
            self.make(output, self.texts, "--resume")
            self.assertEqual(self.read(output), whole)

    def test_resuming_what_is_something_else(self):
        output = self.path("else.jsonl")
        self.make(output, self.texts)
        whole = self.read(output)
        done = self.run_data(output, self.texts)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"--resume continues it", done.stderr)
        for more in ("--seed", "9"), (self.path("texts/a.txt"),):
            done = self.run_data(output, self.texts, "--resume", *more)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"cannot be resumed", done.stderr)
        self.assertEqual(self.read(output), whole)

    def test_the_set_trains_a_judge(self):
        output = self.path("train.jsonl")
        self.make(output, self.texts)
        done = subprocess.run([JUDGEQ, "train", "-m", self.model, "--data", output, "-o", self.path("judge.gguf"), "-t",
                               "1", "--n-soft", "2", "--epochs", "1"], capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertNotIn("left out", done.stderr.decode())
        other = self.path("other.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "bpe-default", other], check=True)
        done = subprocess.run([JUDGEQ, "train", "-m", other, "--data", output, "-o", self.path("never.gguf")],
                              capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"made with model", done.stderr)

    def test_a_model_without_a_template(self):
        plain = self.path("plain.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "bpe-default", plain], check=True)
        done = subprocess.run([JUDGEQ, "data", "-m", plain, "-o", self.path("plain.jsonl"), "-t", "1", "--tokens", "4",
                               "--min", "20", "-n", "2", self.texts], capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def test_a_model_s_name_that_is_no_utf8(self):
        """A name is a note in the set's first line: no reason to refuse the model."""
        model = bytearray(self.read(self.model))
        key = b"general.name"
        model[model.index(key) + len(key) + 12] = 0xe9  # of the value; between them its type and length
        latin, output = self.write("latin.gguf", bytes(model)), self.path("latin-set.jsonl")
        for more in ["-n", "1"], ["--resume"]:
            done = subprocess.run([JUDGEQ, "data", "-m", latin, "-o", output, "-t", "1", "--tokens", "4", "--retrieval", "0",
                                   "--max", "400", *more, self.path("texts/a.txt")], capture_output=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertTrue(json.loads(self.read(output).splitlines()[0])["model_name"].startswith("\\xe9"))

    def test_wrong_usage(self):
        for status, words, arguments in (
                (2, "-o SET.jsonl is missing", ["x"]), (2, "which sources?", ["-o", "x"]),
                (2, "unknown option", ["--nonsense"]), (2, "needs a value", ["-o"]),
                (2, '-n "0": expected', ["-n", "0"]), (2, '--tokens "1": expected', ["--tokens", "1"]),
                (2, '--seed "x": expected', ["--seed", "x"]), (2, '--temp "-1": expected', ["--temp", "-1"]),
                (2, '--retrieval "2": expected', ["--retrieval", "2"]), (2, '--later "2": expected', ["--later", "2"]),
                (2, "--min is more than --max", ["-o", "x", "--min", "9", "--max", "8", "y"]),
                (2, "the sources hold no prompt", ["-m", self.model, "-o", self.path("no"), self.write("s.jsonl", "\n")]),
                (1, "/no/such", ["-m", "/no/such", "-o", self.path("no"), "x"]),
                (1, "/no/folder/set", ["-m", self.model, "-o", "/no/folder/set", self.texts])):
            with self.subTest(words):
                done = subprocess.run([JUDGEQ, "data", *arguments], capture_output=True, timeout=60)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(words, done.stderr.decode())
        self.assertFalse(os.path.exists(self.path("no")))
        done = subprocess.run([JUDGEQ, "data", "--help"], check=True, capture_output=True)
        for option in "output model examples tokens min max retrieval later temp top-p seed resume threads quiet help".split():
            self.assertIn("--" + option, done.stdout.decode())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
