"""Runs judgeq and reads its JSON: `judgeq run` once for tools/demo.py, `answers` for many policies in bench/needle.py."""
import json
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHIPPED_JUDGE = ROOT / "judges/smollm2-135m-instruct.gguf" # of the default model


class JudgeqFailed(Exception):
    """Its message is what judgeq wrote to standard error."""


class Judgeq:
    """program, and what does not change between its runs. judge and model may be None: judgeq then finds its own."""

    def __init__(self, program, judge=None, model=None, threads=None, tokens=64):
        self.program, self.judge, self.model, self.threads, self.tokens = str(program), judge, model, threads, tokens

    def command(self, document, question, policy, budget):
        command = [self.program, "run", "--json", "--quiet", "--chat", "--temp", "0", "-n", str(self.tokens)]
        command += ["--policy", policy, "-f", str(document), "-p", question]
        for option, value in (("--budget", budget), ("-m", self.model), ("--judge", self.judge), ("-t", self.threads)):
            if value is not None:
                command += [option, str(value)]
        return command

    def ask(self, document, question, policy, budget):
        """The JSON object of one greedy run; budget None: all rows. document: text; the question stands at its end."""
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
            file.write(document)
            file.flush()
            return self.output(self.command(file.name, question, policy, budget))

    def output(self, command):
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False)
        except OSError as error:
            raise self.missing(error) from error
        if done.returncode != 0:
            raise JudgeqFailed(done.stderr.strip() or f"{self.program} ended with status {done.returncode}")
        return json.loads(done.stdout)

    def missing(self, error):
        return JudgeqFailed(f"cannot run {self.program}: {error.strerror}; build it first, or see --judgeq")

    def version(self):
        try:
            done = subprocess.run([self.program, "--version"], capture_output=True, encoding="utf-8", check=False)
        except OSError as error:
            raise self.missing(error) from error
        return done.stdout.strip()


class Answers:
    """The program `answers`: one prompt, many policies and budgets, one prefill. Its process lives as long as this."""

    def __init__(self, program, judge=None, model=None, threads=None, tokens=64):
        self.program, self.tokens = str(program), tokens
        command = [self.program]
        for option, value in (("-m", model), ("-j", judge), ("-t", threads)):
            if value is not None:
                command += [option, str(value)]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        except OSError as error:
            raise JudgeqFailed(f"cannot run {program}: {error.strerror}; build it first: "
                               "cmake --build --preset release --target bench") from error

    def ask(self, document, question, arms):
        """The JSON objects of greedy runs, one for each (policy, budget) of arms; budget None: all rows."""
        runs = [{"policy": policy, "budget": budget} for policy, budget in arms]
        line = {"text": f"{document}\n\n{question}", "tokens": self.tokens, "runs": runs}
        try:
            print(json.dumps(line), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass # it has said why on standard error
        result = json.loads(self.process.stdout.readline() or '{"error": "answers has ended"}')
        if "error" in result:
            raise JudgeqFailed(result["error"])
        return result["runs"]

    def close(self):
        self.process.communicate()


def add_options(parser, tokens=64):
    """The options of Judgeq's constructor, on an argparse parser."""
    parser.add_argument("--judgeq", metavar="PROGRAM", default=ROOT / "build/release/judgeq", type=pathlib.Path,
                        help="the program to run (%(default)s)")
    parser.add_argument("--judge", metavar="FILE", help="the judge (judgeq's own for the model)")
    parser.add_argument("-m", "--model", metavar="FILE", help="the model (the default model)")
    parser.add_argument("-n", dest="response_tokens", metavar="N", type=int, default=tokens,
                        help="longest response in tokens (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, help="threads that compute (one per core)")


def from_options(options):
    return Judgeq(options.judgeq, options.judge, options.model, options.threads, options.response_tokens)
