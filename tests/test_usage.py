"""What a new user writes: documents on standard input, options misspelt, written twice or as another program spells
them, budgets of any size. test_usage.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import unittest

from test_cli import JUDGEQ, LONG, Command

COMMANDS = "run policies judge inspect data train eval bench report rpc-server".split()


class StandardInput(Command):
    """What a pipe or a file brings is the document before -p."""

    def prompt_tokens(self, *arguments, **more):
        done = self.succeed("run", "-m", self.bpe, "-t", "1", "-n", "0", "--json", *arguments, **more)
        return json.loads(done.stdout)["prompt_tokens"], done.stderr.decode()

    def test_a_pipe_is_the_document(self):
        expected, _ = self.prompt_tokens("-p", "in the rain\n\nis it?")
        found, said = self.prompt_tokens("-p", "is it?", text="in the rain\n")
        self.assertEqual(found, expected)
        self.assertIn("read 11 bytes from standard input, the document before -p", said)
        quiet = self.prompt_tokens("-p", "is it?", "--quiet", text="in the rain\n")
        self.assertEqual(quiet, (expected, ""))

    def test_an_empty_pipe_is_none(self):
        alone, _ = self.prompt_tokens("-p", "is it?", "--quiet")
        for text in "", "\n":
            found, said = self.prompt_tokens("-p", "is it?", text=text)
            self.assertEqual(found, alone)
            self.assertNotIn("document", said)

    def run_with(self, stream, *more):
        done = subprocess.run([JUDGEQ, "run", "-m", self.bpe, "-t", "1", "-n", "0", "--json", "-p", "is it?", *more],
                              stdin=stream, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["prompt_tokens"], done.stderr.decode()

    def test_files_sockets_and_devices(self):
        alone, _ = self.prompt_tokens("-p", "is it?", "--quiet")
        joined, _ = self.prompt_tokens("-p", "in the rain\n\nis it?")
        path = os.path.join(self.folder, "document.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("in the rain\n")
        with open(path, "rb") as file:
            self.assertEqual(self.run_with(file)[0], joined)
        with open(path, "rb", buffering=0) as file:
            file.read(4)  # as "while read" of a shell does
            found, said = self.run_with(file)
            self.assertEqual(found, alone)
            self.assertIn("read from before", said)
            file.seek(0, os.SEEK_END)
            found, said = self.run_with(file)
            self.assertEqual((found, "before" in said), (alone, False))
        self.assertEqual(self.run_with(subprocess.DEVNULL)[0], alone)
        ours, theirs = socket.socketpair()
        ours.sendall(b"in the rain")
        ours.close()
        self.assertEqual(self.run_with(theirs)[0], joined)
        theirs.close()
        terminal, user = os.openpty()
        self.assertEqual(self.run_with(user)[0], alone)
        os.close(terminal)
        os.close(user)

    def test_a_file_that_is_named_is_the_document(self):
        path = os.path.join(self.folder, "named.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("a")
        expected, _ = self.prompt_tokens("-p", "a\n\nis it?")
        self.assertEqual(self.prompt_tokens("-f", path, "-p", "is it?", text="in the rain")[0], expected)

    def test_a_pipe_that_nobody_writes_to(self):
        """It is waited for, but not for ever, and not in silence."""
        alone, _ = self.prompt_tokens("-p", "is it?", "--quiet")
        reader, writer = os.pipe()
        found, said = self.run_with(reader)
        self.assertEqual(found, alone)
        self.assertRegex(said, "waiting .*for a document on standard input")
        self.assertIn("answering without a document", said)
        os.close(reader)
        os.close(writer)

    def test_a_program_that_is_slow_to_write(self):
        """It is waited for, however long it takes: longer here than for a pipe that nobody writes to."""
        joined, _ = self.prompt_tokens("-p", "in the rain\n\nis it?")
        slow = subprocess.Popen(["sh", "-c", "sleep 8; echo in the rain"], stdout=subprocess.PIPE)
        self.assertEqual(self.run_with(slow.stdout)[0], joined)
        slow.stdout.close()
        slow.wait(timeout=60)

    def test_inspect_reads_it_too(self):
        inspect = ("inspect", "--kept", "-m", self.bpe, "-t", "1", "--policy", "tova", "--json", "--raw")
        piped = json.loads(self.succeed(*inspect, "-p", "is it?", text="in the rain\n").stdout)
        whole = json.loads(self.succeed(*inspect, "-p", "in the rain\n\nis it?").stdout)
        self.assertEqual(piped, whole)
        self.assertEqual(json.loads(self.succeed(*inspect, text="in the rain\n\nis it?").stdout), whole)
        self.refuse(2, "prompt is empty", *inspect)

    def test_a_terminal_is_not_read(self):
        for command in (["run"], ["inspect", "--kept"]):
            terminal, user = os.openpty()
            done = subprocess.run([JUDGEQ, *command, "-m", self.bpe], stdin=user, capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr.decode(), f"no prompt: -p .*see judgeq {command[0]} --help\n\\Z")
            os.close(terminal)
            os.close(user)

    def test_an_interrupt_ends_the_wait(self):
        for number, status in (signal.SIGINT, 130), (signal.SIGTERM, 143):
            with subprocess.Popen([JUDGEQ, "run", "-m", self.bpe, "-f", "-"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                os.read(process.stderr.fileno(), 1)  # it says that it waits
                process.send_signal(number)
                self.assertEqual((process.wait(timeout=60), process.stdout.read()), (status, b""))


class Options(Command):
    def test_twice(self):
        for command, option, values in (
                ("run", "-p", ("a", "b")), ("run", "-p", ("a", "a")), ("run", "--budget", ("8", "9")),
                ("run", "--ngl", ("1", "2")), ("inspect", "--rpc", ("a:1", "b:1")), ("data", "-n", ("1", "2")),
                ("train", "--epochs", ("1", "2")), ("eval", "--policies", ("judge", "tova")),
                ("bench", "--lengths", ("1", "2")), ("report", "--versus", ("a", "b")),
                ("rpc-server", "--port", ("1", "2"))):
            with self.subTest(command=command, option=option):
                self.refuse(2, f"judgeq: {command}: .*{option}.* is given twice", command, option, values[0], option,
                            values[1])
        self.refuse(2, "-n, --tokens is given twice", "run", "-n", "1", "--tokens", "2")
        self.refuse(2, "-m, --model is given twice", "judge", "import", "x", "-m", "a", "-m", "b")
        self.refuse(2, "--layer is given twice", "inspect", "--kept", "--layer", "1", "--layer", "2")

    def test_what_adds_up_can_be_given_again(self):
        self.run_text("-p", "x", "-n", "1", "--stop", "a", "--stop", "b", "--quiet", "--quiet")
        kept = self.succeed("inspect", "--kept", "-m", self.bpe, "-t", "1", "-p", LONG, "--json", "--policy", "tova",
                            "--policy", "snapkv", "--budget", "8", "--budget", "9")
        self.assertEqual(len(json.loads(kept.stdout)["cuts"]), 4)

    def test_misspelt(self):
        for command, written, meant in (
                ("run", "--promt", "--prompt"), ("run", "--buget=5%", "--budget"), ("run", "--top_p", "--top-p"),
                ("run", "--Model", "--model"), ("run", "--sotp", "--stop"), ("data", "--exmaples", "--examples"),
                ("train", "--epoch-s", "--epochs"), ("eval", "--polices", "--policies"),
                ("bench", "--length-s", "--lengths"), ("policies", "--jsno", "--json"), ("inspect", "--devises", "--devices"),
                ("report", "--picture-s", "--pictures"), ("rpc-server", "--prot", "--port")):
            with self.subTest(written=written):
                self.refuse(2, f"unknown option {written.split('=')[0]}; did you mean {meant}\\?", command, written, "1")
        self.refuse(2, r"judgeq: judge: unknown option --tensro; did you mean --tensor\? See judgeq judge --help",
                    "judge", "import", "--tensro")
        self.refuse(2, r"unknown option --frobnicate; see", "run", "--frobnicate")
        self.refuse(2, "--t could be any of --threads, --tokens, --temp, --top-k, --top-p", "run", "--t", "4")
        self.refuse(2, "--json takes no value", "run", "--json=1")
        self.refuse(2, "-model: write --model, with two dashes", "run", "-model", "x.gguf")
        self.refuse(2, "-prompt: write --prompt", "run", "-prompt", "x")

    def test_misspelt_values(self):
        for command in (["run", "-p", "x"], ["eval", "own", "-o", "x"], ["data", "-o", "x", "y"]):
            if command[0] != "data":
                self.refuse(2, r'--kv-type "fp16": expected f16, f32, q8_0 or q4_0; did you mean f16\?', *command,
                            "--kv-type", "fp16")
        self.refuse(2, r"did you mean q8_0\?", "run", "-p", "x", "--kv-type", "Q8_0")
        self.refuse(2, r"did you mean q4_0\?", "bench", "--kv-types", "f16,q4")
        self.refuse(2, r"did you mean mean\?", "train", "--target", "meen")
        self.refuse(2, r"did you mean snapkv\?", "run", "-p", "x", "--budget", "8", "--policy", "SnapKV")
        self.refuse(2, r"did you mean streaming\?", "eval", "own", "-o", "x", "--policies", "streamingllm")

    def test_commands(self):
        for written, meant in (("rnu", "run"), ("polices", "policies"), ("inspct", "inspect"), ("RUN", "run"),
                               ("rpc_server", "rpc-server"), ("benhc", "bench"), ("evaluate", "eval"),
                               ("generate", "run"), ("model.gguf", "run -m model.gguf")):
            self.refuse(2, f'unknown command "{written}"; did you mean judgeq {meant}\\?', written)
        self.refuse(2, 'unknown command "pull": .*does not download', "pull", "llama3")
        self.refuse(2, 'unknown command "xyzzy"; see judgeq --help', "xyzzy")
        for command in COMMANDS:
            self.assertEqual(self.succeed("help", command).stdout, self.succeed(command, "--help").stdout)
        self.assertEqual(self.succeed("help").stdout, self.succeed("--help").stdout)
        self.refuse(2, "did you mean judgeq run", "help", "rum")

    def test_options_of_other_programs(self):
        for option, *value, words in (
                ("-hf", "user/model", "does not download models.*name it with -m FILE"),
                ("--hf-repo", "user/model", "does not download models"), ("--model-url", "x", "does not download"),
                ("-mu", "x", "does not download"), ("-c", "4096", "write --ctx"), ("--ctx-size", "4096", "write --ctx"),
                ("--ctx-size=4096", "write --ctx"), ("--n-predict", "9", "write -n, --tokens"),
                ("--temperature", "1", "write --temp"), ("-cnv", "one prompt and ends"), ("-i", "one prompt and ends"),
                ("-no-cnv", "write --raw"), ("-b", "512", "write --chunk"), ("-ctk", "q8_0", "write --kv-type"),
                ("-s", "1", "write --seed"), ("-fa", "leave it out"), ("--num-ctx", "1", "write --ctx"),
                ("--n-gpu-layers", "9", "write --ngl"), ("--format", "json", "--json"), ("-sys", "x", "write --system"),
                ("--max-tokens", "9", "write -n, --tokens")):
            with self.subTest(option=option):
                self.refuse(2, f"judgeq: run: {option.split('=')[0]}: .*{words}", "run", "-p", "x", option, *value)
        self.refuse(1, "nowhere", "run", "-m", "/nowhere", "-p", "-c")  # the prompt, no option
        self.refuse(1, "nowhere", "run", "-m", "/nowhere", "-p", "x", "-ngl", "0")  # known here as well
        self.refuse(2, "unknown option -c", "policies", "-c", "4096")  # there is no --ctx to point to
        self.refuse(2, "-hf: judgeq does not download", "bench", "-hf", "x")


class Verbose(Command):
    def test_log_lines(self):
        """The vocabulary is libllama's to load; it says so, and stays silent unless it is asked."""
        run = ("run", "-m", self.bpe, "-t", "1", "-p", "x", "-n", "1", "--quiet")
        self.assertEqual(self.succeed(*run).stderr, b"")
        for option in "-v", "--verbose":
            done = self.succeed(*run, option)
            self.assertRegex(done.stderr.decode(), r"(?m)^judgeq: .*(llama|load)")
            self.assertEqual(done.stdout, self.succeed(*run).stdout)
        self.assertIn(b"load", self.succeed("inspect", self.bpe, "-v").stderr)


class Threads(Command):
    def test_more_than_cores(self):
        """They are cut to the cores, with one note; many threads on few cores would take for ever."""
        note = r"judgeq: -t 1000: this process may use \d+ cores?, "
        inspect = ("inspect", "--kept", "-m", self.bpe, "--policy", "tova", "--budget", "4,8", "-p", LONG)
        for command in (("run", "-m", self.bpe, "-p", LONG, "-n", "8"), inspect,
                        ("bench", "-m", self.bpe, "--lengths", "32", "--policies", "tova", "--budgets", "8", "-n", "1",
                         "--repeat", "1", "--warm-up", "0", "-t", "1,1000", "--json")):
            more = () if command[0] == "bench" else ("-t", "1000")
            done = self.succeed(*command, *more)
            self.assertEqual(len(re.findall(note, done.stderr.decode())), 1)
            self.assertNotRegex(self.succeed(*command, *more, "--quiet").stderr.decode(), note)
            if command[0] == "bench":
                cores = len(os.sched_getaffinity(0))
                threads = {cell["threads"] for cell in json.loads(done.stdout)["cells"]}
                self.assertLessEqual(max(threads), cores)
        one = {min(os.sched_getaffinity(0))}
        bound = subprocess.run([JUDGEQ, "run", "-m", self.bpe, "-p", "x", "-n", "1", "-t", "2"], capture_output=True,
                               stdin=subprocess.DEVNULL, timeout=60, preexec_fn=lambda: os.sched_setaffinity(0, one))
        self.assertIn("-t 2: this process may use 1 core, ", bound.stderr.decode())


class Budgets(Command):
    """Any budget of any prompt."""

    def test_of_short_prompts(self):
        for policy in ("judge", "judge-laq", "snapkv", "pyramidkv", "laq", "streaming", "h2o", "tova"):
            for budget, rows in (("10%", None), ("100%", None), ("0.01%", 1), ("1", 1), ("5000", None)):
                with self.subTest(policy=policy, budget=budget):
                    answer = self.run_json("--policy", policy, "--budget", budget, "--judge", self.judge, "-p", "the",
                                           "--raw", "-n", "2")
                    self.assertEqual(answer["prompt_tokens"], 2)
                    self.assertEqual(answer["budget"], rows or (1 if budget == "10%" else 2))

    def test_below_what_is_always_kept(self):
        for policy, budget, rows in (("snapkv", "16", 16), ("snapkv", "1%", None), ("streaming,keep=sink:40", "39", 39)):
            answer = self.run_json("--policy", policy, "--budget", budget, "-p", LONG, "-n", "1")
            self.assertEqual(answer["budget"], rows or -(-answer["prompt_tokens"] // 100))

    def test_inspect_with_its_defaults(self):
        kept = json.loads(self.succeed("inspect", "--kept", "-m", self.bpe, "-t", "1", "--judge", self.judge, "--json",
                                       "-p", "the room in the rain").stdout)
        n = kept["prompt_tokens"]
        self.assertEqual(kept["cuts"][0]["rows"], -(-n // 10))
        for heads in kept["cuts"][0]["kept"]:  # the latest rows, as many as fit
            self.assertEqual(heads, [[n - -(-n // 10), n - 1]] * kept["n_head_kv"])

    def test_choices_of_inspect(self):
        inspect = ("inspect", "--kept", "-m", self.bpe, "-t", "1", "--json", "-p", LONG, "--budget", "8")
        options = json.loads(self.succeed(*inspect, "--policy", "snapkv", "--policy", "full", "--keep", "recent:2",
                                          "--smooth", "none").stdout)["cuts"]
        text = json.loads(self.succeed(*inspect, "--policy", "snapkv,smooth=none,keep=recent:2").stdout)["cuts"]
        self.assertEqual(options[0]["policy_text"], text[0]["policy_text"])
        self.assertEqual(options[0]["kept"], text[0]["kept"])
        self.assertEqual(options[1]["policy_text"], "full")
        self.refuse(2, "keep does not accept", *inspect, "--keep", "4")

    def test_eval_of_short_prompts(self):
        path = os.path.join(self.folder, "mixed.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            for text in LONG, "the rain", LONG:
                file.write(json.dumps({"input": text, "outputs": ["heron"]}) + "\n")
        output, model = os.path.join(self.folder, "mixed"), self.fixture("model", "mistral", "mistral.gguf")
        self.succeed("eval", f"ruler:{path}", "-m", model, "-o", output, "-t", "1", "-n", "2", "--policies",
                     "snapkv,tova@q8_0,full@q8_0", "--budgets", "20%,64", "--keep", "recent:4")
        with open(os.path.join(output, "samples.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual(len(lines), 3)
        for line in lines:
            for result in line["results"]:
                rows = line["prompt_tokens"] if not result["budget"] else min(
                    line["prompt_tokens"], {"20%": -(-line["prompt_tokens"] // 5), "64": 64}[result["budget"]])
                self.assertEqual(result["rows"], rows, result["policy"])
        self.assertEqual({result["policy"] for result in lines[0]["results"]},
                         {"full", "snapkv,keep=recent:4", "tova,keep=recent:4@q8_0", "full@q8_0"})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
