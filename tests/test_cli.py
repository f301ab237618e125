"""The command as its users meet it: every option, every bad input, on tiny models and (where it is in the cache) on the
default model. test_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import fcntl
import glob
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest

import terminal
from arguments import with_defaults
from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

KEYS = {
    "text": str, "tokens": list, "prompt_tokens": int, "context_tokens": int, "completion_tokens": int, "finish_reason": str, "model": str,
    "judge": (str, type(None)), "policy": str, "budget": (int, type(None)), "kv_bytes_full": int, "kv_bytes_held": int,
    "kv_bytes_peak": int, "ttft_s": (float, type(None)), "prefill_tokens_per_s": float,
    "decode_tokens_per_s": (float, type(None)), "load_s": float, "prefill_s": float, "embed_s": float,
    "blocks_s": float, "score_s": float, "compact_s": float, "lookahead_s": float, "decode_s": float, "rejudge_s": float,
    "n_rejudged": int}

LONG = "the room in the rain is on a string again and the heron sings to the iron ring " * 6


def default_model():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "judgeq", "SmolLM2-135M-Instruct.Q4_1.gguf")


class Command(InFolder):
    """A folder with models, and ways to run the command."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.spm = cls.fixture("model", "llama", "spm.gguf")
        cls.bpe = cls.fixture("model", "bpe-smollm", "bpe.gguf")
        cls.endless = cls.fixture("endless", "bpe-smollm", "endless.gguf")
        cls.plain = cls.fixture("model", "bpe-default", "plain.gguf")  # without a chat template
        cls.judge = cls.fixture("judge", cls.bpe, "judge.gguf")

    @classmethod
    def fixture(cls, kind, source, name, *more):
        path = os.path.join(cls.folder, name)
        subprocess.run([MAKE_FIXTURE, kind, source, path, *more], check=True)
        return path

    def execute(self, *arguments, text="", env=None, **more):
        environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | (env or {})
        streams = {"stdout": subprocess.PIPE} | more
        return subprocess.run([JUDGEQ, *arguments], input=text.encode(), stderr=subprocess.PIPE, env=environment,
                              timeout=120, **streams)

    def succeed(self, *arguments, **more):
        done = self.execute(*arguments, **more)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done

    def of_run(self, arguments, model):
        return with_defaults({"-m": model or self.bpe, "-t": "1"}, arguments)

    def run_text(self, *arguments, model=None, **more):
        """What `judgeq run` prints, with the end of the line."""
        done = self.succeed("run", *self.of_run(arguments, model), **more)
        return done.stdout.decode()

    def run_json(self, *arguments, model=None, **more):
        done = self.succeed("run", "--json", *self.of_run(arguments, model), **more)
        self.assertEqual(done.stdout.count(b"\n"), 1)
        return json.loads(done.stdout)

    def refuse(self, status, message, *arguments, **more):
        """The command fails with this status, and says something that matches `message`, in one line."""
        done = self.execute(*arguments, **more)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, status, said)
        self.assertRegex(said, message)
        self.assertRegex(said, r"\Ajudgeq: [^\n]*\n\Z")
        return done

    def refuse_run(self, status, message, *arguments, model=None, **more):
        return self.refuse(status, message, "run", *self.of_run(arguments, model), **more)


class Commands(Command):
    def test_help_and_version(self):
        self.assertRegex(self.succeed("--version").stdout.decode(), r"\Ajudgeq \d+\.\d+\.\d+\n\Z")
        self.assertIn("Commands", self.succeed("--help").stdout.decode())
        for command in ("run", "policies", "judge", "inspect", "rpc-server"):
            self.assertIn("Usage: judgeq " + command, self.succeed(command, "--help").stdout.decode())
        self.assertIn("Usage: judgeq run", self.succeed("run", "-h").stdout.decode())

    def test_help_names_every_option(self):
        text = self.succeed("run", "--help").stdout.decode()
        self.assertLess(max(len(line) for line in text.splitlines()), 121)
        for option in ("model threads ctx kv-type device ngl rpc chunk plain-weights prompt file chat system no-think raw context budget slack unbounded policy judge probe reduce "
                       "smooth allocate keep remember defer tokens stop temp top-k top-p min-p seed json logprobs quiet").split():
            self.assertRegex(text, "--" + option + r"\b")

    def test_the_bound_holds_while_it_answers(self):
        """60 tokens of answer with a slack of 8: as many choices as fit, and a prompt beyond the context unbounded."""
        run = ("run", "-m", self.bpe, "-t", "1", "--json", "--quiet", "-n", "60", "--policy", "snapkv", "--budget", "40", "-p", LONG)
        often = json.loads(self.succeed(*run, "--slack", "8").stdout)
        never = json.loads(self.succeed(*run, "--slack", "none").stdout)
        n = often["completion_tokens"]
        self.assertEqual(often["n_rejudged"], (n - 1) // 8 if n > 1 else 0)
        self.assertEqual(never["n_rejudged"], 0)
        self.assertGreaterEqual(never["kv_bytes_held"], often["kv_bytes_held"])
        more = ("--ctx", "120", "--slack", "8")
        free = json.loads(self.succeed(*run, *more, "--unbounded").stdout)
        self.assertGreater(free["prompt_tokens"], 120)
        self.refuse(2, "unbounded", "run", "-m", self.bpe, "-t", "1", "-p", "x", "--unbounded", "--policy", "full")

    def test_wrong_usage(self):
        self.refuse(2, "which command")
        self.refuse(2, 'unknown command "rum"; did you mean judgeq run', "rum")
        self.refuse(2, "did you mean judgeq policies", "policy")
        self.refuse(2, "unknown option", "--frobnicate")
        self.refuse(2, "unknown option --frobnicate", "run", "--frobnicate")
        self.refuse(2, "unknown option -x", "run", "-x")
        self.refuse(2, "-m needs a value", "run", "-m")
        self.refuse(2, 'what is "hello"', "run", "hello")

    def test_output_that_fails(self):
        with open("/dev/full", "wb") as full:
            for command in (["--help"], ["--version"], ["run", "--help"]):
                self.refuse(1, "standard output: No space left", *command, stdout=full)


class Values(Command):
    """Option values that make no sense: wrong usage, before anything is loaded."""

    def test_numbers(self):
        for option, *values in (
                ("-n", "-1", "1.5", "x", "", " 1", "0x10", "+1", "99999999999999999999"), ("-t", "0", "1025", "two"),
                ("--ctx", "0", "1k"), ("--chunk", "0", "-4"), ("--top-k", "-1", "4.0"), ("--seed", "-1", "4294967296"),
                ("--temp", "-0.1", "nan", "inf", "0.8x", "", "1e9"), ("--top-p", "1.1", "-1"), ("--min-p", "2", ","),
                ("--logprobs", "-1", "1001"), ("--kv-type", "f8", "F16", ""), ("--stop", "")):
            for value in values:
                with self.subTest(option=option, value=value):
                    self.refuse(2, option, "run", "-m", "/nowhere", "-p", "x", option, value)

    def test_budget(self):
        for value in ("0", "0%", "-1", "100.5%", "%", "x%", "", "10 %", "1e3", "nan%", "1" * 80 + "%"):
            with self.subTest(value=value):
                self.refuse(2, "--budget", "run", "-m", "/nowhere", "-p", "x", "--budget", value)

    def test_policy(self):
        run = ("run", "-m", "/nowhere", "-p", "x", "--budget", "64")
        self.refuse(2, "unknown preset.*snapkw.*presets: full", *run, "--policy", "snapkw")
        for choice in ("probe", "reduce", "smooth", "allocate", "keep", "remember"):
            with self.subTest(choice=choice):
                self.refuse(2, choice + " does not accept", *run, "--policy", "snapkv", "--" + choice, "bogus")
                self.refuse(2, "without a comma", *run, "--" + choice, "none,keep=none")
        self.refuse(2, "full keeps every row", *run, "--policy", "full", "--smooth", "max:3")
        for value in "0", "-1", "some", "1.5", "":
            self.refuse(2, "--slack", *run, "--slack", value)
        self.refuse(2, "needs a budget", "run", "-m", "/nowhere", "-p", "x", "--policy", "snapkv")
        self.refuse(2, "needs a budget", "run", "-m", "/nowhere", "-p", "x", "--keep", "recent:4")

    def test_together(self):
        run = ("run", "-m", "/nowhere", "-p", "x")
        self.refuse(2, "exclude each other", *run, "--chat", "--raw")
        self.refuse(2, "--system", *run, "--system", "y", "--raw")
        self.refuse(2, "add --json", *run, "--logprobs", "2")
        self.refuse(2, "--temp 0", *run, "--defer", "--temp", "1")
        self.refuse(2, "--logprobs", *run, "--defer", "--json", "--logprobs", "1")
        self.refuse(2, "16 times", *run, *["--stop", "a"] * 17)


class BadInput(Command):
    def test_empty_prompt(self):
        self.refuse_run(2, "prompt is empty", "-p", "")
        self.refuse_run(2, "prompt is empty", text="")
        self.refuse_run(2, "prompt is empty", text="\n")
        self.refuse_run(2, "prompt is empty", "-f", "/dev/null")
        self.refuse_run(2, "prompt is empty", "-f", "/dev/null", "-p", "")

    def test_prompt_that_cannot_be_read(self):
        self.refuse_run(1, "/nowhere: No such file", "-f", "/nowhere")
        self.refuse_run(1, "Is a directory", "-f", self.folder)
        self.refuse_run(1, "zero byte", text="a\0b")

    def test_prompt_beyond_the_context(self):
        self.refuse_run(1, r"prompt has \d+ tokens, the context holds 1024", "--raw", text="x" * 3000)
        self.refuse_run(1, "the context holds 8", "--raw", "--ctx", "8", "-p", "abcdefghijkl")
        long, n = ("--raw", "-p", "x" * 3000), self.run_json("--raw", "-p", "x" * 3000, "-n", "0", "--ctx", "9999")
        n = n["prompt_tokens"]
        self.refuse_run(1, f"has {n} tokens, .*trained for 1024.*: --ctx {n + 256} makes room for them and for 256 of the "
                        r"response \(-n\); beyond .* worse", *long)
        self.refuse_run(1, f"--ctx {n + 7} makes room for them and for 7 of", *long, "-n", "7")
        said = self.succeed("run", *self.of_run(long, None), "--ctx", str(n + 7), "-n", "7").stderr.decode()
        self.assertIn(f"has {n} tokens, and the model was trained for 1024: expect worse", said)
        short = ("-p", "abcdefghijkl", "--raw", "--ctx", "8", "-n", "2")
        self.assertNotIn("worse", self.refuse_run(1, "makes room for them and for 2 of", *short).stderr.decode())
        self.refuse(1, f"the context holds 1024 .*--ctx {n} makes room for them; beyond", "inspect", "--kept", "-m",
                    self.bpe, "--policy", "tova", *long)

    def test_long_runs(self):
        """libstdc++'s regular expressions call themselves for every character of a run."""
        for pre, unit in (("tekken", " "), ("tekken", "="), ("default", "1"), ("deepseek-llm", "a"), ("viking", "é")):
            with self.subTest(pre=pre, unit=unit):
                self.refuse_run(1, r"prompt has \d+ tokens, the context holds 1024", "--raw",
                                model=self.fixture("pre", pre, "pre.gguf"), text=unit * 30000)

    def test_text_that_no_context_holds(self):
        text = "the rain " * 150000
        self.refuse_run(1, "1350000 bytes is too long: 1024 tokens, which the context holds", "--raw", text=text)
        self.refuse_run(1, "the context holds 200000", "--raw", "--ctx", "200000", text=text)

    def test_models(self):
        self.refuse_run(1, "nowhere.gguf", "-p", "x", model="/nowhere.gguf")
        self.refuse_run(1, re.escape(self.folder), "-p", "x", model=self.folder)
        with open(self.bpe, "rb") as file:
            content = file.read()
        for name, part in (("short.gguf", content[:len(content) // 2]), ("tiny.gguf", content[:20]), ("0.gguf", b""),
                           ("text.gguf", b"This is no model.\n" * 100)):
            path = os.path.join(self.folder, name)
            with open(path, "wb") as file:
                file.write(part)
            self.refuse_run(1, re.escape(path), "-p", "x", model=path)

    def test_nan_in_the_weights(self):
        for tensor in ("blk.1.attn_q.weight", "output_norm.weight", "token_embd.weight"):
            damaged = self.fixture("model", "bpe-smollm", "nan.gguf", tensor)
            # the first row of the embedding is that of token 0, <|endoftext|>
            done = self.refuse_run(1, tensor + " holds NaN", "--raw", "-p", "<|endoftext|>abc", model=damaged)
            self.assertEqual(done.stdout, b"")

    def test_judges(self):
        run = ("--policy", "judge", "--budget", "32", "-p", LONG)
        self.refuse_run(1, "belongs to|another model", *run, "--judge", self.judge, model=self.spm)
        self.refuse_run(1, "nowhere.gguf", *run, "--judge", "/nowhere.gguf")
        self.refuse_run(1, re.escape(self.bpe), *run, "--judge", self.bpe)
        self.refuse_run(1, "needs a judge.*--judge FILE", *run)
        self.refuse_run(2, "wants 5 soft tokens, the judge has 4", *run, "--judge", self.judge, "--probe", "soft:5")

    def test_no_default_model(self):
        self.refuse(1, "tools/deps.sh.*-m FILE", "run", "-p", "x", env={"XDG_CACHE_HOME": self.folder})

    def test_chat_without_a_template(self):
        self.refuse_run(1, "no chat template", "--chat", "-p", "x", model=self.plain)
        self.refuse_run(1, "no chat template", "--system", "y", "-p", "x", model=self.plain)

    def test_defer_without_candidates(self):
        self.refuse_run(2, "cannot defer", "--defer", "--policy", "snapkv", "--budget", "64", "-p", LONG)

    def test_output_that_fails(self):
        for format in ([], ["--json"]):
            with open("/dev/full", "wb") as full:
                self.refuse_run(1, "standard output: No space left", "--quiet", "-p", "x", *format, stdout=full)
            reader, writer = os.pipe()
            os.close(reader)
            self.refuse_run(1, "standard output: Broken pipe", "--quiet", "-p", "x", *format, stdout=writer)
            os.close(writer)
            # sh closes the stream; no file that judgeq opens may take its place
            done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", JUDGEQ, "run", "-m", self.bpe, "-t", "1", "--quiet",
                                   "-p", "x", *format], stderr=subprocess.PIPE, timeout=120)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr.decode(), r"\Ajudgeq: cannot write to standard output: .*\n\Z")

    def test_closed_input_and_error_streams(self):
        sh = lambda script, *more: subprocess.run(
            ["sh", "-c", script, "sh", JUDGEQ, "run", "-m", self.bpe, "-t", "1", "-n", "4", *more], timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        closed = sh('"$@" <&-')
        self.assertEqual(closed.returncode, 1)
        self.assertRegex(closed.stderr.decode(), "cannot read standard input")
        self.assertEqual(sh('"$@" 2>&-', "-p", "x").stdout, sh('"$@"', "-p", "x").stdout)


class Prompts(Command):
    def test_sources_agree(self):
        path = os.path.join(self.folder, "prompt.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("in the rain\n")  # the end of the line is dropped
        expected = self.run_json("-p", "in the rain", "-n", "8")["tokens"]
        self.assertEqual(self.run_json("-f", path, "-n", "8")["tokens"], expected)
        self.assertEqual(self.run_json("-f", "-", "-n", "8", text="in the rain\r\n")["tokens"], expected)
        self.assertEqual(self.run_json("-n", "8", text="in the rain")["tokens"], expected)
        self.assertEqual(self.run_json("--prompt", "in the rain", "--tokens", "8", "--model", self.bpe, "--threads",
                                       "2")["tokens"], expected)
        joined = self.run_json("-p", "in the rain\n\nis it?", "-n", "8")["tokens"]
        self.assertNotEqual(joined, expected)
        self.assertEqual(self.run_json("-f", path, "-p", "is it?", "-n", "8")["tokens"], joined)

    def test_chat(self):
        def prompt_tokens(*arguments, **more):
            return self.run_json(*arguments, "-n", "0", **more)["prompt_tokens"]
        raw, chat = prompt_tokens("-p", "the", "--raw"), prompt_tokens("-p", "the")
        self.assertEqual(raw, 2)  # "t", "he": the vocabulary has no token for the word without a space
        self.assertGreater(chat, raw)
        self.assertEqual(prompt_tokens("-p", "the", "--chat"), chat)
        self.assertGreater(prompt_tokens("-p", "the", "--system", "on"), chat)
        self.assertEqual(prompt_tokens("-p", "the", model=self.plain), raw)  # no template: raw

    def test_odd_bytes(self):
        for text in ("Grüße, 世界 🙂", "\n\n\n", " ", "\x01\x7f"):
            self.assertEqual(self.run_json("-p", text, "-n", "2", "--raw")["completion_tokens"], 2)
        path = os.path.join(self.folder, "latin1.txt")
        with open(path, "wb") as file:
            file.write(b"gr\xfc\xdfe \xff\xfe")
        self.run_json("-f", path, "-n", "2")
        self.run_json("-f", path, "-n", "2", model=self.spm)
        damaged = os.path.join(self.folder, "damaged.txt")
        for text in (b"\xf4\x90\x80\x80", b"\xf6\xb2\xb1\xac", b"a\xed\xa0\x80", b"\xe4\xb8 \xc0\x80"):
            with open(damaged, "wb") as file:
                file.write(text)
            for model in (self.bpe, self.spm):
                with self.subTest(text=text, model=model):
                    valid = text.decode("utf-8", "replace")
                    expected = self.run_json("-p", valid, "-n", "2", "--logprobs", "0", model=model)
                    answer = self.run_json("-f", damaged, "-n", "2", "--logprobs", "0", model=model)
                    for key in ("tokens", "prompt_tokens", "logprobs"):
                        self.assertEqual(answer[key], expected[key])


class Responses(Command):
    def test_json(self):
        answer = self.run_json("-p", LONG, "-n", "12", "--raw")
        self.assertEqual(set(answer), set(KEYS))
        for key, kind in KEYS.items():
            self.assertIsInstance(answer[key], kind, key)
        self.assertEqual(answer["model"], self.bpe)
        self.assertEqual(answer["policy"], "full")
        self.assertIsNone(answer["budget"])
        self.assertIsNone(answer["judge"])
        self.assertEqual(len(answer["tokens"]), answer["completion_tokens"])
        if answer["finish_reason"] == "length":
            self.assertEqual(answer["completion_tokens"], 12)
        # 2 layers, 2 KV heads of 16 numbers, keys and values, 2 bytes each; the last token is not decoded
        rows = answer["prompt_tokens"] + 11
        self.assertEqual(answer["kv_bytes_full"], rows * 2 * 2 * 16 * 2 * 2)
        self.assertEqual(answer["kv_bytes_held"], answer["kv_bytes_full"])
        self.assertGreaterEqual(answer["ttft_s"], answer["prefill_s"])
        parts = [answer[part] for part in ("embed_s", "blocks_s", "score_s", "compact_s", "lookahead_s")]
        self.assertGreater(min(parts[:2]), 0)
        self.assertLessEqual(sum(parts), answer["prefill_s"])

    def test_text_is_the_same_streamed(self):
        # random models write bytes that are no UTF-8 as well
        for model in (self.spm, self.bpe):
            for seed in range(4):
                options = ("-p", LONG, "-n", "48", "--temp", "1.5", "--top-k", "0", "--seed", str(seed))
                answer = self.run_json(*options, model=model)
                self.assertEqual(self.run_text(*options, model=model), answer["text"] + "\n")

    def test_seeds(self):
        def draw(seed, *more):
            return self.run_json("-p", LONG, "-n", "24", "--temp", "1", "--seed", seed, *more)["tokens"]
        self.assertEqual(draw("1"), draw("1"))
        self.assertNotEqual(draw("1"), draw("2"))
        greedy = self.run_json("-p", LONG, "-n", "24")["tokens"]
        self.assertEqual(self.run_json("-p", LONG, "-n", "24", "--seed", "5")["tokens"], greedy)
        self.assertEqual(draw("3", "--top-k", "1"), greedy)
        self.assertEqual(draw("3", "--top-p", "0"), greedy)
        self.assertEqual(draw("3", "--min-p", "1"), greedy)
        self.assertNotEqual(draw("3", "--top-p", "1", "--min-p", "0", "--top-k", "0"), greedy)

    def test_chunks_and_cache_types(self):
        few = self.run_json("-p", LONG, "-n", "16", "--chunk", "7", "--kv-type", "f32")
        many = self.run_json("-p", LONG, "-n", "16", "--chunk", "4096", "--kv-type", "f32")
        half = self.run_json("-p", LONG, "-n", "16", "--kv-type", "f16")
        self.assertEqual(few["tokens"], many["tokens"])
        self.assertEqual(few["kv_bytes_full"], 2 * half["kv_bytes_full"])

    def test_quantised_caches(self):
        """Bytes of 32 numbers: 64, 34 and 18."""
        model = self.fixture("model", "mistral", "mistral.gguf")
        half, eight, four = (self.run_json("-p", LONG, "-n", "16", "--kv-type", kind, model=model)
                             for kind in ("f16", "q8_0", "q4_0"))
        self.assertEqual(half["tokens"][0], four["tokens"][0])
        self.assertEqual(half["kv_bytes_full"] * 34, eight["kv_bytes_full"] * 64)
        self.assertEqual(half["kv_bytes_full"] * 18, four["kv_bytes_full"] * 64)
        self.refuse_run(1, "head_dim that is a multiple of 32", "-p", "x", "--kv-type", "q8_0")

    def test_length(self):
        nothing = self.run_json("-p", "the", "-n", "0")
        self.assertEqual((nothing["text"], nothing["tokens"], nothing["finish_reason"]), ("", [], "length"))
        self.assertIsNone(nothing["ttft_s"])
        self.assertIsNone(nothing["decode_tokens_per_s"])
        prompt = nothing["prompt_tokens"]
        full = self.run_json("-p", "the", "-n", "500", "--ctx", str(prompt + 5), model=self.endless)
        self.assertEqual((full["completion_tokens"], full["finish_reason"]), (5, "length"))
        done = self.succeed("run", "-m", self.endless, "-t", "1", "-p", "the", "--ctx", str(prompt + 3))
        self.assertRegex(done.stderr.decode(), "context is full")
        self.assertEqual(self.run_json("-p", "the", "--ctx", str(prompt))["completion_tokens"], 0)

    def test_end_of_response(self):
        # a random model draws one of its three ends sooner or later
        for seed in range(20):
            answer = self.run_json("-p", "the", "-n", "800", "--temp", "4", "--top-k", "0", "--top-p", "1", "--min-p",
                                   "0", "--seed", str(seed), model=self.spm)
            if answer["finish_reason"] == "stop":
                break
        self.assertEqual(answer["finish_reason"], "stop")
        self.assertLess(answer["completion_tokens"], 800)

    def test_stop(self):
        options = ("-p", LONG, "-n", "40", "--temp", "1", "--seed", "3", "--raw")
        whole = self.run_json(*options)["text"]
        stops = [whole[5], whole[6:9], whole[10:25], whole[-1:]]  # one character, tokens' borders inside, the end
        for stop in stops:
            with self.subTest(stop=stop):
                before = whole[:whole.index(stop)]
                answer = self.run_json(*options, "--stop", stop)
                self.assertEqual((answer["text"], answer["finish_reason"]), (before, "stop"))
                self.assertEqual(self.run_text(*options, "--stop", stop), before + "\n")
        first = min(whole.index(stop) for stop in stops)
        several = [argument for stop in stops for argument in ("--stop", stop)]
        self.assertEqual(self.run_text(*options, *several), whole[:first] + "\n")
        # what is held back because a stop text could begin with it comes out in the end
        self.assertEqual(self.run_text(*options, "--stop", whole[-4:] + "!never"), whole + "\n")

    def test_stop_at_a_control_token(self):
        options = ("-p", LONG, "-n", "800", "--temp", "1", "--top-k", "0", "--top-p", "1", "--raw")
        control = 1  # <|im_start|>, which has no text
        whole = self.run_json(*options, model=self.endless)
        self.assertEqual(whole["finish_reason"], "length")
        before = whole["tokens"][:whole["tokens"].index(control)]
        answer = self.run_json(*options, "--stop", "never", "--stop", "<|im_start|>", model=self.endless)
        self.assertEqual((answer["tokens"], answer["finish_reason"]), (before, "stop"))
        self.assertTrue(whole["text"].startswith(answer["text"]))

    def test_logprobs(self):
        answer = self.run_json("-p", LONG, "-n", "8", "--logprobs", "1000", "--temp", "1", "--seed", "1")
        content = answer["logprobs"]["content"]
        self.assertEqual(len(content), len(answer["tokens"]))
        for entry in content:
            self.assertEqual(set(entry), {"token", "logprob", "bytes", "top_logprobs"})
            top = [one["logprob"] for one in entry["top_logprobs"]]  # the whole vocabulary: it is smaller than 1000
            self.assertAlmostEqual(sum(math.exp(value) for value in top), 1, places=5)
            self.assertEqual(top, sorted(top, reverse=True))
            self.assertTrue(any(abs(entry["logprob"] - value) < 1e-9 for value in top))
            for one in entry["top_logprobs"]:
                self.assertEqual(bytes(one["bytes"]).decode("utf-8", "replace").count("\ufffd") > 0,
                                 "\ufffd" in one["token"])
        joined = b"".join(bytes(entry["bytes"]) for entry in content)
        self.assertEqual(joined.decode("utf-8", "replace"), answer["text"])
        greedy = self.run_json("-p", LONG, "-n", "8", "--logprobs", "1")["logprobs"]["content"]
        for entry in greedy:
            self.assertEqual(entry["logprob"], entry["top_logprobs"][0]["logprob"])
            self.assertEqual(len(entry["top_logprobs"]), 1)
        none = self.run_json("-p", LONG, "-n", "2", "--logprobs", "0")["logprobs"]["content"]
        self.assertEqual([entry["top_logprobs"] for entry in none], [[], []])


class Eviction(Command):
    def test_every_policy(self):
        presets = json.loads(self.succeed("policies", "--json").stdout)
        said = self.succeed("policies").stdout.decode().count("full KV is held at once")
        self.assertEqual(said, sum(preset["needs_full_cache"] for preset in presets))
        self.assertGreater(len(presets), 10)
        for preset in presets:
            with self.subTest(policy=preset["name"]):
                judge = ["--judge", self.judge] if preset["soft_tokens"] else []
                answer = self.run_json("--policy", preset["name"], "--budget", "48", *judge, "-p", LONG, "-n", "4")
                self.assertTrue(answer["policy"].startswith(("probe=", "full")))
                self.assertEqual(answer["judge"], self.judge if judge else None)
                if preset["name"] == "full":
                    self.assertIsNone(answer["budget"])
                else:
                    self.assertEqual(answer["budget"], 48)
                    self.assertLess(answer["kv_bytes_held"], answer["kv_bytes_full"] / 2)
                    self.assertLessEqual(answer["kv_bytes_held"], answer["kv_bytes_peak"])

    def test_choices(self):
        answer = self.run_json("--policy", "snapkv", "--probe", "window:16", "--reduce", "max/mean", "--smooth",
                               "avg:5", "--allocate", "ada:0.5", "--keep", "sink:2+recent:4", "--budget", "12.5%", "-p",
                               LONG, "-n", "4")
        self.assertEqual(answer["policy"],
                         "probe=window:16,reduce=max/mean,smooth=avg:5,allocate=ada:0.5,keep=sink:2+recent:4")
        self.assertEqual(answer["budget"], math.ceil(answer["prompt_tokens"] / 8))
        inside = self.run_json("--policy", "snapkv,smooth=none", "--keep", "none", "--budget", "32", "-p", LONG, "-n",
                               "4")
        self.assertRegex(inside["policy"], "window:32.*smooth=none.*keep=none")

    def test_budget_above_the_prompt_keeps_all(self):
        full = self.run_json("-p", LONG, "-n", "8")["tokens"]
        wide = self.run_json("-p", LONG, "-n", "8", "--policy", "snapkv", "--budget", "5000")["tokens"]
        percent = self.run_json("-p", LONG, "-n", "8", "--policy", "snapkv", "--budget", "100%")["tokens"]
        self.assertEqual((wide, percent), (full, full))

    def test_defer(self):
        options = ("--policy", "judge-laq", "--budget", "48", "--judge", self.judge, "-p", LONG)
        deferred = self.run_json(*options, "--defer", "-n", "12")
        # 8 greedy tokens from the candidates begin the response; they are in the cache and not decoded again
        self.assertEqual(deferred["completion_tokens"], 12)
        first = self.run_json(*options, "--defer", "-n", "5")
        self.assertEqual(first["tokens"], deferred["tokens"][:5])
        self.assertIsNone(first["decode_tokens_per_s"])

    def test_random_depends_on_the_seed(self):
        def text(seed):
            return self.run_json("--policy", "random", "--budget", "16", "--seed", seed, "-p", LONG, "-n", "16")
        self.assertEqual(text("1")["tokens"], text("1")["tokens"])
        self.assertTrue(any(text("1")["tokens"] != text(seed)["tokens"] for seed in ("2", "3", "4")))

    def test_judge_beside_the_model(self):
        model = self.fixture("model", "bpe-smollm", "beside.gguf")
        beside = os.path.join(self.folder, "beside.judge.gguf")
        self.addCleanup(os.remove, beside)
        shutil.copy(self.judge, beside)  # the same spec has the same fingerprint
        answer = self.run_json("--budget", "48", "-p", LONG, "-n", "4", model=model)
        self.assertEqual(answer["judge"], beside)
        self.assertIn("probe=soft", answer["policy"])
        shutil.copy(self.fixture("judge", self.spm, "other.gguf"), beside)
        self.refuse_run(1, "beside.judge.gguf: .*belongs to", "--budget", "48", "-p", LONG, model=model)


class Terminal(Command):
    """Progress, summary and Ctrl-C."""

    def test_quiet(self):
        self.assertEqual(self.succeed("run", "-m", self.bpe, "-t", "1", "-p", "x", "--quiet").stderr, b"")
        loud = self.succeed("run", "-m", self.bpe, "-t", "1", "-p", "x", "-n", "3").stderr.decode()
        self.assertRegex(loud, r"\Ajudgeq: read \d+ tokens at .* wrote \d .*; KV .* of .*, peak .*\n\Z")

    def test_warnings(self):
        model = self.fixture("pre", "", "no-pre.gguf")
        warnings = ["missing pre-tokenizer type, using: 'default'", "GENERATION QUALITY WILL BE DEGRADED!",
                    "CONSIDER REGENERATING THE MODEL"]
        run = ("run", "-m", model, "-t", "1", "--raw", "-p", "x", "-n", "1")
        said = self.succeed(*run).stderr.decode().splitlines()
        self.assertEqual(said[:-1], [f"judgeq: note: {model}: libllama says: {warning}" for warning in warnings])
        self.assertEqual(self.succeed(*run, "--quiet").stderr, b"")
        self.assertEqual(json.loads(self.succeed("inspect", model, "--json").stdout)["warnings"], warnings)
        self.assertEqual(json.loads(self.succeed("inspect", self.bpe, "--json").stdout)["warnings"], [])
        self.assertRegex(self.succeed("inspect", model).stdout.decode(),
                         r"\nwarnings +missing pre.*\n +GENERATION.*\n +CONSIDER REGENERATING THE MODEL\n\Z")
        self.assertRegex(self.succeed("inspect", self.bpe).stdout.decode(), r"\nwarnings +none\n\Z")

    def start(self, *arguments, **more):
        return subprocess.Popen([JUDGEQ, "run", "-m", self.endless, "-t", "1", "--raw", "--ctx", "1000000", *arguments],
                                stdin=subprocess.DEVNULL, **more)

    def test_interrupt_in_prefill(self):
        """Sent once the bar is there; what the terminal shows afterwards is the message."""
        screen = terminal.Terminal()
        # single rows: slow enough to be interrupted
        process = self.start("-p", "x " * 10000, "--chunk", "1", stdout=subprocess.PIPE, stderr=screen.file,
                             env=os.environ | {"TERM": "xterm"})
        self.assertTrue(screen.wait_until_written(b"left"))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        shown = screen.end()
        self.assertEqual(process.returncode, 130)
        self.assertEqual(out, b"")
        self.assertRegex(shown, r"reading 20,000 tokens \[#*\.{2,}\] \d+ %, [\d,]+ tokens/s, [\d:]+ left")
        self.assertTrue(shown.endswith("\r\x1b[Kjudgeq: interrupted while reading the prompt\n"), shown)

    def test_interrupt_while_decoding(self):
        for number, status in (signal.SIGINT, 130), (signal.SIGTERM, 143):
            process = self.start("-p", "the room", "-n", "900000", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            first = os.read(process.stdout.fileno(), 1)
            process.send_signal(number)
            out, error = process.communicate(timeout=60)
            self.assertEqual((process.returncode, error), (status, b"judgeq: interrupted\n"))
            self.assertTrue((first + out).endswith(b"\n"))  # what was decoded stays
            (first + out).decode()

    @staticmethod
    def unread(pipe):
        return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]

    def test_interrupt_in_a_write(self):
        """Standard output takes nothing for a while: what is being written then is not lost."""
        process = self.start("-p", "the room", "-n", "900000", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        full = -1
        while full < 3000 or full != self.unread(process.stdout):
            full = self.unread(process.stdout)
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)  # so that it comes before there is room
        out, error = process.communicate(timeout=60)
        self.assertEqual((process.returncode, error), (130, b"judgeq: interrupted\n"))
        self.assertTrue(out.endswith(b"\n"))

    def test_interrupt_while_decoding_json(self):
        """The object has what was decoded. Nothing says when decoding has begun: a later signal finds it."""
        for seconds in 0.2, 1, 5, 20:
            process = self.start("-p", "x", "-n", "900000", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
            self.assertIn(process.returncode, (130, -signal.SIGINT))
            if out:
                break
        answer = json.loads(out)
        self.assertEqual(answer["finish_reason"], "interrupted")
        self.assertEqual(len(answer["tokens"]), answer["completion_tokens"])

    def test_closed_streams_are_held(self):
        """No file that is opened later becomes the standard output, and is written into."""
        process = self.start("-p", "x " * 10000, "--chunk", "1", stderr=subprocess.PIPE,
                             preexec_fn=lambda: os.close(1))
        os.read(process.stderr.fileno(), 1)
        held = os.readlink(f"/proc/{process.pid}/fd/1")
        process.kill()
        process.communicate(timeout=60)
        self.assertEqual(held, "/dev/null")

    def test_interrupt_of_json(self):
        """No half object. The bar of a slow prefill says when the handler is there."""
        process = self.start("-p", "x " * 10000, "--chunk", "1", "--json", stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        said = b""
        while b"reading" not in said:
            said += os.read(process.stderr.fileno(), 1000)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (130, b""))
        self.assertTrue(error.endswith(b"judgeq: interrupted while reading the prompt\n"))


@unittest.skipUnless(os.path.exists(default_model()), "the default model is not in the cache")
class DefaultModel(Command):
    def test_answer(self):
        done = self.succeed("run", "-t", "1", "-p", "What is the capital of France? Answer in one word.", "-n", "12")
        self.assertIn("Paris", done.stdout.decode())

    def test_characters_of_several_tokens(self):
        options = ("run", "-t", "1", "--raw", "-n", "6", "-p", "Emoji: 🙂🙂🙂🙂🙂🙂")
        answer = json.loads(self.succeed(*options, "--json", "--logprobs", "0").stdout)
        self.assertEqual(self.succeed(*options).stdout.decode(), answer["text"] + "\n")
        self.assertTrue(any("\ufffd" in entry["token"] for entry in answer["logprobs"]["content"]))

    @unittest.skipUnless(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../judges/*.gguf")),
                         "no judges in the source tree")
    def test_judge_that_comes_with_it(self):
        """A judge in the source tree's judges/ is found by its fingerprint."""
        filler = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "
        answer = json.loads(self.succeed(
            "run", "-t", "1", "--json", "-n", "4", "--budget", "64", "-p",
            filler * 4 + "The secret number of the harbour is 7421. " + filler * 4 +
            "What is the secret number of the harbour?").stdout)
        self.assertRegex(answer["judge"], r"judges/.*\.gguf\Z")
        self.assertIn("probe=soft", answer["policy"])
        self.assertLess(answer["kv_bytes_held"], answer["kv_bytes_full"] / 3)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
