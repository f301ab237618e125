"""The server as frameworks and programs of others see it: PyPI's langchain-openai, litellm and llm, unmodified.
test_serve_clients.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import asyncio
import json
import os
import re
import subprocess
import sys
import unittest
import warnings

from serving import Server, Serving, post

DEPS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools", "deps.sh")
MODULES = [subprocess.run([DEPS, what], capture_output=True, check=True, encoding="utf-8").stdout.strip()
           for what in ("--print-clients", "--print-frameworks")]
# Nothing but the server is asked: neither for prices nor to trace.
warnings.simplefilter("ignore")
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LANGSMITH_TRACING="false")
sys.path[1:1] = MODULES  # before what is installed
try:
    import langchain_core.exceptions
    import langchain_openai
    import litellm
    import openai
    litellm.suppress_debug_info = True
except ImportError:
    litellm = None

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
KEY = "secret"
USER = [{"role": "user", "content": "in the rain"}]
FORM = {"title": "answer", "description": "an answer", "type": "object", "required": ["word", "times"], "additionalProperties": False,
        "properties": {"word": {"enum": ["rain", "heron"]}, "times": {"enum": [1, 2]}}}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "looks a word up", "parameters": {
    "type": "object", "properties": {"word": {"type": "string", "enum": ["rain", "heron"]}}, "required": ["word"],
    "additionalProperties": False}}}


class Clients(Serving):
    """A model that writes noise, which grammars hold to a form. Its template is one that knows tools."""

    @classmethod
    def setUpClass(cls):
        super(Serving, cls).setUpClass()
        data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "plan", "llama-3.1.jinja")
        with open(data, encoding="utf-8") as file:
            template = file.read()
        cls.model = cls.path("model.gguf")
        subprocess.run([MAKE_FIXTURE, "template", "bpe-smollm", cls.model, template], check=True)
        cls.server = Server(JUDGEQ, cls.model, "--ctx", "2048", "--api-key", KEY)
        cls.addClassCleanup(cls.end)
        cls.base = cls.server.url + "/v1"

    def plain(self, messages=None, **more):
        """What the server says without any client."""
        reply = self.server.ask("/v1/chat/completions", {"messages": messages or USER, "max_tokens": 8, **more},
                                Authorization="Bearer " + KEY)
        return reply.json["choices"][0]["message"]["content"]

    def is_form(self, found):
        self.assertEqual((set(found), found["word"] in ("rain", "heron"), found["times"] in (1, 2)), ({"word", "times"}, True, True))

    def first_call(self, ask):
        """The first of the answers ask(seed) that are a call: noise may go on for long before a call begins."""
        for seed in range(40):
            if (calls := ask(seed)):
                return calls, seed
        raise AssertionError("no seed makes a call")


class WrittenByClients(Clients):
    """What the clients below, and others, were seen to send; without them."""

    def status(self, **more):
        reply = self.server.ask("/v1/chat/completions", {"messages": USER, "max_tokens": 4, **more}, Authorization="Bearer " + KEY)
        return reply.status

    def test_what_is_null(self):
        """openai's message.model_dump() has these; llm's functions have no description."""
        nulls = dict.fromkeys(("refusal", "audio", "annotations", "function_call", "tool_calls", "name"))
        for content in "so", "":
            turns = [*USER, {"role": "assistant", "content": content, **nulls}, *USER]
            for tools in [], [TOOL], [{"type": "function", "function": {"name": "f", "description": None, "parameters": None}}]:
                self.assertEqual(self.status(messages=turns, tools=tools), 200)
                self.assertEqual(self.status(messages=turns, tools=tools, tool_choice=None, response_format=None), 200)

    def test_a_bracket_that_begins_no_call(self):
        """Noise writes one now and then. All of it is in the answer, streamed or not."""
        found = 0
        for seed in range(20):
            asked = {"messages": USER, "tools": [TOOL], "seed": seed, "temperature": 1, "max_tokens": 60}
            reply = self.server.ask("/v1/chat/completions", {**asked, "logprobs": True}, Authorization="Bearer " + KEY).json["choices"][0]
            said = b"".join(bytes(token["bytes"]) for token in reply["logprobs"]["content"])
            content = reply["message"]["content"] or ""
            with self.server.connect() as connection:
                connection.sendall(post("/v1/chat/completions", json.dumps({**asked, "stream": True}).encode(), "X-Api-Key: " + KEY))
                events = b"".join(iter(lambda: connection.recv(1 << 16), b"")).partition(b"\r\n\r\n")[2]
            streamed = "".join(json.loads(text)["choices"][0]["delta"].get("content") or ""
                               for text in re.findall(rb"data: (\{.*\})\n", events))
            self.assertEqual(streamed, content)
            if b"{" in said[:-8] and not reply["message"].get("tool_calls"):
                found += 1
                self.assertEqual(content.count("{"), said.count(b"{"), said)
        self.assertGreater(found, 0)


@unittest.skipUnless(litellm, "tools/deps.sh --test provides PyPI's langchain-openai")
class LangChain(Clients):
    def chat(self, **more):
        return langchain_openai.ChatOpenAI(**{"base_url": self.base, "api_key": KEY, "model": "any", "max_retries": 0, "max_tokens": 8,
                                              "temperature": 0, **more})

    def test_a_conversation(self):
        first = self.chat().invoke([("system", "be brief"), ("human", "in the rain")])
        turns = [{"role": "system", "content": "be brief"}, *USER]
        self.assertEqual(first.content, self.plain(turns, temperature=0))
        self.assertEqual((first.response_metadata["finish_reason"], first.usage_metadata["output_tokens"]), ("length", 8))
        second = self.chat().invoke([("system", "be brief"), ("human", "in the rain"), ("ai", "so"), ("human", "and")])
        self.assertGreater(second.usage_metadata["input_token_details"]["cache_read"], 0)

    def test_a_stream(self):
        whole = self.chat().invoke("in the rain").content
        chunks = list(self.chat(stream_usage=True).stream("in the rain"))
        self.assertGreater(len(chunks), 2)
        self.assertEqual("".join(chunk.content for chunk in chunks), whole)
        total = chunks[0]
        for chunk in chunks[1:]:
            total += chunk
        self.assertEqual((total.usage_metadata["output_tokens"], total.response_metadata["finish_reason"]), (8, "length"))

        async def later():
            return [chunk.content async for chunk in self.chat().astream("in the rain")]
        self.assertEqual("".join(asyncio.run(later())), whole)

    def test_a_batch_and_probabilities(self):
        answers = self.chat().batch(["in the rain", "a string", "in the rain"])
        self.assertEqual([answer.content == answers[0].content for answer in answers], [True, False, True])
        content = self.chat(logprobs=True, top_logprobs=2).invoke("in the rain").response_metadata["logprobs"]["content"]
        self.assertEqual([len(token["top_logprobs"]) for token in content], [2] * 8)

    def test_a_call(self):
        ask = lambda seed: self.chat(seed=seed, temperature=1, max_tokens=300).bind_tools([TOOL], tool_choice="any")
        calls, seed = self.first_call(lambda seed: ask(seed).invoke("in the rain").tool_calls)
        self.assertEqual((calls[0]["name"], calls[0]["args"]["word"] in ("rain", "heron")), ("look_up", True))
        total = None
        for chunk in ask(seed).stream("in the rain"):
            total = chunk if total is None else total + chunk
        self.assertEqual([(call["name"], call["args"]) for call in total.tool_calls], [(call["name"], call["args"]) for call in calls])
        after = self.chat().invoke([("human", "in the rain"), total, {"role": "tool", "content": "wet", "tool_call_id": calls[0]["id"]}])
        self.assertEqual(after.usage_metadata["output_tokens"], 8)

    def test_a_form(self):
        for method in "json_schema", "function_calling":
            chat = lambda seed: self.chat(max_tokens=300, seed=seed, temperature=1).with_structured_output(FORM, method=method)
            found, _ = self.first_call(lambda seed: chat(seed).invoke("in the rain"))
            self.is_form(found)

    def test_errors(self):
        with self.assertRaises(openai.AuthenticationError):
            self.chat(api_key="other").invoke("in the rain")
        with self.assertRaises(openai.BadRequestError) as wrong:
            self.chat(temperature=-1).invoke("in the rain")
        self.assertEqual(wrong.exception.param, "temperature")
        for ask in self.chat().invoke, lambda text: list(self.chat().stream(text)):
            with self.assertRaises(langchain_core.exceptions.ContextOverflowError):
                ask("in the rain " * 800)


@unittest.skipUnless(litellm, "tools/deps.sh --test provides PyPI's litellm")
class LiteLLM(Clients):
    def create(self, messages=None, model="openai/any", **more):
        return litellm.completion(**{"model": model, "messages": messages or USER, "api_base": self.base, "api_key": KEY,
                                     "max_tokens": 8, "temperature": 0, "max_retries": 0, **more})

    def test_a_conversation(self):
        for model in "openai/any", "hosted_vllm/any":
            first = self.create(model=model)
            self.assertEqual(first.choices[0].message.content, self.plain(temperature=0))
            self.assertEqual((first.choices[0].finish_reason, first.usage.completion_tokens), ("length", 8))
        second = self.create([*USER, {"role": "assistant", "content": "so"}, {"role": "user", "content": "and"}])
        self.assertGreater(second.usage.prompt_tokens_details.cached_tokens, 0)

    def test_a_stream(self):
        chunks = list(self.create(stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, self.plain(temperature=0))
        whole = litellm.stream_chunk_builder(chunks)
        self.assertEqual((whole.choices[0].message.content, whole.usage.completion_tokens), (text, 8))

        async def later():
            stream = await litellm.acompletion(model="openai/any", messages=USER, api_base=self.base, api_key=KEY, max_tokens=8,
                                               temperature=0, stream=True)
            return [chunk.choices[0].delta.content or "" async for chunk in stream]
        self.assertEqual("".join(asyncio.run(later())), text)

    def test_a_text(self):
        answer = litellm.text_completion(model="text-completion-openai/any", prompt="in the rain", api_base=self.base, api_key=KEY,
                                         max_tokens=8, temperature=0)
        reply = self.server.ask("/v1/completions", {"prompt": "in the rain", "max_tokens": 8, "temperature": 0}, x_api_key=KEY)
        self.assertEqual(answer.choices[0].text, reply.json["choices"][0]["text"])

    def test_a_call(self):
        asked = {"tools": [TOOL], "tool_choice": "required", "temperature": 1, "max_tokens": 300}
        calls, seed = self.first_call(lambda seed: self.create(seed=seed, **asked).choices[0].message.tool_calls)
        call = calls[0].function
        self.assertEqual((call.name, json.loads(call.arguments)["word"] in ("rain", "heron")), ("look_up", True))
        streamed = litellm.stream_chunk_builder(list(self.create(seed=seed, stream=True, **asked))).choices[0].message
        self.assertEqual([(same.function.name, same.function.arguments) for same in streamed.tool_calls], [(call.name, call.arguments)])
        turns = [*USER, streamed, {"role": "tool", "tool_call_id": streamed.tool_calls[0].id, "content": "wet"}]
        self.assertEqual(self.create(turns, tools=[TOOL], tool_choice="none").usage.completion_tokens, 8)

    def test_a_form(self):
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": FORM}}
        self.is_form(json.loads(self.create(response_format=form, max_tokens=300).choices[0].message.content))

    def test_errors(self):
        with self.assertRaises(litellm.AuthenticationError):
            self.create(api_key="other")
        with self.assertRaises(litellm.BadRequestError) as wrong:
            self.create(temperature=-1)
        self.assertIn("temperature", str(wrong.exception))
        for stream in False, True:
            with self.assertRaises(litellm.ContextWindowExceededError):
                self.create([{"role": "user", "content": "in the rain " * 800}], stream=stream)


@unittest.skipUnless(litellm, "tools/deps.sh --test provides PyPI's llm")
class Llm(Clients):
    """Its command, set up as its manual says: a model in extra-openai-models.yaml, and its key under a name."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("extra-openai-models.yaml", json.dumps([{"model_id": "ours", "model_name": "any", "api_base": cls.base,
                                                           "api_key_name": "judgeq", "supports_schema": True,
                                                           "supports_tools": True}]))  # JSON is YAML
        cls.write("keys.json", json.dumps({"judgeq": KEY, "wrong": "other"}))

    def llm(self, *arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(MODULES), "LLM_USER_PATH": self.folder, "LLM_MODEL": "ours"}
        return subprocess.run([sys.executable, "-m", "llm", *arguments], capture_output=True, encoding="utf-8", errors="replace",
                              env=environment, stdin=subprocess.DEVNULL, timeout=60, check=False)

    def said(self, *arguments):
        done = self.llm(*arguments, "-o", "temperature", "0", "-o", "max_tokens", "8")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.rstrip("\n")

    def test_a_conversation(self):
        first = self.said("in the rain", "-s", "be brief")  # as a stream
        turns = [{"role": "system", "content": "be brief"}, *USER]
        self.assertEqual(first, self.plain(turns, temperature=0).rstrip("\n"))
        self.assertEqual(self.said("in the rain", "-s", "be brief", "--no-stream"), first)
        self.said("and", "-c")
        logged = json.loads(self.llm("logs", "-n", "1", "--json").stdout)[0]
        self.assertEqual(logged["output_tokens"], 8)
        shorter = json.loads(self.llm("logs", "-n", "2", "--json").stdout)[0]
        self.assertGreater(logged["input_tokens"], shorter["input_tokens"])

    def test_a_form(self):
        done = self.llm("in the rain", "--schema", json.dumps(FORM), "-o", "max_tokens", "300")
        self.is_form(json.loads(done.stdout))

    def test_functions(self):
        """Given ones without a description, noise calls none: it answers."""
        done = self.said("in the rain", "--functions", "def look_up(word: str) -> str:\n    return word")
        tool = {"type": "function", "function": {"name": "look_up", "description": None, "parameters": {
            "properties": {"word": {"type": "string"}}, "required": ["word"], "type": "object"}}}
        self.assertEqual(done, self.plain(temperature=0, tools=[tool]).rstrip("\n"))

    def test_errors(self):
        for arguments, said in ((("in the rain", "--key", "wrong"), "key"), (("in the rain " * 800,), "tokens, the context holds 2048")):
            done = self.llm(*arguments)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
