#!/usr/bin/env python3
"""The demo of judgeq: eight questions about one long document, a small KV cache, and what each policy answers.

    ./demo.sh                                  seed 1: full, streaming, snapkv, judge, judge-laq
    ./demo.sh --seed 7 --budget 128            another document and other questions, a smaller cache
    ./demo.sh --policies 'h2o;judge' --show-document

The document and the facts hidden in it are made up by the seed: it is the task eight_facts of `judgeq eval`. Each question
is asked on its own: the model reads the document with that question at its end, every policy keeps its rows, and answers
from them. What comes out is shown as it is; seed 1 is the first one there is, and nothing was chosen for its success.
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import textwrap
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MEBIBYTE = 1 << 20
QUESTIONS = 8 # of eight_facts, about one document


def read_options():
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgeq", metavar="PROGRAM", default=ROOT / "build/release/judgeq", type=pathlib.Path,
                        help="(%(default)s)")
    parser.add_argument("--judge", metavar="FILE", help="the judge (judgeq's own for the model)")
    parser.add_argument("-m", "--model", metavar="FILE", help="the model (the default model)")
    parser.add_argument("-n", dest="response_tokens", metavar="N", type=int, default=40,
                        help="longest response in tokens (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, help="threads that compute (one per core)")
    parser.add_argument("--policies", default="streaming;snapkv;judge;judge-laq",
                        help="separated by ';', beside the full cache (%(default)s)")
    parser.add_argument("--budget", type=int, default=256, help="rows per layer and KV head (%(default)s)")
    parser.add_argument("--tokens", type=int, default=2500, help="of the document with a question, at most (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of document, facts and questions (%(default)s)")
    parser.add_argument("--questions", type=int, default=QUESTIONS, choices=range(1, QUESTIONS + 1), metavar="N",
                        help="about the document (%(default)s)")
    parser.add_argument("--show-document", action="store_true", help="print the document first")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=pathlib.Path, default=ROOT / "build/demo",
                        help="for the results of judgeq eval; those of an earlier demo are replaced (%(default)s)")
    options = parser.parse_args()
    named = [policy.strip() for policy in options.policies.split(";")]
    options.policies = [policy for policy in named if policy and policy != "full"]
    if not options.policies:
        parser.error("--policies names no policy beside the full cache")
    return options


def command(options):
    """The command line of judgeq eval."""
    line = [options.judgeq, "eval", "eight_facts", "--length", options.tokens, "--samples", options.questions, "--seed",
            options.seed, "--policies", ";".join(options.policies), "--budgets", options.budget, "-n",
            options.response_tokens, "--one-by-one", "--prompts", "-o", options.output]
    for option, value in (("-m", options.model), ("--judge", options.judge), ("-t", options.threads)):
        if value is not None:
            line += [option, value]
    return [os.path.relpath(part) if isinstance(part, pathlib.Path) else str(part) for part in line]


def run(options):
    """The lines of samples.jsonl, a question each."""
    samples = options.output / "samples.jsonl"
    samples.unlink(missing_ok=True) # else judgeq eval would only report them
    line = command(options)
    print(f"demo.sh: {shlex.join(line)}", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(line, stdout=subprocess.DEVNULL, check=False)
    except OSError as error:
        sys.exit(f"demo.sh: cannot run {options.judgeq}: {error.strerror}; ./demo.sh builds it")
    if done.returncode != 0:
        sys.exit(done.returncode) # it has said why
    with samples.open(encoding="utf-8") as file:
        return sorted(map(json.loads, file), key=lambda sample: sample["index"])


# ---- what was seen ---------------------------------------------------------------------------------------------------


def summaries(asked):
    """One for each policy, the full cache first."""
    rows = []
    for mine in zip(*(sample["results"] for sample in asked)):
        speeds = [one["decode_tokens_per_s"] for one in mine if one["decode_tokens_per_s"]]
        shares = [one["kv_bytes_held"] / sample["results"][0]["kv_bytes_held"] for one, sample in zip(mine, asked)]
        rows.append({"policy": mine[0]["policy"], "right": sum(one["score"] == 1 for one in mine), "asked": len(mine),
                     "kv_share": statistics.fmean(shares),
                     "decode_tokens_per_s": statistics.fmean(speeds) if speeds else None}
                    | {name: max(one[name] for one in mine) for name in ("kv_bytes_held", "kv_bytes_peak")})
    return rows


def conclusion(rows, budget):
    """One sentence made of the results, whatever they are."""
    full, *small = rows
    counts = ", ".join(f"{row['right']} with {row['policy']}" for row in small)
    return (f"With the full cache {full['right']} of {full['asked']} answers were right; with {budget} rows per layer and KV "
            f"head, {100 * max(row['kv_share'] for row in small):.0f} % of the KV memory, {counts}.")


def mark(score):
    return "yes" if score == 1 else "-" if score == 0 else "part"


def show_questions(asked):
    policies = [one["policy"] for one in asked[0]["results"]]
    hidden = [" ".join(sample["references"]) for sample in asked]
    width, answer = max(len(sample["question"]) for sample in asked), max(6, *map(len, hidden))
    print(f"{'what was asked':{width}}  {'hidden':{answer}}  {'  '.join(policies)}")
    for sample, words in zip(asked, hidden):
        marks = "  ".join(f"{mark(one['score']):{len(policy)}}" for policy, one in zip(policies, sample["results"]))
        print(f"{sample['question']:{width}}  {words:{answer}}  {marks}".rstrip())


def show_table(rows):
    width = max(6, *(len(row["policy"]) for row in rows))
    print(f"{'policy':{width}}  {'right':>8}  {'KV cache':>16}  {'at most':>10}  {'tokens/s':>8}")
    for row in rows:
        speed = f"{row['decode_tokens_per_s']:.0f}" if row["decode_tokens_per_s"] else "-"
        held, peak = (row[f"kv_bytes_{name}"] / MEBIBYTE for name in ("held", "peak"))
        print(f"{row['policy']:{width}}  {row['right']:>2} of {row['asked']:<2}  {held:>6.2f} MiB {100 * row['kv_share']:>3.0f} %"
              f"  {peak:>6.2f} MiB  {speed:>8}")


def document(asked):
    return asked[0]["messages"][0].rpartition("\n\n")[0] # without the question


def show(options, asked, rows, seconds):
    if options.show_document:
        print(f"{document(asked)}\n")
    tokens = statistics.fmean(sample["prompt_tokens"] for sample in asked)
    reading = statistics.fmean(sample["prefill_s"] for sample in asked)
    print(f"A made-up document with eight facts hidden in it, seed {options.seed}: {tokens:.0f} tokens with a question. It was\n"
          f"read once for each question, in {reading:.1f} s, and answered under each policy.\n")
    show_questions(asked)
    print()
    show_table(rows)
    print("""
yes, right  the answer contains what was hidden; part: some of it
KV cache    the rows that are kept when the answer is done, and their share of the full cache
at most     the most KV memory at any moment, reading included
tokens/s    of the answer, one at a time
""")
    print(textwrap.fill(conclusion(rows, options.budget), 110))
    print(f"{seconds:.0f} s in all. So few questions about one document say little of a policy: --seed 2 asks others, and\n"
          "README.md has what was measured on more. Every answer, as a web page:\n"
          f"    {shlex.join([command(options)[0], 'report', os.path.relpath(options.output)])}")


def main():
    options, started = read_options(), time.monotonic()
    try:
        asked = run(options)
    except KeyboardInterrupt:
        sys.exit("\ndemo.sh: stopped")
    rows = summaries(asked)
    if options.json:
        questions = [{name: sample[name] for name in ("question", "references", "depth", "results")} for sample in asked]
        print(json.dumps({name: getattr(options, name) for name in ("seed", "budget", "tokens")}
                         | {"document": document(asked), "questions": questions, "policies": rows,
                            "conclusion": conclusion(rows, options.budget)}))
    else:
        show(options, asked, rows, time.monotonic() - started)


if __name__ == "__main__":
    main()
