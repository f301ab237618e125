"""The server as Ollama's clients see it: PyPI's ollama, unmodified. test_serve_ollama.py JUDGEQ MAKE_FIXTURE [unittest
arguments]"""

import datetime
import json
import os
import subprocess
import sys
import threading
import unittest

from serving import Serving, client_module, post, wait_until

ollama = client_module("ollama")

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "in the rain"}]


def run(model, *arguments):
    done = subprocess.run([JUDGEQ, "run", "-m", model, "-t", "1", "--json", "--quiet", "--temp", "0", *arguments],
                          capture_output=True, check=True)
    said = json.loads(done.stdout)
    return {**said, "text": said["text"].replace("\0", "\ufffd")}


class Client(Serving):
    KEY = {"Authorization": "Bearer key"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = ollama.Client(host=cls.server.url, headers=cls.KEY)
        cls.addClassCleanup(cls.client.close)

    def chat(self, **more):
        options = {"num_predict": 8, **more.pop("options", {})}
        return self.client.chat(**{"model": "any", "messages": USER, "options": options, **more})

    def generate(self, prompt="in the rain", **more):
        options = {"num_predict": 8, **more.pop("options", {})}
        return self.client.generate(**{"model": "any", "prompt": prompt, "options": options, **more})


@unittest.skipUnless(ollama, "tools/deps.sh --test provides PyPI's ollama")
class Text(Client):
    ARGUMENTS = ("--api-key", "key", "--ping", "0.01")

    def test_a_conversation(self):
        expected = run(self.model, "-p", "in the rain", "-n", "8")
        first = self.chat()
        self.assertEqual((first.message.role, first.message.content), ("assistant", expected["text"]))
        self.assertEqual((first.done, first.done_reason, first.model), (True, "length", "model"))
        self.assertEqual((first.prompt_eval_count, first.eval_count), (expected["prompt_tokens"], 8))
        self.assertGreaterEqual(first.total_duration, first.prompt_eval_duration + first.eval_duration)
        self.assertGreater(first.prompt_eval_duration, 1000)  # nanoseconds
        made = datetime.datetime.fromisoformat(first.created_at.replace("Z", "+00:00"))
        self.assertLess(abs((datetime.datetime.now(datetime.timezone.utc) - made).total_seconds()), 60)
        turns = [*USER, first.message, {"role": "user", "content": "and"}]
        second = self.chat(messages=turns)
        reply = self.server.ask(CHAT, {"messages": [*USER, {"role": "assistant", "content": expected["text"]}, turns[2]],
                                       "max_tokens": 8}, **self.KEY).json
        self.assertEqual(second.message.content, reply["choices"][0]["message"]["content"])
        self.assertEqual(second.prompt_eval_count, reply["usage"]["prompt_tokens"])

    def test_streams(self):
        whole = self.chat(options={"num_predict": 200})
        parts = list(self.chat(stream=True, options={"num_predict": 200}))
        self.assertEqual("".join(part.message.content for part in parts), whole.message.content)
        self.assertEqual([part.done for part in parts], [False] * (len(parts) - 1) + [True])
        self.assertGreater(len(parts), 2)
        self.assertEqual((parts[-1].done_reason, parts[-1].eval_count), ("length", 200))
        parts = list(self.generate(stream=True, options={"num_predict": 200}))
        self.assertEqual("".join(part.response for part in parts), whole.message.content)
        self.assertEqual(parts[-1].prompt_eval_count, whole.prompt_eval_count)
        # without the client: it streams unless it is asked not to, a line an object
        reply = self.server.ask("/api/chat", {"model": "any", "messages": USER, "options": {"num_predict": 200}}, **self.KEY)
        self.assertEqual(reply.headers["Content-Type"], "application/x-ndjson")
        lines = [json.loads(line) for line in reply.body.decode().splitlines()]
        self.assertEqual("".join(line["message"]["content"] for line in lines), whole.message.content)
        self.assertEqual(lines[-1]["judgeq"]["policy"], "full")

    def test_a_prompt(self):
        expected = run(self.model, "-p", "in the rain", "-n", "8")
        answer = self.generate()
        self.assertEqual((answer.response, answer.done_reason, answer.eval_count), (expected["text"], "length", 8))
        chat = self.chat(messages=[{"role": "system", "content": "be brief"}, *USER])
        answer = self.generate(system="be brief")
        self.assertEqual((answer.response, answer.prompt_eval_count), (chat.message.content, chat.prompt_eval_count))
        raw, expected = self.generate(raw=True), run(self.model, "--raw", "-p", "in the rain", "-n", "8")
        self.assertEqual((raw.response, raw.prompt_eval_count), (expected["text"], expected["prompt_tokens"]))
        self.assertEqual("".join(part.response for part in self.generate(raw=True, stream=True)), raw.response)

    def test_options(self):
        """The same as in a chat of OpenAI's, where they have other names."""
        for options, fields in [({"temperature": 1.5, "seed": 7}, None), ({"temperature": 2, "top_k": 3, "seed": 1}, None),
                                ({"temperature": 2, "top_p": 0.1, "min_p": 0.2, "seed": 2}, None), ({"repeat_penalty": 1.8}, None),
                                ({"presence_penalty": 2, "frequency_penalty": 1}, None), ({"num_predict": 3}, {"max_tokens": 3}),
                                ({"num_ctx": 64, "num_thread": 9, "mirostat": 0}, {})]:
            with self.subTest(options):
                reply = self.server.ask(CHAT, {"messages": USER, "max_tokens": 30, **(options if fields is None else fields)}, **self.KEY)
                said = self.chat(options={"num_predict": 30, **options}).message.content
                self.assertEqual(said, reply.json["choices"][0]["message"]["content"])
        whole = self.chat(options={"num_predict": 30}).message.content
        for stop in [whole[5:7]], whole[5:7]:
            cut = self.chat(options={"num_predict": 30, "stop": stop})
            self.assertEqual((cut.message.content, cut.done_reason), (whole[:whole.index(whole[5:7])], "stop"))
        self.assertGreater(self.chat(options={"num_predict": -1}).eval_count, 30)  # until the context is full
        small = self.client._request_raw("POST", "/api/chat", json={"model": "any", "messages": USER, "stream": False, "options": {
            "num_predict": 1}, "judgeq": {"policy": "streaming", "budget": 40}}).json()
        self.assertEqual(small["judgeq"]["policy"], "streaming")

    def test_logprobs(self):
        answer = self.chat(logprobs=True, top_logprobs=2)
        self.assertEqual(len(answer.logprobs), 8)
        self.assertEqual([len(token.top_logprobs) for token in answer.logprobs], [2] * 8)
        parts = [token for part in self.chat(logprobs=True, stream=True) for token in part.logprobs or []]
        self.assertEqual([token.token for token in parts], [token.token for token in answer.logprobs])
        raw = self.generate(raw=True, logprobs=True, top_logprobs=2)
        self.assertEqual([len(token.top_logprobs) for token in raw.logprobs], [2] * 8)
        self.assertEqual("".join(token.token for token in raw.logprobs).replace("\0", "\ufffd"), raw.response)

    def test_nothing_to_answer(self):
        self.assertEqual((self.client.generate(model="any").done_reason, self.client.chat(model="any").done_reason), ("load", "load"))
        self.assertEqual(self.client.generate(model="any", keep_alive=0).done_reason, "unload")

    def test_models(self):
        model, = self.client.list().models
        self.assertEqual((model.model, int(model.size)), ("model", os.path.getsize(self.model)))
        self.assertEqual((model.details.format, model.details.family, model.details.quantization_level), ("gguf", "llama", "F32"))
        shown = self.client.show(model.model)
        self.assertEqual(shown.details, model.details)
        self.assertEqual(shown.modelinfo["llama.context_length"], 1024)
        self.assertIn("completion", shown.capabilities)
        self.assertEqual(self.server.ask("/api/version", **self.KEY).json["version"], self.server.ask("/props", **self.KEY).json["judgeq"]["version"])

    def test_errors(self):
        for more, said in [({"options": {"temperature": -1}}, "options.temperature: "), ({"options": {"num_predict": 1.5}}, "options.num_predict: "),
                           ({"messages": [{"role": "robot", "content": "x"}]}, "role"), ({"format": {"type": "nothing"}}, "schema"),
                           ({"messages": [{"role": "user", "content": "x", "images": ["aGVsbG8="]}]}, "only text")]:
            for stream in False, True:
                with self.subTest(more), self.assertRaises(ollama.ResponseError) as wrong:
                    list(self.chat(stream=stream, **more))
                self.assertEqual(wrong.exception.status_code, 400)
                self.assertIn(said, wrong.exception.error)
        for more, said in [({"suffix": "x"}, "suffix"), ({"images": ["aGVsbG8="]}, "only text"), ({"context": [1, 2]}, "context"),
                           ({"template": "x"}, "template"), ({"prompt": "in the rain " * 400}, "context holds 1024"),
                           ({"prompt": "in the rain " * 400, "raw": True}, "context holds 1024"),
                           ({"suffix": "x", "raw": True}, "suffix"), ({"images": ["aGVsbG8="], "raw": True}, "only text"),
                           ({"context": [1, 2], "raw": True}, "context"), ({"template": "x", "raw": True}, "template"),
                           ({"system": "x", "raw": True}, "system"), ({"top_logprobs": 2, "raw": True}, "top_logprobs"),
                           ({"options": {"num_predict": 1.5}, "raw": True}, "options.num_predict: ")]:
            with self.subTest(more), self.assertRaises(ollama.ResponseError) as wrong:
                self.generate(**more)
            self.assertIn(said, wrong.exception.error)
        with ollama.Client(host=self.server.url) as stranger, self.assertRaises(ollama.ResponseError) as wrong:
            stranger.list()
        self.assertEqual(wrong.exception.status_code, 401)
        with self.assertRaises(ollama.ResponseError) as wrong:
            self.client.pull("other")
        self.assertEqual(wrong.exception.status_code, 404)
        for body in b"{", b"[]", b"", b'{"messages": 5}', b'{"prompt": 5}', b'{"options": 5, "prompt": "a"}':
            for path in "/api/chat", "/api/generate":
                if (b"messages" in body) != path.endswith("chat") and body[1:2] == b'"':
                    continue  # nothing to answer
                reply = self.server.ask(path, body, **self.KEY)
                self.assertEqual((reply.status, list(reply.json)), (400, ["error"]), body)


@unittest.skipUnless(ollama, "tools/deps.sh --test provides PyPI's ollama")
class Busy(Client):
    """One request at a time."""
    SPEC, ARGUMENTS = "longest", ("--parallel", "1", "--ping", "0.02", "--policy", "streaming", "--budget", "64")

    def test_pings_are_parts(self):
        """A client that waits gets parts of its answer that are empty, not comments."""
        body = {"prompt": "a b", "max_tokens": 100000, "stream": True}
        parts = []
        with self.server.connect() as first:
            first.sendall(post("/v1/completions", json.dumps(body).encode()))
            self.server.wait_for("jobs_answering", 1)
            waiting = threading.Thread(target=lambda: parts.extend(self.generate(raw=True, stream=True)))
            waiting.start()
            self.server.wait_for("jobs_waiting", 1)
            wait_until(lambda: len(parts) >= 2, lambda: f"one who waits got {parts}")
        waiting.join()
        self.assertEqual([parts[0].response, parts[0].done, parts[1].response], ["", False, ""])
        self.assertEqual("".join(part.response for part in parts), self.generate(raw=True).response)


@unittest.skipUnless(ollama, "tools/deps.sh --test provides PyPI's ollama")
class Tools(Client):
    TEMPLATE, ARGUMENTS = "llama-3.1", ("--ctx", "4096")
    FORM = {"type": "object", "properties": {"word": {"enum": ["rain", "heron"]}}, "required": ["word"], "additionalProperties": False}
    TOOL = {"type": "function", "function": {"name": "look_up", "description": "looks a word up", "parameters": {
        "type": "object", "properties": {"word": {"type": "string", "enum": ["rain", "heron"]}}, "required": ["word"],
        "additionalProperties": False}}}

    def test_a_form(self):
        for stream in False, True:
            answer = self.chat(format=self.FORM, stream=stream, options={"num_predict": 400})
            text = "".join(part.message.content for part in answer) if stream else answer.message.content
            self.assertIn(json.loads(text)["word"], ["rain", "heron"])
        self.assertIn(json.loads(self.generate(format=self.FORM, options={"num_predict": 400}).response)["word"], ["rain", "heron"])
        self.assertTrue(self.generate(format="json", options={"num_predict": 20}).response.lstrip().startswith("{"))

    def test_a_call(self):
        """Ollama's clients cannot ask for one, and this model writes noise: the request is one that can."""
        body = {"model": "any", "messages": USER, "tools": [self.TOOL], "tool_choice": "required", "stream": False}
        for seed in range(40):
            body["options"] = {"num_predict": 300, "temperature": 1, "seed": seed}
            answer = ollama.ChatResponse(**self.server.ask("/api/chat", body).json)
            if answer.message.tool_calls:
                break
        call, = answer.message.tool_calls
        self.assertEqual(call.function.name, "look_up")
        self.assertIn(call.function.arguments["word"], ["rain", "heron"])
        lines = self.server.ask("/api/chat", {**body, "stream": True}).body.decode().splitlines()
        parts = [ollama.ChatResponse(**json.loads(line)) for line in lines]
        self.assertEqual([part.message.tool_calls for part in parts if part.message.tool_calls], [[call]])
        # and the turn after it, as the client writes it; the same in OpenAI's form
        turns = [*USER, answer.message, {"role": "tool", "tool_name": "look_up", "content": "wet"}]
        after = self.chat(messages=turns, tools=[self.TOOL], options={"num_predict": 1})
        turns = [*USER, {"role": "assistant", "content": answer.message.content, "tool_calls": [{
            "id": "x", "type": "function", "function": {"name": "look_up", "arguments": json.dumps(dict(call.function.arguments))}}]},
            {"role": "tool", "tool_call_id": "x", "content": "wet"}]
        tool = ollama.Tool(**self.TOOL).model_dump(exclude_none=True)  # which leaves out what it does not know
        reply = self.server.ask(CHAT, {"messages": turns, "tools": [tool], "max_tokens": 1}).json
        self.assertEqual(after.prompt_eval_count, reply["usage"]["prompt_tokens"])


@unittest.skipUnless(ollama, "tools/deps.sh --test provides PyPI's ollama")
class Thoughts(Client):
    TEMPLATE, ARGUMENTS = "qwen-3", ("--ctx", "4096")

    def test_to_think_or_not(self):
        for think, kwargs in (True, {"enable_thinking": True}), (False, {"enable_thinking": False}), (None, {}):
            reply = self.server.ask(CHAT, {"messages": USER, "max_tokens": 1, "chat_template_kwargs": kwargs}).json
            more = {} if think is None else {"think": think}
            self.assertEqual(self.chat(options={"num_predict": 1}, **more).prompt_eval_count, reply["usage"]["prompt_tokens"])
        n = [self.chat(options={"num_predict": 1}, think=think).prompt_eval_count for think in (True, False)]
        self.assertNotEqual(*n)  # or this shows nothing


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
