"""OpenAI's compaction of conversations: PyPI's openai, unmodified. test_serve_compact.py JUDGEQ MAKE_FIXTURE [unittest
arguments]"""

import os
import subprocess
import sys
import unittest

from serving import Server, Serving, client_module

openai = client_module("openai")

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
TALK = [{"role": "user", "content": "in the rain"}, {"role": "assistant", "content": "a heron"},
        {"role": "user", "content": "on a string"}, {"role": "assistant", "content": "again"}]
MORE = [{"role": "user", "content": "and then?"}]
FULL = {"judgeq": {"policy": "full"}}


@unittest.skipUnless(openai, "tools/deps.sh --test provides PyPI's openai")
class Compact(Serving):
    @classmethod
    def setUpClass(cls):
        super(Serving, cls).setUpClass()
        cls.make_model(cls.MAKE_FIXTURE, cls.KIND, cls.SPEC)
        cls.begin()

    @classmethod
    def begin(cls):
        os.makedirs(cls.path("contexts"))
        cls.server = Server(JUDGEQ, cls.model, "--context-dir", cls.path("contexts"), "--context-bytes", "10M")
        cls.addClassCleanup(cls.end)
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def create(self, items, **more):
        return self.client.responses.create(**{"model": "any", "input": items, "max_output_tokens": 12, **more})

    def compact(self, items, own=FULL, **more):
        return self.client.responses.compact(model="any", input=items, extra_body=own, **more)

    def test_all_rows_give_the_same_answers(self):
        """With the full policy nothing is lost: what follows is read as if the conversation stood there."""
        for talk, more in [(TALK, MORE), (TALK[:1], [{"role": "assistant", "content": "so"}, *MORE]), (TALK, [*MORE, *TALK[1:]])]:
            with self.subTest(talk=len(talk), more=len(more)):
                made = self.compact(talk)
                self.assertEqual((made.object, [item.type for item in made.output]), ("response.compaction", ["compaction"]))
                plain = self.create([*talk, *more])
                after = self.create([*(item.model_dump() for item in made.output), *more])
                self.assertEqual(after.output_text, plain.output_text)
                self.assertEqual(after.usage.input_tokens, plain.usage.input_tokens)
                self.assertEqual(after.usage.input_tokens_details.cached_tokens, made.usage.input_tokens)
                self.assertEqual(made.usage.output_tokens, 0)

    def test_a_compaction_is_compacted_again(self):
        """As clients do whenever a conversation has grown: nothing is lost with all rows, and the budget holds without."""
        for own in FULL, {"judgeq": {"policy": "streaming", "budget": 16}}:
            made = self.compact(TALK, own)
            for _ in range(3):
                n = made.usage.input_tokens
                made = self.compact([made.output[0].model_dump(), *TALK], {})
                self.assertEqual(made.usage.input_tokens_details.cached_tokens, n)
                self.assertGreater(made.usage.input_tokens, n)
            after, plain = self.create([made.output[0].model_dump(), *MORE]), self.create([*TALK * 4, *MORE])
            self.assertEqual(after.usage.input_tokens, plain.usage.input_tokens)
            if own is FULL:
                self.assertEqual(after.output_text, plain.output_text)
            else:
                self.assertEqual(made.judgeq["rows_held"], 4 * 16)  # 2 layers with 2 KV heads

    def test_the_former_leaves_for_the_next(self):
        """Where --context-bytes has no room for both."""
        own = {"judgeq": {"policy": "streaming", "budget": 16}}
        name = self.compact(TALK, own).output[0].encrypted_content.removeprefix("judgeq:")
        size = os.path.getsize(os.path.join(self.path("contexts"), name))
        os.makedirs(self.path("small"))
        server = Server(JUDGEQ, self.model, "--context-dir", self.path("small"), "--context-bytes", str(size + size // 2))
        self.addCleanup(server.stop)
        asked = {"input": TALK, **own}
        for _ in range(6):
            reply = server.ask("/v1/responses/compact", asked)
            self.assertEqual(reply.status, 200, reply.body)
            self.assertEqual(len(os.listdir(self.path("small"))), 1)
            asked = {"input": [*reply.json["output"], *TALK]}
        self.assertEqual({context["in_use"] for context in server.ask("/v1/contexts").json["data"]}, {0})

    def test_what_never_fits_is_not_read(self):
        server = Server(JUDGEQ, self.model, "--budget", "16", "--policy", "streaming", "--context-dir", self.path("."), "--context-bytes", "9000")
        self.addCleanup(server.stop)
        reply = server.ask("/v1/responses/compact", {"input": TALK * 8, **FULL})
        self.assertEqual((reply.status, reply.json["error"]["code"]), (400, "exceeds_context_bytes"))
        self.assertEqual(server.metric("prompt_tokens_read_total"), 0)

    def test_a_compaction_of_a_document(self):
        self.server.ask("/v1/contexts", {"text": "in the rain on a string", "name": "document.kv", "judgeq": {"policy": "full"}})
        own = {"judgeq": {"context": "document.kv"}}
        made = self.compact(TALK, own)
        plain = self.create([*TALK, *MORE], extra_body=own)
        after = self.create([made.output[0].model_dump(), *MORE])
        self.assertEqual((after.output_text, after.usage.input_tokens), (plain.output_text, plain.usage.input_tokens))

    def test_instructions_are_compacted(self):
        made = self.compact(TALK, instructions="be brief")
        plain = self.create([*TALK, *MORE], instructions="be brief")
        after = self.create([made.output[0].model_dump(), *MORE], instructions="be brief")
        self.assertEqual((after.output_text, after.usage.input_tokens), (plain.output_text, plain.usage.input_tokens))

    def test_only_what_is_new_is_read(self):
        made = self.compact([{"role": "user", "content": "in the rain on a string " * 20}],
                            {"judgeq": {"policy": "streaming", "budget": 16}})
        n = made.usage.input_tokens
        self.assertEqual(made.judgeq["rows_held"], 4 * 16)  # 2 layers with 2 KV heads
        items = [made.output[0].model_dump(), {"role": "assistant", "content": "so"}, *MORE]
        first = self.create(items)
        self.assertEqual(first.usage.input_tokens_details.cached_tokens, n)
        self.assertLess(first.judgeq["rows_held"], 4 * n)
        second = self.create([*items, *(item.model_dump() for item in first.output), *MORE])
        self.assertGreater(second.usage.input_tokens_details.cached_tokens, n)
        name = made.output[0].encrypted_content.removeprefix("judgeq:")
        self.assertEqual([file["name"] for file in self.server.ask("/v1/contexts").json["data"] if file["name"] == name], [name])

    def test_other_apis_go_on_from_it(self):
        own = {"context": self.compact(TALK).output[0].encrypted_content.removeprefix("judgeq:")}
        for path in "/v1/chat/completions", "/v1/messages":
            asked = {"messages": MORE, "max_tokens": 8}
            after, plain = (self.server.ask(path, body).json for body in ({**asked, "judgeq": own}, {**asked, "messages": TALK + MORE}))
            text = lambda answer: (answer.get("choices") or answer["content"])[0]
            self.assertEqual(text(after).get("message") or text(after), text(plain).get("message") or text(plain))

    def test_the_command_does_not_take_it_for_a_document(self):
        name = self.compact(TALK).output[0].encrypted_content.removeprefix("judgeq:")
        asked = [JUDGEQ, "run", "-m", self.model, "-t", "1", "--context", os.path.join(self.path("contexts"), name), "-p", "x", "-n", "2"]
        done = subprocess.run(asked, capture_output=True, encoding="utf-8", errors="replace", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("holds a conversation", done.stderr)
        subprocess.run([*asked, "--raw"], capture_output=True, check=True)

    def test_errors(self):
        item = self.compact(TALK).output[0].model_dump()
        gone = {**item, "encrypted_content": "judgeq:none.kv"}
        for items, said in [([item], "expected an item after"), ([*MORE, item], "comes first"), ([gone, *MORE], "no file of this name"),
                            ([{**item, "encrypted_content": "gAAAA"}, *MORE], "another server"),
                            ([{"type": "compaction"}, *MORE], "another server"),
                            ([{**item, "encrypted_content": "judgeq:../model.gguf"}, *MORE], "name of a file")]:
            with self.subTest(items), self.assertRaisesRegex(openai.BadRequestError, said):
                self.create(items)
        with self.assertRaisesRegex(openai.BadRequestError, "expected an item after"):
            self.compact([item], {})
        with self.assertRaisesRegex(openai.BadRequestError, "its own policy and budget"):
            self.compact([item, *MORE])
        for own, said in ({"context": "other.kv"}, "its own context"), (5, "judgeq"):
            with self.assertRaisesRegex(openai.BadRequestError, said):
                self.compact([item, *MORE], {"judgeq": own})
        for more, name in ({"reasoning": {"effort": 5}}, "reasoning.effort"), ({"max_output_tokens": -1}, "max_output_tokens"):
            error = self.server.ask("/v1/responses/compact", {"input": TALK, **more}).json["error"]
            self.assertEqual((error["param"], error["message"].partition(":")[0]), (name, name))
        without = Server(JUDGEQ, self.model)
        self.addCleanup(without.stop)
        self.assertIn("--context-dir", without.ask("/v1/responses/compact", {"input": TALK}).json["error"]["message"])


@unittest.skipUnless(openai, "tools/deps.sh --test provides PyPI's openai")
class Templates(Compact):
    """Whoever speaks last in the compaction and first after it, as far as a template lets them."""
    ALL = "gemma-2", "mistral-nemo", "ministral-3", "deepseek-v3.1", "llama-3.1", "hermes-2-pro"

    @classmethod
    def setUpClass(cls):
        super(Serving, cls).setUpClass()

    def test_all_rows_give_the_same_answers(self):
        for template in self.ALL:
            self.make_templated(template)
            os.mkdir(self.path(template))
            server = Server(JUDGEQ, self.model, "--context-dir", self.path(template), "--context-bytes", "10M")
            self.addCleanup(server.stop)
            for n in 1, 2, 3:
                with self.subTest(template, compacted=n), openai.OpenAI(base_url=server.url + "/v1", api_key="none") as self.client:
                    made = self.compact(TALK[:n])
                    plain, after = self.create([*TALK, *MORE]), self.create([made.output[0].model_dump(), *TALK[n:], *MORE])
                    self.assertEqual((after.output_text, after.usage.input_tokens), (plain.output_text, plain.usage.input_tokens))
                    again = self.compact([made.output[0].model_dump(), *TALK[n:3]], {}) if n < 3 else made
                    after = self.create([again.output[0].model_dump(), *TALK[3:], *MORE])
                    self.assertEqual((after.output_text, after.usage.input_tokens), (plain.output_text, plain.usage.input_tokens))

    test_instructions_are_compacted = test_only_what_is_new_is_read = test_other_apis_go_on_from_it = test_errors = \
        test_the_command_does_not_take_it_for_a_document = test_a_compaction_is_compacted_again = \
        test_a_compaction_of_a_document = test_the_former_leaves_for_the_next = test_what_never_fits_is_not_read = None


class Qwen(Compact):
    """A template that writes an answer at the end in another way than one that is followed by more."""
    TEMPLATE = "qwen-3"

    @classmethod
    def setUpClass(cls):
        super(Serving, cls).setUpClass()
        cls.make_templated(cls.TEMPLATE)
        cls.begin()

    def test_all_rows_give_the_same_answers(self):
        made = self.compact(TALK[:3])
        plain, after = self.create([*TALK, *MORE]), self.create([made.output[0].model_dump(), *TALK[3:], *MORE])
        self.assertEqual((after.output_text, after.usage.input_tokens), (plain.output_text, plain.usage.input_tokens))

    test_instructions_are_compacted = test_only_what_is_new_is_read = test_other_apis_go_on_from_it = test_errors = \
        test_the_command_does_not_take_it_for_a_document = test_a_compaction_is_compacted_again = \
        test_a_compaction_of_a_document = test_the_former_leaves_for_the_next = test_what_never_fits_is_not_read = None


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
