"""The server as Anthropic's clients see it: PyPI's anthropic, unmodified. test_serve_anthropic.py JUDGEQ MAKE_FIXTURE
[unittest arguments]"""

import json
import os
import subprocess
import sys
import unittest

from serving import Server, Serving, client_module

anthropic = client_module("anthropic")

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
MESSAGES, COUNT, CHAT = "/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions"
USER = [{"role": "user", "content": "in the rain"}]


class Messages(Serving):
    """Tests with the real client."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = anthropic.Anthropic(base_url=cls.server.url, api_key="secret", max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def create(self, **more):
        return self.client.messages.create(**{"model": "any", "messages": USER, "max_tokens": 8, **more})

    def count(self, **more):
        return self.client.messages.count_tokens(**{"model": "any", "messages": USER, **more}).input_tokens

    def prompt_of_chat(self, **more):
        """Tokens of the same as a chat of OpenAI's, which the server keeps from here on."""
        reply = self.server.ask(CHAT, {"messages": USER, "max_tokens": 0, **more}, X_Api_Key="secret")
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json["usage"]["prompt_tokens"]


@unittest.skipUnless(anthropic, "tools/deps.sh --test provides PyPI's anthropic")
class Text(Messages):
    ARGUMENTS = ("--api-key", "secret", "--ping", "0.01")

    def test_a_conversation(self):
        first = self.create()
        done = subprocess.run([JUDGEQ, "run", "-m", self.model, "-t", "1", "--json", "--quiet", "-p", "in the rain", "-n",
                               "8", "--temp", "0"], capture_output=True, check=True)
        expected = json.loads(done.stdout)
        self.assertEqual([(block.type, block.text) for block in first.content], [("text", expected["text"])])
        self.assertEqual((first.type, first.role, first.stop_reason), ("message", "assistant", "max_tokens"))
        self.assertEqual((first.usage.input_tokens, first.usage.cache_read_input_tokens, first.usage.output_tokens),
                         (expected["prompt_tokens"], 0, 8))
        self.assertEqual(first.judgeq["policy"], "full")
        turns = [*USER, {"role": "assistant", "content": first.content}, {"role": "user", "content": "and"}]
        second = self.create(messages=turns)
        self.assertGreater(second.usage.cache_read_input_tokens, first.usage.input_tokens // 2)
        self.assertEqual(second.usage.input_tokens + second.usage.cache_read_input_tokens, self.count(messages=turns))
        self.assertNotEqual(first.id, second.id)

    def test_counts_are_those_of_the_prompt(self):
        for more, chat in [({}, USER), ({"system": "be brief"}, [{"role": "system", "content": "be brief"}, *USER]),
                           ({"system": [{"type": "text", "text": "be"}, {"type": "text", "text": "brief",
                                        "cache_control": {"type": "ephemeral"}}]},
                            [{"role": "system", "content": "be\nbrief"}, *USER]),
                           ({"messages": [*USER, {"role": "assistant", "content": "so"}]},
                            [*USER, {"role": "assistant", "content": "so"}])]:
            with self.subTest(more):
                n = self.prompt_of_chat(messages=chat)
                self.assertEqual(self.count(**more), n)
                usage = self.create(**more).usage  # the very tokens that the chat has read
                self.assertGreaterEqual(usage.cache_read_input_tokens, n - 1)
                self.assertEqual(usage.input_tokens + usage.cache_read_input_tokens, n)

    def test_a_stream(self):
        whole = self.create(max_tokens=12)
        with self.client.messages.stream(model="any", messages=USER, max_tokens=12) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        self.assertEqual((text, final.content[0].text), (whole.content[0].text,) * 2)
        self.assertEqual((final.stop_reason, final.usage.output_tokens), ("max_tokens", 12))
        n = whole.usage.input_tokens + whole.usage.cache_read_input_tokens
        self.assertEqual(final.usage.input_tokens + final.usage.cache_read_input_tokens, n)
        kinds = [event.type for event in self.create(max_tokens=300, stream=True)]
        n_delta = kinds.count("content_block_delta")
        self.assertGreater(n_delta, 1)  # a busy machine sends several tokens at once
        self.assertEqual(kinds, ["message_start", "content_block_start", *["content_block_delta"] * n_delta,
                                 "content_block_stop", "message_delta", "message_stop"])

    def test_events(self):
        """Pings are events of their own once the answer has begun; numbers at the beginning are those of the end."""
        reply = self.server.ask(MESSAGES, {"messages": [{"role": "user", "content": "in the rain on a string " * 60}],
                                           "max_tokens": 20, "stream": True, "judgeq": {"policy": "h2o", "budget": 64}},
                                X_Api_Key="secret")
        events = [part.split("\n") for part in reply.body.decode().strip().split("\n\n") if not part.startswith(":")]
        data = [json.loads(lines[1].removeprefix("data: ")) for lines in events]
        self.assertEqual([lines[0] for lines in events], [f"event: {event['type']}" for event in data])
        self.assertIn({"type": "ping"}, data)
        self.assertEqual(data[0]["message"]["content"], [])
        usage = data[-2]["usage"]
        self.assertEqual(data[0]["message"]["usage"], {**usage, "output_tokens": 0})
        self.assertEqual(usage["output_tokens"], 20)
        self.assertIn("rows_held", data[-2]["judgeq"])

    def test_stop_sequences(self):
        whole = self.create(max_tokens=16).content[0].text
        stop = whole[6:8]
        for stops in [stop], ["none such", stop]:
            cut = self.create(max_tokens=16, stop_sequences=stops)
            self.assertEqual((cut.content[0].text, cut.stop_reason, cut.stop_sequence),
                             (whole[:whole.index(stop)], "stop_sequence", stop))
        self.assertEqual(self.create(max_tokens=2, stop_sequences=["none such"]).stop_reason, "max_tokens")

    def test_a_full_context(self):
        n = self.count()
        full = self.create(max_tokens=2000)
        self.assertEqual(full.stop_reason, "model_context_window_exceeded")
        self.assertGreaterEqual(n + full.usage.output_tokens, 1024)

    def test_our_own_fields(self):
        text = "in the rain on a string " * 12
        kept = self.create(messages=[{"role": "user", "content": text}],
                           extra_body={"judgeq": {"policy": "streaming", "budget": 16}})
        self.assertEqual((kept.judgeq["policy"], kept.judgeq["budget"], kept.judgeq["rows_held"]),
                         ("streaming", 16, 4 * (16 + 8 - 1)))  # 2 layers with 2 KV heads
        asked = {"temperature": 1, "top_p": 0.9, "top_k": 40}
        drawn = [self.create(max_tokens=12, extra_body={**asked, "seed": seed}).content[0].text for seed in (1, 1, 2)]
        self.assertEqual([drawn[0] == text for text in drawn], [True, True, False])
        self.create(metadata={"user_id": "me"}, service_tier="auto", extra_body={"n": 3, "nobody": {"knows": [1]}})

    def refused(self, kind, error_type, **more):
        with self.assertRaises(kind) as wrong:
            self.create(**more)
        body = wrong.exception.body
        self.assertEqual((set(body), body["type"], set(body["error"])), ({"type", "error"}, "error", {"type", "message"}))
        self.assertEqual(body["error"]["type"], error_type)
        return body["error"]["message"]

    def test_errors(self):
        wrong, invalid = anthropic.BadRequestError, "invalid_request_error"
        block = lambda kind, **more: {"messages": [{"role": "user", "content": [{"type": kind, **more}]}]}
        for more, said in [({"extra_body": {"temperature": -1}}, "temperature"), ({"stop_sequences": [""]}, "stop_sequences"),
                           ({"stop_sequences": "x"}, "stop_sequences"), ({"messages": []}, "messages"),
                           ({"messages": [{"role": "robot", "content": ""}]}, "message 1"),
                           ({"system": 5}, "system"), ({"system": [{"type": "image"}]}, "system"),
                           ({"thinking": {}}, "thinking"), ({"max_tokens": -1}, "max_tokens"),
                           ({"tool_choice": {"type": "perhaps"}}, "tool_choice"),
                           ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
                           ({"tools": [{"name": "x"}]}, "input_schema"),
                           ({"output_config": {"format": {"type": "xml"}}}, "output_config"),
                           ({"extra_body": {"mcp_servers": [{"url": "x"}]}}, "mcp_servers"),
                           ({"extra_body": {"judgeq": {"budget": 0}}}, "judgeq.budget"),
                           (block("image", source={"type": "url", "url": "x"}), '"image"'),
                           (block("document"), '"document"'), (block("tool_use"), '"tool_use"'),
                           (block("tool_result", tool_use_id="a", content=[{"type": "image"}]), '"image"')]:
            with self.subTest(more):
                self.assertIn(said, self.refused(wrong, invalid, **more))
        counted = self.server.ask(COUNT, {"messages": USER, "stop_sequences": [""]}, X_Api_Key="secret").json["error"]["message"]
        self.assertTrue(counted.startswith("stop_sequences: "), counted)
        missing = self.server.ask(MESSAGES, {"messages": USER}, X_Api_Key="secret")
        self.assertEqual((missing.status, missing.json["error"]["type"]), (400, invalid))
        self.assertIn("max_tokens", missing.json["error"]["message"])

    def test_other_errors(self):
        with self.assertRaises(anthropic.AuthenticationError) as key:
            anthropic.Anthropic(base_url=self.server.url, api_key="other", max_retries=0).messages.create(
                model="any", messages=USER, max_tokens=1)
        self.assertEqual(key.exception.body["error"]["type"], "authentication_error")
        self.assertRegex(key.exception.request_id, "^req_")
        for path, status, kind in [("/v1/messages/none", 404, "not_found_error"), ("/messages", 405, "invalid_request_error")]:
            reply = self.server.ask(path, X_Api_Key="secret")
            self.assertEqual((reply.status, reply.json["error"]["type"]), (status, kind))
        text = "in the rain " * 400
        said = self.refused(anthropic.BadRequestError, "invalid_request_error", messages=[{"role": "user", "content": text}])
        n = self.count(messages=[{"role": "user", "content": text}])
        self.assertEqual(said, f"prompt is too long: {n} tokens > 1024 maximum")


@unittest.skipUnless(anthropic, "tools/deps.sh --test provides PyPI's anthropic")
class Tools(Messages):
    """A model that writes noise, which grammars hold to a form, with a template that knows tools."""
    TEMPLATE, ARGUMENTS = "llama-3.1", ("--ctx", "4096")
    SCHEMA = {"type": "object", "properties": {"word": {"type": "string", "enum": ["rain", "heron"]}}, "required": ["word"],
              "additionalProperties": False}
    TOOL = {"name": "look_up", "description": "looks a word up", "input_schema": SCHEMA}
    FUNCTION = {"type": "function", "function": {"name": "look_up", "description": "looks a word up", "parameters": SCHEMA}}

    def test_a_call(self):
        # noise may go on for long before a call begins: one of these seeds ends it in time
        for seed in range(40):
            asked = {"tools": [self.TOOL], "tool_choice": {"type": "any"}, "max_tokens": 300,
                     "extra_body": {"temperature": 1, "seed": seed}}
            answer = self.create(**asked)
            if answer.stop_reason == "tool_use":
                break
        self.assertEqual(answer.stop_reason, "tool_use")
        call = answer.content[-1]
        self.assertEqual((call.type, call.name), ("tool_use", "look_up"))
        self.assertIn(call.input["word"], ["rain", "heron"])
        # the same call in pieces
        with self.client.messages.stream(model="any", messages=USER, **asked) as stream:
            pieces = [event for event in stream if event.type == "input_json"]
            final = stream.get_final_message()
        self.assertGreater(len(pieces), 1)
        self.assertEqual(json.loads("".join(piece.partial_json for piece in pieces)), call.input)
        self.assertEqual([(block.type, block.name, block.input) for block in final.content[-1:]],
                         [("tool_use", "look_up", call.input)])
        self.assertEqual([block.type for block in final.content], [block.type for block in answer.content])
        self.assertEqual(final.stop_reason, "tool_use")

    def test_turns_with_tools_are_those_of_a_chat(self):
        call = {"type": "tool_use", "id": "call1", "name": "look_up", "input": {"word": "rain"}}
        turns = [{"role": "user", "content": "in the rain"},
                 {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": ""}, call]},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call1", "is_error": False,
                                               "content": [{"type": "text", "text": "wet"}]},
                                              {"type": "text", "text": "and"}, {"type": "text", "text": "then?"}]}]
        chat = [USER[0], {"role": "assistant", "content": "", "tool_calls": [{"id": "call1", "type": "function", "function": {
            "name": "look_up", "arguments": '{"word":"rain"}'}}]},
                {"role": "tool", "tool_call_id": "call1", "content": "wet"}, {"role": "user", "content": "and\nthen?"}]
        for choice, of_chat in [({"type": "auto"}, "auto"), ({"type": "none"}, "none"), ({"type": "any"}, "required"),
                                ({"type": "tool", "name": "look_up"}, {"type": "function", "function": {"name": "look_up"}})]:
            with self.subTest(choice):
                n = self.prompt_of_chat(messages=chat, tools=[self.FUNCTION], tool_choice=of_chat)
                asked = {"messages": turns, "tools": [self.TOOL], "tool_choice": choice}
                self.assertEqual(self.count(**asked), n)
                self.assertGreaterEqual(self.create(**asked, max_tokens=1).usage.cache_read_input_tokens, n - 1)
        self.assertLess(self.count(messages=turns), n)  # without tools

    def test_a_form(self):
        form = {"type": "object", "properties": {"word": {"enum": ["rain", "heron"]}}, "required": ["word"],
                "additionalProperties": False}
        answer = self.create(max_tokens=400, output_config={"format": {"type": "json_schema", "schema": form}})
        self.assertIn(json.loads(answer.content[0].text)["word"], ["rain", "heron"])
        self.assertEqual(answer.stop_reason, "end_turn")


@unittest.skipUnless(anthropic, "tools/deps.sh --test provides PyPI's anthropic")
class Thoughts(Messages):
    """A model whose noise is a thought, since what the answer has to be comes after one."""
    TEMPLATE, ARGUMENTS = "qwen-3", ("--ctx", "4096")

    def test_thoughts(self):
        asked = {"max_tokens": 200, "thinking": {"type": "enabled", "budget_tokens": 1024},
                 "output_config": {"format": {"type": "json_schema", "schema": {"enum": [1, 2]}}}}
        answer = self.create(**asked)
        self.assertEqual([block.type for block in answer.content], ["thinking"])
        chat = self.server.ask(CHAT, {"messages": USER, "max_tokens": 200, "chat_template_kwargs": {"enable_thinking": True},
                                      "response_format": {"type": "json_schema", "json_schema": {"schema": {"enum": [1, 2]}}}})
        self.assertEqual(answer.content[0].thinking, chat.json["choices"][0]["message"]["reasoning_content"])
        with self.client.messages.stream(model="any", messages=USER, **asked) as stream:
            pieces = [event.thinking for event in stream if event.type == "thinking"]
            final = stream.get_final_message()
        self.assertEqual("".join(pieces), answer.content[0].thinking)
        self.assertEqual([block.to_dict() for block in final.content], [block.to_dict() for block in answer.content])

    def test_whether_the_model_shall_think(self):
        chat = lambda thinks: self.prompt_of_chat(chat_template_kwargs={"enable_thinking": thinks})
        self.assertNotEqual(chat(True), chat(False))
        for thinking, expected in [({"type": "enabled", "budget_tokens": 1024}, True), ({"type": "adaptive"}, True),
                                   ({"type": "disabled"}, False)]:
            self.assertEqual(self.count(thinking=thinking), chat(expected))
        self.assertEqual(self.count(), chat(False))  # Anthropic's models think where they are asked to
        self.assertEqual(self.count(extra_body={"chat_template_kwargs": {"enable_thinking": True}}), chat(True))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
