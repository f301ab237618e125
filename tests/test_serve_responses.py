"""OpenAI's responses: PyPI's openai, unmodified. test_serve_responses.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import subprocess
import sys
import typing
import unittest

from serving import Serving, client_module

openai = client_module("openai")
if openai:
    import pydantic

    class Found(pydantic.BaseModel):
        word: typing.Literal["rain", "heron"]
        times: typing.Literal[1, 2]

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
USER = [{"role": "user", "content": "in the rain"}]


class Responses(Serving):
    """Tests with the real client."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="secret", max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def create(self, **more):
        return self.client.responses.create(**{"model": "any", "input": "in the rain", "max_output_tokens": 8, **more})

    def same_as_chat(self, asked, chat):
        """The response's prompt has the very tokens that a chat has just read."""
        reply = self.server.ask(CHAT, {"messages": USER, "max_tokens": 0, **chat}, Authorization="Bearer secret")
        self.assertEqual(reply.status, 200, reply.body)
        n = reply.json["usage"]["prompt_tokens"]
        usage = self.create(**{"max_output_tokens": 1, **asked}).usage
        self.assertEqual(usage.input_tokens, n)
        self.assertGreaterEqual(usage.input_tokens_details.cached_tokens, n - 1)
        return n


@unittest.skipUnless(openai, "tools/deps.sh --test provides PyPI's openai")
class Text(Responses):
    ARGUMENTS = ("--api-key", "secret")

    def test_a_conversation(self):
        first = self.create()
        done = subprocess.run([JUDGEQ, "run", "-m", self.model, "-t", "1", "--json", "--quiet", "-p", "in the rain", "-n",
                               "8", "--temp", "0"], capture_output=True, check=True)
        expected = json.loads(done.stdout)
        self.assertEqual(first.output_text, expected["text"])
        self.assertEqual((first.object, first.status, first.incomplete_details.reason, first.error),
                         ("response", "incomplete", "max_output_tokens", None))
        self.assertEqual([(item.type, item.role, item.status) for item in first.output], [("message", "assistant", "incomplete")])
        self.assertEqual((first.usage.input_tokens, first.usage.input_tokens_details.cached_tokens, first.usage.output_tokens,
                          first.usage.total_tokens), (expected["prompt_tokens"], 0, 8, expected["prompt_tokens"] + 8))
        self.assertEqual((first.max_output_tokens, first.model, first.judgeq["policy"]), (8, "model", "full"))
        # what a client does without stored state: all items, with what was answered, and the next
        items = [*USER, *(item.model_dump() for item in first.output), {"role": "user", "content": "and"}]
        second = self.create(input=items, store=False)
        self.assertGreater(second.usage.input_tokens, first.usage.input_tokens)
        self.assertGreater(second.usage.input_tokens_details.cached_tokens, first.usage.input_tokens // 2)
        self.assertNotEqual(first.id, second.id)

    def test_items_are_messages(self):
        part = lambda kind, text: [{"type": kind, "text": text}]
        system, said = {"role": "system", "content": "be\nbrief"}, {"role": "assistant", "content": "so"}
        for asked, chat in [({}, USER), ({"instructions": "be\nbrief"}, [system, *USER]),
                            ({"input": [{"role": "developer", "content": part("input_text", "be") + part("input_text", "brief")}, *USER]},
                             [system, *USER]),
                            ({"input": [*USER, {"type": "message", "role": "assistant", "content": part("output_text", "so")}, *USER]},
                             [*USER, said, *USER]),
                            ({"input": [*USER, said]}, [*USER, said])]:
            with self.subTest(asked):
                self.same_as_chat(asked, {"messages": chat})

    def test_a_stream(self):
        whole = self.create(max_output_tokens=200)
        with self.client.responses.stream(model="any", input="in the rain", max_output_tokens=200) as stream:
            events = list(stream)
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        self.assertEqual(text, whole.output_text)
        kinds = [event.type.removeprefix("response.") for event in events]
        n_delta = kinds.count("output_text.delta")
        self.assertEqual(kinds, ["created", "in_progress", "output_item.added", "content_part.added",
                                 *["output_text.delta"] * n_delta, "output_text.done", "content_part.done", "output_item.done",
                                 "incomplete"])
        self.assertGreater(n_delta, 1)
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        last = events[-1].response
        self.assertEqual([item.content[0].text for item in last.output], [text])
        self.assertEqual((last.usage.output_tokens, last.usage.input_tokens), (200, whole.usage.input_tokens))
        self.assertIn("rows_held", last.judgeq)
        self.assertEqual({event.response.id for event in events if hasattr(event, "response")}, {last.id})
        self.assertEqual(events[0].response.status, "in_progress")

    def test_our_own_fields(self):
        text = "in the rain on a string " * 12
        kept = self.create(input=text, extra_body={"judgeq": {"policy": "streaming", "budget": 16}})
        self.assertEqual((kept.judgeq["policy"], kept.judgeq["budget"], kept.judgeq["rows_held"]),
                         ("streaming", 16, 4 * (16 + 8 - 1)))  # 2 layers with 2 KV heads
        drawn = [self.create(temperature=1, top_p=0.9, extra_body={"seed": seed}).output_text for seed in (1, 1, 2)]
        self.assertEqual([drawn[0] == text for text in drawn], [True, True, False])
        answer = self.create(store=True, metadata={"a": "b"}, user="me", truncation="auto", include=["reasoning.encrypted_content"],
                             service_tier="auto", extra_body={"n": 3, "nobody": {"knows": [1]}, "background": False})
        self.assertEqual((answer.store, answer.metadata, answer.truncation), (False, {"a": "b"}, "disabled"))

    def test_errors(self):
        item = lambda **of: {"input": [*USER, of]}
        for more, param, said in [({"extra_body": {"temperature": "x"}}, "temperature", "temperature"),
                                  ({"max_output_tokens": -1}, "max_output_tokens", "max_output_tokens: expected"),
                                  ({"input": []}, "input", "item"),
                                  (item(type="computer_call"), "input", 'item 2: .*"computer_call"'),
                                  (item(type="item_reference", id="x"), "input", "item itself"),
                                  (item(role="robot", content=""), "input", "role"),
                                  (item(role="user", content=[{"type": "input_image", "image_url": "x"}]), "input", '"input_image"'),
                                  (item(type="function_call", name="x"), "input", "call_id"),
                                  ({"tools": [{"type": "web_search"}]}, "tools", '"web_search"'),
                                  ({"tools": [{"type": "function"}]}, "tools", "name"),
                                  ({"tool_choice": {"type": "mcp"}}, "tool_choice", "function"),
                                  ({"text": {"format": {"type": "xml"}}}, "text.format", "text.format"),
                                  ({"previous_response_id": "resp_1"}, "previous_response_id", "send all items"),
                                  ({"conversation": "conv_1"}, "conversation", "send all items"),
                                  ({"background": True}, "background", "stream"), ({"prompt": {"id": "x"}}, "prompt", "input"),
                                  ({"top_logprobs": 2}, "top_logprobs", "chat/completions"),
                                  ({"include": ["message.output_text.logprobs"]}, "include", "chat/completions"),
                                  ({"extra_body": {"judgeq": {"budget": 0}}}, "judgeq.budget", "rows")]:
            with self.subTest(more):
                with self.assertRaises(openai.BadRequestError) as wrong:
                    self.create(**more)
                self.assertEqual((wrong.exception.param, wrong.exception.type), (param, "invalid_request_error"))
                self.assertRegex(wrong.exception.body["message"], said)
        with self.assertRaises(openai.BadRequestError) as long:
            self.create(input="in the rain " * 400)
        self.assertEqual(long.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=self.server.url + "/v1", api_key="other", max_retries=0).responses.create(model="any", input="x")


@unittest.skipUnless(openai, "tools/deps.sh --test provides PyPI's openai")
class Tools(Responses):
    """A model that writes noise, which grammars hold to a form, with a template that knows tools."""
    TEMPLATE, ARGUMENTS = "llama-3.1", ("--ctx", "4096")
    SCHEMA = {"type": "object", "properties": {"word": {"type": "string", "enum": ["rain", "heron"]}}, "required": ["word"],
              "additionalProperties": False}
    TOOL = {"type": "function", "name": "look_up", "description": "looks a word up", "parameters": SCHEMA, "strict": True}
    FUNCTION = {"type": "function", "function": {"name": "look_up", "description": "looks a word up", "parameters": SCHEMA}}

    def test_a_call(self):
        # noise may go on for long before a call begins: one of these seeds ends it in time
        for seed in range(40):
            asked = {"tools": [self.TOOL], "tool_choice": "required", "temperature": 1, "max_output_tokens": 300,
                     "extra_body": {"seed": seed}}
            answer = self.create(**asked)
            if answer.status == "completed":
                break
        call = answer.output[-1]
        self.assertEqual((answer.status, call.type, call.name, call.status), ("completed", "function_call", "look_up", "completed"))
        self.assertIn(json.loads(call.arguments)["word"], ["rain", "heron"])
        # the same call in pieces
        events = list(self.create(stream=True, **asked))
        pieces = [event for event in events if event.type == "response.function_call_arguments.delta"]
        self.assertGreater(len(pieces), 1)
        self.assertEqual("".join(piece.delta for piece in pieces), call.arguments)
        self.assertEqual({piece.item_id for piece in pieces}, {events[-1].response.output[-1].id})
        done = [event for event in events if event.type == "response.function_call_arguments.done"]
        self.assertEqual([event.arguments for event in done], [call.arguments])
        self.assertEqual(events[-1].type, "response.completed")
        dumped = [item.model_dump(exclude={"id", "call_id"}) for item in events[-1].response.output]
        self.assertEqual(dumped, [item.model_dump(exclude={"id", "call_id"}) for item in answer.output])
        # and the turn after it
        items = [*USER, *(item.model_dump() for item in answer.output),
                 {"type": "function_call_output", "call_id": call.call_id, "output": "wet"}]
        after = self.create(input=items, tools=[self.TOOL], tool_choice="none")
        self.assertEqual([item.type for item in after.output], ["message"])

    def test_turns_with_tools_are_those_of_a_chat(self):
        call = lambda number: {"type": "function_call", "id": f"fc{number}", "call_id": f"call{number}", "name": "look_up",
                               "arguments": '{"word":"rain"}'}
        output = lambda number: {"type": "function_call_output", "call_id": f"call{number}", "output": "wet"}
        of_chat = lambda number: {"id": f"call{number}", "type": "function", "function": {"name": "look_up", "arguments": '{"word":"rain"}'}}
        result = lambda number: {"role": "tool", "tool_call_id": f"call{number}", "content": "wet"}
        items = [*USER, {"type": "reasoning", "id": "rs1", "summary": [{"type": "summary_text", "text": "hm"}]}, call(1), output(1),
                 {"role": "assistant", "content": "so"}, call(2), {**output(2), "output": [{"type": "input_text", "text": "wet"}]}, *USER]
        chat = [*USER, {"role": "assistant", "content": "", "tool_calls": [of_chat(1)]}, result(1),
                {"role": "assistant", "content": "so", "tool_calls": [of_chat(2)]}, result(2), *USER]
        for choice, as_chat in [("auto",) * 2, ("none",) * 2, ("required",) * 2,
                                ({"type": "function", "name": "look_up"}, {"type": "function", "function": {"name": "look_up"}})]:
            with self.subTest(choice):
                self.same_as_chat({"input": items, "tools": [self.TOOL], "tool_choice": choice},
                                  {"messages": chat, "tools": [self.FUNCTION], "tool_choice": as_chat})

    def test_a_form(self):
        parsed = self.client.responses.parse(model="any", input="in the rain", max_output_tokens=400, text_format=Found)
        self.assertIn(parsed.output_parsed.word, ["rain", "heron"])
        self.assertEqual((parsed.status, parsed.text.format.type), ("completed", "json_schema"))
        with self.client.responses.stream(model="any", input="in the rain", max_output_tokens=400, text_format=Found) as stream:
            self.assertEqual(stream.get_final_response().output_parsed, parsed.output_parsed)
        answer = self.create(max_output_tokens=400, text={"format": {"type": "json_object"}}, temperature=1, extra_body={"seed": 4})
        self.assertEqual(answer.output_text[0], "{")


@unittest.skipUnless(openai, "tools/deps.sh --test provides PyPI's openai")
class Thoughts(Responses):
    """A model whose noise is a thought, since what the answer has to be comes after one."""
    TEMPLATE, ARGUMENTS = "qwen-3", ("--ctx", "4096")

    def test_thoughts(self):
        asked = {"max_output_tokens": 200, "text": {"format": {"type": "json_schema", "name": "n", "schema": {"enum": [1, 2]}}}}
        answer = self.create(**asked)
        self.assertEqual([item.type for item in answer.output], ["reasoning"])
        thought = answer.output[0].content[0].text
        self.assertGreater(answer.usage.output_tokens_details.reasoning_tokens, 50)
        events = list(self.create(stream=True, **asked))
        self.assertEqual("".join(event.delta for event in events if event.type == "response.reasoning_text.delta"), thought)
        self.assertEqual(events[-1].response.output[0].content[0].text, thought)

    def test_whether_the_model_shall_think(self):
        never = self.same_as_chat({"reasoning": {"effort": "none"}}, {"reasoning_effort": "none"})
        self.assertNotEqual(self.same_as_chat({}, {}), never)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
