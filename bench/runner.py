"""Runs the program `answers`, for bench/needle.py and tools/demo.py: one prompt, many policies."""
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHIPPED_JUDGE = ROOT / "judges/smollm2-135m-instruct.gguf" # of the default model


class JudgeqFailed(Exception):
    """Its message says what went wrong."""


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
    """The options of Answers' constructor, on an argparse parser."""
    parser.add_argument("--answers", metavar="PROGRAM", default=ROOT / "build/release/answers", type=pathlib.Path,
                        help="the worker (%(default)s)")
    parser.add_argument("--judge", metavar="FILE", help="the judge (judgeq's own for the model)")
    parser.add_argument("-m", "--model", metavar="FILE", help="the model (the default model)")
    parser.add_argument("-n", dest="response_tokens", metavar="N", type=int, default=tokens,
                        help="longest response in tokens (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, help="threads that compute (one per core)")
