#!/usr/bin/env python3
"""The demo of judgeq: a document that is read once, a small KV cache, and what each policy still answers from it.

    ./demo.sh                                  seed 1: full, streaming, snapkv, judge, judge-laq
    ./demo.sh --seed 7 --budget 128            another document with other facts, a smaller cache
    ./demo.sh --policies 'h2o;judge' --show-document

The document and the eight facts in it are made up by the seed. Under each policy, `judgeq ingest` reads it once, before
any question is known, and keeps its rows in a file. `judgeq run --context` then asks for one fact after the other, from
this file alone. What comes out is shown as it is.
"""
import argparse
import json
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import time

import demo_report
import demo_text

ROOT = pathlib.Path(__file__).resolve().parent.parent


def read_options():
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgeq", metavar="PROGRAM", default=ROOT / "build/release/judgeq", type=pathlib.Path,
                        help="(%(default)s)")
    parser.add_argument("--judge", metavar="FILE", help="the judge (judgeq's own for the model)")
    parser.add_argument("-m", "--model", metavar="FILE", help="the model (the default model)")
    parser.add_argument("-n", dest="response_tokens", metavar="N", type=int, default=24,
                        help="longest response in tokens (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, help="threads that compute (one per core)")
    parser.add_argument("--policies", default="streaming;snapkv;judge;judge-laq",
                        help="separated by ';', beside the full cache (%(default)s)")
    parser.add_argument("--budget", type=int, default=384, help="rows per layer and KV head (%(default)s)")
    parser.add_argument("--words", type=int, default=1200, help="of the document (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of document and facts (%(default)s)")
    parser.add_argument("--questions", type=int, default=len(demo_text.FACTS), choices=range(1, len(demo_text.FACTS) + 1),
                        metavar="N", help="about the document (%(default)s)")
    parser.add_argument("--show-document", action="store_true", help="print the document first")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=pathlib.Path, default=ROOT / "build/demo",
                        help="for the document, and what each policy keeps of it (%(default)s)")
    options = parser.parse_args()
    named = [policy.strip() for policy in options.policies.split(";")]
    options.policies = ["full"] + [policy for policy in named if policy and policy != "full"]
    if len(options.policies) == 1:
        parser.error("--policies names no policy beside the full cache")
    return options


def note(text):
    print(f"demo.sh: {text}", file=sys.stderr, flush=True)


def shown(line):
    return shlex.join(os.path.relpath(part) if isinstance(part, pathlib.Path) else str(part) for part in line)


def command(options, name, *more):
    line = [options.judgeq, name, *more]
    for option, value in (("-m", options.model), ("--judge", options.judge), ("-t", options.threads)):
        if value is not None:
            line += [option, value]
    return line


def judgeq(options, name, *more):
    """The JSON object of a command."""
    line = command(options, name, "--json", "--quiet", *more)
    try:
        done = subprocess.run([str(part) for part in line], stdout=subprocess.PIPE, encoding="utf-8", check=False)
    except OSError as error:
        sys.exit(f"demo.sh: cannot run {options.judgeq}: {error.strerror}; ./demo.sh builds it")
    if done.returncode != 0:
        sys.exit(done.returncode) # it has said why
    return json.loads(done.stdout)


def file_of(options, policy):
    return options.output / (re.sub(r"[^a-z0-9.+-]+", "_", policy) + ".kv")


def is_right(text, fact):
    return fact.answer.casefold() in text.casefold()


def ask(options, path, fact):
    said = judgeq(options, "run", "-n", options.response_tokens, "--context", path, "-p", fact.question)
    return {"question": fact.question, "answer": said["text"], "right": is_right(said["text"], fact),
            "first_token_s": said["load_s"] + said["ttft_s"]} \
        | {name: said[name] for name in ("decode_tokens_per_s", "kv_bytes_held", "kv_bytes_peak")}


def summary(policy, read, answers):
    """What the table has of a policy, and the answers."""
    speeds = [answer["decode_tokens_per_s"] for answer in answers if answer["decode_tokens_per_s"]]
    first = statistics.median(answer["first_token_s"] for answer in answers)
    return {"policy": policy, "policy_text": read["policy"], "document_tokens": read["tokens"],
            "right": sum(answer["right"] for answer in answers), "asked": len(answers),
            "kv_bytes_held": max(answer["kv_bytes_held"] for answer in answers),
            "kv_bytes_peak": max(read["kv_bytes_peak"], *(answer["kv_bytes_peak"] for answer in answers)),
            "decode_tokens_per_s": statistics.median(speeds) if speeds else None, "read_s": read["read_s"],
            "first_token_s": first, "first_token_reading_again_s": first + read["read_s"], "answers": answers}


def try_policy(options, policy, document, facts):
    path, started = file_of(options, policy), time.monotonic()
    budget = [] if policy == "full" else ["--budget", options.budget]
    read = judgeq(options, "ingest", "--policy", policy, *budget, document, "-o", path)
    answers = [ask(options, path, fact) for fact in facts]
    row = summary(policy, read, answers)
    note(f"{policy}: {row['right']} of {row['asked']}, {time.monotonic() - started:.0f} s")
    return row


def main():
    options, started = read_options(), time.monotonic()
    text, facts = demo_text.document(options.seed, options.words)
    facts = facts[:options.questions]
    document = options.output / "document.txt"
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        document.write_text(text, encoding="utf-8")
    except OSError as error:
        sys.exit(f"demo.sh: cannot write {document}: {error.strerror}; -o names another folder")
    try:
        rows = [try_policy(options, policy, document, facts) for policy in options.policies]
    except KeyboardInterrupt:
        sys.exit("\ndemo.sh: stopped")
    demo_report.add_shares(rows)
    if options.json:
        print(json.dumps({name: getattr(options, name) for name in ("seed", "budget", "words")}
                         | {"document": text, "questions": [fact.__dict__ for fact in facts], "policies": rows,
                            "conclusion": demo_report.conclusion(rows, options.budget)}))
        return
    if options.show_document:
        print(f"{text}\n")
    demo_report.show(rows, facts, options.seed, options.budget)
    best = max(rows[1:], key=lambda row: row["right"])["policy"]
    line = command(options, "run", "--context", file_of(options, best), "-p", facts[0].question)
    print(f"{time.monotonic() - started:.0f} s in all. Eight questions about one document say little of a policy: --seed 2 "
          "asks others, and\nREADME.md has what was measured on more. A question of your own, without reading again:\n"
          f"    {shown(line)}")



if __name__ == "__main__":
    main()
