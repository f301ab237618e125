"""The server as its clients see it: PyPI's openai, unmodified, and raw sockets for what no client of good will sends.
test_serve.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

from serving import Server, Serving, client_module, post, wait_until

openai = client_module("openai")

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
USER = [{"role": "user", "content": "in the rain"}]


def run(model, *arguments):
    """What judgeq run says, as JSON; as a server says it, without U+0000."""
    done = subprocess.run([JUDGEQ, "run", "-m", model, "-t", "1", "--json", "--quiet", *arguments], capture_output=True,
                          check=True)
    said = json.loads(done.stdout)
    return {**said, "text": said["text"].replace("\0", "\ufffd")}


@unittest.skipUnless(openai, "tools/deps.sh --test provides PyPI's openai")
class OpenAI(Serving):
    """The real client."""
    ARGUMENTS = ("--api-key", "secret-1", "--api-key", "secret-2")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="secret-2", max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def test_a_conversation(self):
        first = self.client.chat.completions.create(model="any", messages=USER, max_tokens=8)
        expected = run(self.model, "-p", "in the rain", "-n", "8", "--temp", "0")
        self.assertEqual(first.choices[0].message.content, expected["text"])
        self.assertEqual(first.choices[0].message.role, "assistant")
        self.assertEqual(first.choices[0].finish_reason, "length")
        self.assertEqual((first.usage.prompt_tokens, first.usage.completion_tokens), (expected["prompt_tokens"], 8))
        self.assertEqual(first.usage.prompt_tokens_details.cached_tokens, 0)
        turns = [*USER, {"role": "assistant", "content": "again"}, {"role": "user", "content": [{"type": "text", "text": "and"}]}]
        second = self.client.chat.completions.create(model="any", messages=turns, max_tokens=8)
        self.assertGreater(second.usage.prompt_tokens, first.usage.prompt_tokens)
        # the first turn, but for what opens its answer
        self.assertGreater(second.usage.prompt_tokens_details.cached_tokens, first.usage.prompt_tokens // 2)
        self.assertNotEqual(first.id, second.id)

    def test_a_stream(self):
        whole = self.client.chat.completions.create(model="any", messages=USER, max_tokens=8)
        chunks = list(self.client.chat.completions.create(model="any", messages=USER, max_tokens=8, stream=True,
                                                          stream_options={"include_usage": True}))
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual([chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1], "length")
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, 8)
        self.assertEqual({chunk.id for chunk in chunks}, {chunks[0].id})
        self.assertIn("rows_held", chunks[-2].judgeq)

    def test_logprobs(self):
        choice = self.client.chat.completions.create(model="any", messages=USER, max_tokens=4, logprobs=True,
                                                     top_logprobs=3).choices[0]
        self.assertEqual(len(choice.logprobs.content), 4)
        for token in choice.logprobs.content:
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertEqual(token.logprob, token.top_logprobs[0].logprob)  # greedy: the likeliest
        said = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
        self.assertEqual(said.decode(errors="replace"), choice.message.content)
        text = self.client.completions.create(model="any", prompt="in the rain", max_tokens=4, logprobs=2).choices[0]
        self.assertEqual(len(text.logprobs.tokens), 4)
        self.assertEqual("".join(text.logprobs.tokens), text.text)
        self.assertEqual(text.logprobs.text_offset[0], 0)

    def test_completions(self):
        text = self.client.completions.create(model="any", prompt="in the rain", max_tokens=6)
        expected = run(self.model, "--raw", "-p", "in the rain", "-n", "6", "--temp", "0")
        self.assertEqual(text.choices[0].text, expected["text"])
        tokens = self.server.ask("/tokenize", {"content": "in the rain", "add_special": True},
                                 Authorization="Bearer secret-1").json["tokens"]
        by_tokens = self.client.completions.create(model="any", prompt=tokens, max_tokens=6)
        self.assertEqual(by_tokens.choices[0].text, text.choices[0].text)
        both = self.client.completions.create(model="any", prompt=["in the rain", "a string"], max_tokens=6, n=2)
        self.assertEqual([choice.index for choice in both.choices], [0, 1, 2, 3])
        self.assertEqual([choice.text == text.choices[0].text for choice in both.choices], [True, True, False, False])
        echo = self.client.completions.create(model="any", prompt="in the rain", max_tokens=6, echo=True)
        self.assertEqual(echo.choices[0].text, "in the rain" + text.choices[0].text)
        streamed = self.client.completions.create(model="any", prompt="in the rain", max_tokens=6, stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in streamed), text.choices[0].text)

    def test_seeds_and_several_answers(self):
        ask = lambda seed, n=1: [choice.message.content for choice in self.client.chat.completions.create(
            model="any", messages=USER, max_tokens=12, temperature=1.5, seed=seed, n=n).choices]
        self.assertEqual(ask(1), ask(1))
        self.assertNotEqual(ask(1), ask(2))
        three = ask(7, 3)
        self.assertEqual(len(set(three)), 3)
        self.assertEqual(three[0], ask(7)[0])

    def test_stop(self):
        whole = self.client.completions.create(model="any", prompt="in the rain", max_tokens=12).choices[0].text
        stop = whole[5:7]
        cut = self.client.completions.create(model="any", prompt="in the rain", max_tokens=12, stop=[stop]).choices[0]
        self.assertEqual((cut.text, cut.finish_reason), (whole[:whole.index(stop)], "stop"))

    def test_penalties(self):
        plain = self.client.completions.create(model="any", prompt="in the rain", max_tokens=40).choices[0].text
        other = self.client.completions.create(model="any", prompt="in the rain", max_tokens=40, frequency_penalty=2,
                                               presence_penalty=2).choices[0].text
        self.assertNotEqual(plain, other)

    def test_logit_bias(self):
        text = lambda biases: self.client.completions.create(model="any", prompt="in the rain", max_tokens=6, logit_bias=biases)
        tokens = lambda answer: self.server.ask("/tokenize", {"content": answer.choices[0].text},
                                                Authorization="Bearer secret-1").json["tokens"]
        x = self.server.ask("/tokenize", {"content": "x"}, Authorization="Bearer secret-1").json["tokens"][0]
        self.assertEqual(text({str(x): 100}).choices[0].text, "xxxxxx")
        chat = self.client.chat.completions.create(model="any", messages=USER, max_tokens=3, logit_bias={str(x): 100})
        self.assertEqual(chat.choices[0].message.content, "xxx")
        first = self.client.completions.create(model="any", prompt="in the rain", max_tokens=1, logprobs=2).choices[0].logprobs
        likeliest, next_one = first.top_logprobs[0]  # greedy: the likeliest, and then the next
        banned = self.server.ask("/tokenize", {"content": likeliest}, Authorization="Bearer secret-1").json["tokens"]
        self.assertEqual(len(banned), 1)
        self.assertTrue(text({str(banned[0]): -100}).choices[0].text.startswith(next_one))

    def test_models(self):
        models = self.client.models.list().data
        self.assertEqual([model.id for model in models], ["model"])
        self.assertEqual((models[0].context_length, models[0].max_model_len, models[0].meta["n_ctx_train"]), (1024,) * 3)
        self.assertEqual(self.client.models.retrieve("model").id, "model")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("other")

    def test_errors(self):
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=self.server.url + "/v1", api_key="secret-3", max_retries=0).models.list()
        with self.assertRaises(openai.BadRequestError) as wrong:
            self.client.chat.completions.create(model="any", messages=USER, temperature=-1)
        self.assertEqual((wrong.exception.param, wrong.exception.type), ("temperature", "invalid_request_error"))
        with self.assertRaises(openai.BadRequestError) as long:
            self.client.completions.create(model="any", prompt="in the rain " * 400)
        error = long.exception.body
        self.assertEqual((error["type"], error["n_ctx"]), ("exceed_context_size_error", 1024))
        self.assertGreater(error["n_prompt_tokens"], 1024)


@unittest.skipUnless(openai, "tools/deps.sh --test provides PyPI's openai")
class Tools(Serving):
    """A model that writes noise, which grammars hold to a form. Its template is one that knows tools and thoughts."""
    TEMPLATE, ARGUMENTS = "llama-3.1", ("--ctx", "4096")
    TOOL = {"type": "function", "function": {"name": "look_up", "description": "looks a word up", "parameters": {
        "type": "object", "properties": {"word": {"type": "string", "enum": ["rain", "heron"]}}, "required": ["word"],
        "additionalProperties": False}}}
    FORM = {"type": "object", "properties": {"word": {"enum": ["rain", "heron"]}, "times": {"enum": [1, 2]}},
            "required": ["word", "times"], "additionalProperties": False}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def create(self, **more):
        return self.client.chat.completions.create(**{"model": "any", "messages": USER, "max_tokens": 400, **more})

    def test_a_call(self):
        # noise may go on for long before a call begins: one of these seeds ends it in time
        for seed in range(40):
            asked = {"tools": [self.TOOL], "tool_choice": "required", "seed": seed, "temperature": 1, "max_tokens": 300}
            choice = self.create(**asked).choices[0]
            if choice.finish_reason == "tool_calls":
                break
        self.assertEqual(choice.finish_reason, "tool_calls")
        call = choice.message.tool_calls[0]
        self.assertEqual(call.function.name, "look_up")
        self.assertIn(json.loads(call.function.arguments)["word"], ["rain", "heron"])
        # the same call in pieces
        parts = [chunk.choices[0] for chunk in self.create(stream=True, **asked)]
        deltas = [part.delta.tool_calls[0] for part in parts if part.delta.tool_calls]
        self.assertGreater(len(deltas), 1)
        self.assertEqual([delta.function.name for delta in deltas if delta.function.name], ["look_up"])
        self.assertEqual("".join(delta.function.arguments for delta in deltas), call.function.arguments)
        self.assertEqual(len([delta.id for delta in deltas if delta.id]), 1)
        self.assertEqual(parts[-1].finish_reason, "tool_calls")
        # and the turn after it
        turns = [*USER, {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
                 {"role": "tool", "tool_call_id": call.id, "content": "wet"}]
        after = self.create(messages=turns, tools=[self.TOOL], tool_choice="none", max_tokens=4)
        self.assertIsNone(after.choices[0].message.tool_calls)

    def test_a_form(self):
        for form in ({"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": self.FORM}},
                     {"type": "json_object", "schema": self.FORM}):
            for stream in False, True:
                answer = self.create(response_format=form, stream=stream)
                text = ("".join(chunk.choices[0].delta.content or "" for chunk in answer) if stream
                        else answer.choices[0].message.content)
                found = json.loads(text)
                self.assertIn(found["word"], ["rain", "heron"])
                self.assertIn(found["times"], [1, 2])
        text = self.create(extra_body={"grammar": 'root ::= "ab" | "cd"'}).choices[0].message.content
        self.assertIn(text, ["ab", "cd"])

    def test_what_does_not_fit(self):
        for more, said in [({"tools": [{"type": "function"}]}, "tool"), ({"tools": [self.TOOL], "tool_choice": {"type": "function"}}, "tool_choice"),
                           ({"response_format": {"type": "json_schema"}}, "response_format"),
                           ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}}, "schema"),
                           ({"extra_body": {"grammar": "root ::= ("}}, "rammar"),
                           ({"messages": [*USER, {"role": "assistant", "content": "x"}], "tools": [self.TOOL]}, "gone on")]:
            with self.subTest(more), self.assertRaises(openai.BadRequestError) as wrong:
                self.create(**more)
            self.assertIn(said, wrong.exception.body["message"])


class Answers(Serving):
    """Fields, without a client library."""
    ARGUMENTS = ("--ping", "0.05")

    def refused(self, path, body, status, param=None):
        reply = self.server.ask(path, body)
        self.assertEqual(reply.status, status, reply.body)
        error = reply.json["error"]
        self.assertEqual(set(error) - {"n_prompt_tokens", "n_ctx"}, {"message", "type", "param", "code"})
        self.assertEqual(error["param"], param)
        return error["message"]

    def test_what_makes_no_sense(self):
        for field, value in [("temperature", "hot"), ("temperature", 101), ("top_p", 2), ("n", 0), ("n", 1.5), ("stop", ""),
                             ("stop", [1]), ("stop", ["a"] * 17), ("max_tokens", -1), ("seed", "x"), ("stream", 1),
                             ("top_logprobs", 2), ("logit_bias", [5]), ("logit_bias", {"five": 3}), ("logit_bias", {"5": 101}),
                             ("logit_bias", {"99999999999": 1}), ("logit_bias", {"-1": 1}), ("logit_bias", {"5": "3"}),
                             ("presence_penalty", 1000), ("response_format", {"type": "xml"}), ("tools", {}), ("messages", []),
                             ("messages", "text"), ("messages", [{"role": "robot", "content": ""}]),
                             ("messages", [{"role": "user", "content": [{"type": "image_url"}]}]),
                             ("messages", [{"role": "user", "content": 5}]), ("messages", [5])]:
            with self.subTest(field=field, value=value):
                said = self.refused(CHAT, {"messages": USER, "max_tokens": 1, field: value}, 400, field)
                self.assertIn(field, said)
        for value in "512 rows", 0, -4, "0%", "200%", "-1", "", [], 1.5:
            self.refused(CHAT, {"messages": USER, "judgeq": {"budget": value}}, 400, "judgeq.budget")
        self.refused(CHAT, {"messages": USER, "judgeq": {"context": "../x"}}, 400, "judgeq.context")
        said = self.refused(CHAT, {"messages": USER, "judgeq": {"policy": "snapkv", "bugdet": 64}}, 400, "judgeq.bugdet")
        self.assertIn("policy, budget, context and kept", said)
        self.assertIn('"none-such"', self.refused(CHAT, {"messages": USER, "judgeq": {"policy": "none-such"}}, 400))
        for value in [], [[]], [-1], [10 ** 9], 5, {}, [1, "x"]:
            self.refused(TEXT, {"prompt": value}, 400, "prompt")

    def test_what_nobody_knows_is_ignored(self):
        reply = self.chat(user="me", store=True, metadata={"a": 1}, service_tier="auto", tools=[], parallel_tool_calls=True,
                          tool_choice="none", logit_bias={}, logprobs=None, stop=None, other={"deep": [1]})
        self.assertEqual(reply.status, 200, reply.body)

    def test_what_was_kept(self):
        text = "in the rain on a string " * 12
        full = self.chat(text).json
        self.assertEqual((full["judgeq"]["policy"], full["judgeq"]["budget"]), ("full", None))
        self.assertEqual(full["judgeq"]["kv_bytes"], full["judgeq"]["kv_bytes_full"])
        kept = self.chat(text, judgeq={"policy": "streaming", "budget": 16}).json
        expected = run(self.model, "-p", text, "-n", "8", "--temp", "0", "--policy", "streaming", "--budget", "16")
        self.assertEqual(kept["choices"][0]["message"]["content"], expected["text"])
        n_seen = kept["usage"]["prompt_tokens"] + 8 - 1  # nothing comes after the last token
        self.assertEqual(kept["judgeq"]["tokens_seen"], n_seen)
        # 2 layers with 2 KV heads, 16 rows each, and the tokens decoded
        self.assertEqual(kept["judgeq"]["rows_held"], 4 * (16 + 8 - 1))
        self.assertLess(kept["judgeq"]["kv_bytes"], full["judgeq"]["kv_bytes"])
        self.assertEqual((kept["judgeq"]["policy"], kept["judgeq"]["budget"]), ("streaming", 16))
        share = self.chat(text, judgeq={"policy": "streaming", "budget": "10%"}).json
        self.assertEqual(share["judgeq"]["budget"], "10%")

    def test_an_answer_is_gone_on_with(self):
        rendered = lambda messages: self.server.ask("/apply-template", {"messages": messages}).json["prompt"]
        opened = rendered(USER)
        self.assertEqual(rendered([*USER, {"role": "assistant", "content": "so"}]), opened + "so")
        self.assertIn("be brief", rendered([{"role": "developer", "content": "be brief"}, *USER]))

    def test_tokens(self):
        text = "in the rain, ä"
        tokens = self.server.ask("/tokenize", {"content": text}).json["tokens"]
        self.assertEqual(self.server.ask("/detokenize", {"tokens": tokens}).json["content"], text)
        self.assertEqual(self.server.ask("/detokenize", {"tokens": []}).json["content"], "")
        pieces = self.server.ask("/tokenize", {"content": text, "with_pieces": True}).json["tokens"]
        self.assertEqual([piece["id"] for piece in pieces], tokens)
        self.assertEqual(self.server.ask("/detokenize", {"tokens": ["x"]}).status, 400)

    def test_an_answer_with_zeros_can_be_sent_back(self):
        """U+0000 is in no JSON that a server reads: the answer has U+FFFD instead, and so have texts of tokens."""
        asked = {"messages": USER, "max_tokens": 900, "temperature": 100, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 1}
        choice = self.server.ask(CHAT, {**asked, "logprobs": True}).json["choices"][0]
        zeros = [i for i, token in enumerate(choice["logprobs"]["content"]) if token["bytes"] == [0]]
        self.assertNotEqual(zeros, [])
        said = choice["message"]["content"]
        self.assertNotIn("\0", said)
        events = self.server.events(CHAT, asked)
        chunks = [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: {")]
        self.assertEqual("".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks), said)
        turns = [*USER, {"role": "assistant", "content": said[-20:]}, *USER]
        self.assertEqual(self.server.ask(CHAT, {"messages": turns, "max_tokens": 1}).status, 200)
        x = self.server.ask("/tokenize", {"content": "x"}).json["tokens"]
        n_vocab = self.server.ask("/v1/models").json["data"][0]["meta"]["n_vocab"]
        for token in range(n_vocab):
            text = self.server.ask("/detokenize", {"tokens": [*x, token, *x]}).json["content"]
            self.assertTrue(text.endswith("x") and len(text) > 1, token)

    def test_what_runs(self):
        self.chat()
        self.assertEqual(self.server.ask("/health").json, {"status": "ok"})
        props = self.server.ask("/props").json
        self.assertEqual((props["default_generation_settings"]["n_ctx"], props["model_alias"]), (1024, "model"))
        slots = self.server.ask("/slots").json
        self.assertGreater(len(slots), 0)
        self.assertEqual({slot["state"] for slot in slots}, {"idle"})
        before = self.server.metric("answer_tokens_total")
        self.chat()
        self.assertEqual(self.server.metric("answer_tokens_total"), before + 8)
        for line in self.server.ask("/metrics").body.decode().splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) judgeq_\w+ .+|judgeq_\w+(\{\w+=\"\w+\"\})? [-+.\de]+)$")

    def test_events(self):
        events = self.server.events(CHAT, {"messages": USER, "max_tokens": 4, "n": 2})
        self.assertEqual(events[-1], "data: [DONE]")
        chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1] if not event.startswith(":")]
        for index in 0, 1:
            choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
            self.assertEqual(choices[0]["delta"], {"role": "assistant", "content": ""})
            self.assertEqual([choice["finish_reason"] for choice in choices][-1], "length")
            self.assertEqual({choice["finish_reason"] for choice in choices[:-1]}, {None})
        self.assertEqual({"usage" in chunk for chunk in chunks}, {False})

    def test_pings_while_it_reads(self):
        """A read has news with every step, which no client is told of."""
        server = Server(JUDGEQ, self.model, "--ping", "0.01")
        self.addCleanup(server.stop)
        pings = [event for event in server.events(CHAT, {"messages": [{"role": "user", "content": "in the rain on a string " * 70}],
                                                         "max_tokens": 1, "judgeq": {"policy": "h2o", "budget": 64}})
                 if event.startswith(": read ")]
        self.assertGreater(len(pings), 0)
        for event in pings:
            self.assertRegex(event, r"^: read \d+ of \d{3} tokens$")

    def test_nothing_but_a_read(self):
        reply = self.chat(max_tokens=0).json
        self.assertEqual((reply["choices"][0]["message"]["content"], reply["usage"]["completion_tokens"]), ("", 0))
        again = self.chat(max_tokens=2).json
        self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 0)


class Hostile(Serving):
    """Requests that nobody means well with. After each of them the server is as it was."""
    ARGUMENTS = ("--timeout", "1.5", "--body-bytes", "1M", "--cors", "https://page.example")

    def tearDown(self):
        self.assertEqual(self.chat().status, 200)

    def status(self, data, timeout=30):
        got = self.server.send(data, timeout)
        return int(got.split(b" ", 2)[1]) if got.startswith(b"HTTP/1.1 ") else None

    def test_bodies(self):
        for body in (b"", b"{", b"[]", b"null", b"5", b"[" * 900000, b'{"a":' * 60000 + b"1" + b"}" * 60000,
                     b'{"messages": [' + b"{}," * 300000 + b"{}]}", b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
                     b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
                     b'{"messages": [{"role": "user", "content": "a\\u0000b"}]}', b"\x00" * 1000, b"\xef\xbb\xbf{}",
                     b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1e400}', b'{"stop": "' + b"\\" * 999):
            with self.subTest(body[:40]):
                self.assertEqual(self.status(post(CHAT, body)), 400)
                self.assertEqual(self.status(post(TEXT, body)), 400)

    def test_deep_but_not_too_deep(self):
        body = json.dumps({"messages": USER, "max_tokens": 1, "other": eval("[" * 62 + "]" * 62)}).encode()
        self.assertEqual(self.status(post(CHAT, body)), 200)
        self.assertEqual(self.status(post(CHAT, body.replace(b"[" * 62, b"[" * 64).replace(b"]" * 62, b"]" * 64))), 400)

    def test_too_much(self):
        self.assertEqual(self.status(post(CHAT, b" " * (1 << 21))), 413)
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n".encode()
        self.assertEqual(self.status(head + b"\r\n" + b"x" * 1000), 413)
        self.assertEqual(self.status(head + b"Expect: 100-continue\r\n\r\n"), 413)
        self.assertEqual(self.status(b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"), 414)
        self.assertEqual(self.status(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 30000 + b"\r\n"), 431)
        chunks = b"".join(b"%x\r\n%s\r\n" % (60000, b" " * 60000) for _ in range(100))
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        self.assertIn(self.status(head + chunks + b"0\r\n\r\n"), (413, None))  # it need not read it all

    def test_chunks(self):
        body = json.dumps({"messages": USER, "max_tokens": 1}).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n".encode()
        chunks = b"".join(b"1\r\n" + body[i:i + 1] + b"\r\n" for i in range(len(body))) + b"0\r\n\r\n"
        self.assertEqual(self.status(head + b"\r\n" + chunks), 200)
        self.assertEqual(self.status(head + b"Content-Length: 4\r\n\r\n" + chunks), 400)

    def test_wrong_lengths_and_lines(self):
        for length in b"-5", b"x", b"99999999999999999999999999":
            self.assertIn(self.status(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n"),
                          (400, 413))
        self.assertIn(self.status(b"NOTHING\r\n\r\n"), (400, None))
        self.assertIn(self.status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n", 5), (400, None))
        self.assertEqual(self.status(b"POST /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), 405)
        self.assertEqual(self.status(b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), 404)

    def test_slow_and_silent_clients_are_closed(self):
        """Neither silence nor a byte now and then keeps a connection."""
        begin = time.monotonic()
        with self.server.connect() as silent, self.server.connect() as half, self.server.connect() as slow:
            half.sendall(post(CHAT, b"x" * 100)[:-50])
            closed = False
            while not closed and time.monotonic() - begin < 20:
                try:
                    slow.sendall(b"G")
                    slow.settimeout(0.1)
                    closed = slow.recv(100) == b""
                except TimeoutError:
                    pass
                except OSError:
                    closed = True
            self.assertTrue(closed)
            self.assertEqual(silent.recv(100), b"")
            self.assertEqual(half.recv(100), b"")

    def test_one_who_does_not_read_is_closed(self):
        body = {"messages": USER, "max_tokens": 900, "n": 8, "stream": True, "logprobs": True, "top_logprobs": 20}
        with self.server.connect() as deaf:
            deaf.setsockopt(1, 8, 2048)  # SO_RCVBUF
            deaf.sendall(post(CHAT, json.dumps(body).encode()))
            wait_until(lambda: self.server.metric('http_requests_total{outcome="left"}') > 0, "nobody was closed")

    def test_pipelined(self):
        ask = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        got = self.server.send(ask * 5 + ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertEqual(got.count(b'{"status":"ok"}'), 6)
        body = json.dumps({"messages": USER, "max_tokens": 2, "stream": True}).encode()
        got = self.server.send(post(CHAT, body).replace(b"Connection: close", b"Connection: keep-alive") + post(CHAT, body))
        self.assertEqual(got.count(b"data: [DONE]"), 2)

    def test_web_pages(self):
        self.assertEqual(self.server.ask("/v1/models", Origin="https://other.example").status, 403)
        self.assertEqual(self.server.ask(CHAT, {"messages": USER}, Origin="null").status, 403)
        self.assertEqual(self.server.ask("/v1/models", Origin=self.server.url).status, 200)
        reply = self.server.ask("/v1/models", Origin="https://page.example")
        self.assertEqual((reply.status, reply.headers["Access-Control-Allow-Origin"]), (200, "https://page.example"))
        before = self.server.ask(CHAT, method="OPTIONS", Origin="https://page.example",
                                 Access_Control_Request_Headers="authorization,x-stainless-os")
        self.assertEqual((before.status, before.headers["Access-Control-Allow-Headers"]), (204, "authorization,x-stainless-os"))


class Full(Serving):
    """One request at a time, one that waits, and little memory."""
    SPEC = "longest"
    ARGUMENTS = ("--parallel", "1", "--queue", "1", "--ping", "0.05", "--policy", "streaming", "--budget", "64", "--kv-bytes",
                 "150000", "--api-key", "key")

    def ask(self, body, path=TEXT, key="Bearer key"):
        return self.server.ask(path, body, Authorization=key)

    def wait_for(self, name, value):
        self.server.wait_for(name, value, x_api_key="key")

    def leave_running(self, **more):
        """A client that has sent its request and reads nothing yet."""
        body = {"prompt": "a b", "max_tokens": 100000, **more}
        client = self.server.connect()
        client.sendall(post(TEXT, json.dumps(body).encode(), "Authorization: Bearer key"))
        return client

    def test_a_full_queue_and_clients_that_leave(self):
        with self.leave_running() as first:
            self.wait_for("jobs_answering", 1)
            with self.leave_running(stream=True) as second:
                self.wait_for("jobs_waiting", 1)
                reply = self.ask({"prompt": "a b", "max_tokens": 1})
                self.assertEqual((reply.status, reply.json["error"]["code"]), (429, "queue_full"))
                self.assertGreater(int(reply.headers["Retry-After"]), 0)
                got = b""
                while b"\n\n" not in got.partition(b"\r\n\r\n")[2]:
                    got += second.recv(4096)
                self.assertIn(b": waiting, 0 before it\n\n", got)  # a ping
                first.close()
                self.wait_for("jobs_cancelled_total", 1)
                self.wait_for("jobs_answering", 1)  # the second, now
            self.wait_for("jobs_answering", 0)
            self.wait_for("jobs_cancelled_total", 2)
            self.wait_for("kv_bytes_reserved", 0)

    def test_what_could_never_fit(self):
        self.assertEqual(self.ask({"prompt": "in the rain " * 300, "max_tokens": 1}).status, 200)
        reply = self.ask({"prompt": "in the rain " * 300, "max_tokens": 1, "judgeq": {"policy": "full"}})
        self.assertEqual((reply.status, reply.json["error"]["code"]), (400, "exceeds_kv_bytes"))
        self.assertRegex(reply.json["error"]["message"], r"needs \d+ bytes of KV cache, and there are 150000")

    def test_keys(self):
        for given in {}, {"Authorization": "Bearer ke"}, {"Authorization": "Bearer keykey"}, {"Authorization": "key"}, {"x_api_key": ""}:
            reply = self.server.ask("/v1/models", **given)
            self.assertEqual((reply.status, reply.json["error"]["code"]), (401, "invalid_api_key"))
        self.assertEqual(self.server.ask("/v1/models", x_api_key="key").status, 200)
        self.assertEqual(self.server.ask("/health").status, 200)
        self.assertEqual(self.server.ask(TEXT, {"prompt": "a"}).status, 401)


class Ending(Serving):
    SPEC = "longest"

    def stop_while_it_answers(self, how):
        """What the server said, and the reply. It may have come before the signal."""
        server = Server(JUDGEQ, self.model)
        replies = []
        client = threading.Thread(target=lambda: replies.append(server.ask(TEXT, {"prompt": "a b", "max_tokens": 1000})))
        client.start()
        while server.metric("jobs_answering") == 0 and client.is_alive():
            time.sleep(0.01)
        status, said = server.stop(how)
        client.join()
        self.assertEqual((status, replies[0].status), (0, 200), said)
        return said, replies[0].json

    def test_signals(self):
        for how in signal.SIGTERM, signal.SIGINT:
            for _ in range(10):  # a machine may pause for longer than an answer takes
                said, reply = self.stop_while_it_answers(how)
                self.assertEqual(reply["usage"]["completion_tokens"], 1000)  # it is complete
                if "ending: 1 requests" in said:
                    break
            self.assertIn("ending: 1 requests", said)

    def test_an_answer_that_takes_too_long_is_cut(self):
        server = Server(JUDGEQ, self.model, "--drain", "0")
        with server.connect() as client:
            client.sendall(post(TEXT, json.dumps({"prompt": "a b", "max_tokens": 100000, "stream": True}).encode()))
            got = client.recv(4096)
            self.assertEqual(server.stop()[0], 0)
            while part := client.recv(1 << 16):
                got += part
        self.assertIn(b'"error":{"message":"the server is stopping: ask again later"', got)
        self.assertIn(b'"code":"cancelled"', got)
        self.assertNotIn(b"[DONE]", got)

    def test_what_cannot_be_served(self):
        for arguments, said in [(("--host", "256.1.1.1"), "cannot listen"), (("--port", "70000"), "65535"),
                                (("--port", str(self.server.port)), "--port 0"), (("--kv-bytes", "12Q"), "512M"),
                                (("--cors", "page"), "origin"), (("--context-dir", "/no/such"), "mkdir"),
                                (("--api-key-file", "/dev/null"), "no key"), (("model.gguf",), "-m")]:
            done = subprocess.run([JUDGEQ, "serve", "-m", self.model, "-t", "1", *arguments], capture_output=True,
                                  encoding="utf-8", timeout=60, check=False)
            self.assertIn(done.returncode, (1, 2))
            self.assertIn(said, done.stderr)


class Contexts(Serving):
    """Documents that judgeq ingest has read."""

    @classmethod
    def setUpClass(cls):
        super(Serving, cls).setUpClass()
        cls.make_model(MAKE_FIXTURE, cls.KIND, cls.SPEC)
        contexts = cls.path("contexts")
        os.mkdir(contexts)
        document = cls.write("document.txt", "in the rain on a string again and the heron sings\n" * 4)
        cls.file = os.path.join(contexts, "document.kv")
        subprocess.run([JUDGEQ, "ingest", "-m", cls.model, "-t", "1", "--quiet", "--policy", "streaming", "--budget", "48", document,
                        "-o", cls.file], check=True)
        cls.server = Server(JUDGEQ, cls.model, "--context-dir", contexts)
        cls.addClassCleanup(cls.end)

    def test_a_question(self):
        reply = self.chat("what sings?", judgeq={"context": "document.kv"})
        self.assertEqual(reply.status, 200, reply.body)
        expected = run(self.model, "--context", self.file, "-p", "what sings?", "-n", "8", "--temp", "0")
        self.assertEqual(reply.json["choices"][0]["message"]["content"], expected["text"])
        self.assertEqual(reply.json["judgeq"]["context"], "document.kv")
        self.assertGreater(reply.json["usage"]["prompt_tokens_details"]["cached_tokens"], 60)

    def test_what_does_not_go_with_it(self):
        system = [{"role": "system", "content": "be brief"}, *USER]
        self.assertEqual(self.server.ask(CHAT, {"messages": system, "judgeq": {"context": "document.kv"}}).status, 400)
        for own in {"context": "document.kv", "budget": 8}, {"context": "none.kv"}, {"context": "../model.gguf"}, {"context": ".."}:
            reply = self.chat(judgeq=own)
            self.assertIn(reply.status, (400, 404), reply.body)
            self.assertNotIn(self.folder, reply.json["error"]["message"])
        self.assertIn("judgeq ingest makes one", self.chat(judgeq={"context": "none.kv"}).json["error"]["message"])

    def test_one_that_never_fits_says_what_would_help(self):
        small = Server(JUDGEQ, self.model, "--context-dir", os.path.dirname(self.file), "--kv-bytes", "4K")
        self.addCleanup(small.stop)
        reply = small.ask(CHAT, {"messages": USER, "max_tokens": 4, "judgeq": {"context": "document.kv"}})
        self.assertEqual(reply.json["error"]["code"], "exceeds_kv_bytes", reply.body)
        self.assertIn("more --kv-bytes", reply.json["error"]["message"])

    def test_where_files_lie_is_not_told(self):
        """Not of a context that cannot be read, nor of the model."""
        with open(self.file, "rb") as file:
            whole = file.read()
        for name, content in ("cut.kv", whole[:len(whole) // 2]), ("text.kv", b"hello"), ("empty.kv", b""):
            with open(os.path.join(os.path.dirname(self.file), name), "wb") as file:
                file.write(content)
            for stream in False, True:
                reply = self.chat(judgeq={"context": name}, stream=stream)
                self.assertEqual(reply.status, 400, reply.body)
                self.assertRegex(reply.json["error"]["message"], "^" + name + ": ")
                self.assertNotIn(self.folder.encode(), reply.body)
        shrinks = self.path("shrinks.gguf")
        shutil.copy(self.model, shrinks)
        server = Server(JUDGEQ, shrinks)
        os.truncate(shrinks, os.path.getsize(shrinks) // 2)
        for stream in False, True:
            reply = server.ask(TEXT, {"prompt": "a b", "stream": stream})
            self.assertIn(b"shrinks.gguf: has become shorter", reply.body)
            self.assertNotIn(self.folder.encode(), reply.body)
        self.assertEqual(server.stop()[0], 0)

    def test_too_long_a_question(self):
        """Its figures count the document, and the room is the context's own."""
        n_document = self.chat(judgeq={"context": "document.kv"}).json["usage"]["prompt_tokens_details"]["cached_tokens"]
        small = os.path.join(os.path.dirname(self.file), "small.kv")
        subprocess.run([JUDGEQ, "ingest", "-m", self.model, "-t", "1", "--quiet", "--policy", "streaming", "--budget", "48", "--ctx",
                        "300", self.path("document.txt"), "-o", small], check=True)
        question = "in the rain " * 100
        for name, times, n_ctx in ("document.kv", 4, 1024), ("small.kv", 1, 300):
            tokens = self.server.ask("/tokenize", {"content": question * times}).json["tokens"]
            reply = self.server.ask(TEXT, {"prompt": tokens, "judgeq": {"context": name}})
            error = reply.json["error"]
            self.assertEqual((error["type"], error["n_prompt_tokens"], error["n_ctx"]),
                             ("exceed_context_size_error", n_document + len(tokens), n_ctx))
            self.assertIn(f"{n_document + len(tokens)} tokens, the context holds {n_ctx}", error["message"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
