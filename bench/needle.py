#!/usr/bin/env python3
"""Accuracy of policies on needle prompts: how often the answer comes out of what is left of the KV cache.

    bench/needle.py --policies 'full;streaming;snapkv;judge;judge-laq' --budgets 64,128 --tokens 900 --prompts 24
    bench/needle.py --policy judge --policy judge,smooth=none --budgets 64 -o build/needle

Every prompt is read once and answered with every policy and budget, greedily. One JSON line per answer goes to
FOLDER/needle.jsonl, so an interrupted measurement goes on where it stopped; answers that are there already are not
repeated. The lines belong to one build: use another folder for another. At the end a table: score (mean share of the
references found) with one standard error, right answers (all references found), means of the KV memory and of the speed.
The worker is build/release/answers: cmake --build --preset release --target bench
"""
import argparse
import hashlib
import json
import os
import pathlib
import statistics
import sys
import time

import facts
import runner

MEBIBYTE = 1 << 20
FROM_JUDGEQ = ("prompt_tokens", "completion_tokens", "policy", "budget", "kv_bytes_full", "kv_bytes_held",
               "kv_bytes_peak", "decode_tokens_per_s", "score_s")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runner.add_options(parser)
    parser.add_argument("--policies", default="", help="policies, separated by ';'")
    parser.add_argument("--policy", action="append", default=[], help="one more policy; may be given several times")
    parser.add_argument("--budgets", default="64,128", help="rows per KV head, separated by ',' (%(default)s)")
    parser.add_argument("--tokens", type=int, default=900, help="length of a prompt, roughly (%(default)s)")
    parser.add_argument("--prompts", type=int, default=24, help="how many (%(default)s)")
    parser.add_argument("--facts", type=int, default=4, help="facts in a prompt, one of them asked (%(default)s)")
    parser.add_argument("--kinds", default=",".join(facts.KINDS), help="kinds of facts, in turn (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the prompts (%(default)s)")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=pathlib.Path, default=runner.ROOT / "build/needle",
                        help="where needle.jsonl is kept (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object instead of a table")
    options = parser.parse_args()
    named = [policy.strip() for policy in options.policies.split(";") if policy.strip()]
    options.policies = list(dict.fromkeys(named + options.policy))
    if not options.judge and not options.model:
        options.judge = runner.SHIPPED_JUDGE
    options.policies = options.policies or ["full", "streaming", "snapkv", "judge", "judge-laq"]
    options.kinds = [kind for kind in options.kinds.split(",") if kind]
    unknown = [kind for kind in options.kinds if kind not in facts.KINDS]
    if unknown or not options.kinds:
        parser.error(f"--kinds {','.join(unknown)}: the kinds are {', '.join(facts.KINDS)}")
    try:
        options.budgets = [int(budget) for budget in options.budgets.split(",")]
    except ValueError:
        parser.error("--budgets takes whole numbers separated by ','")
    if not 1 <= options.facts <= facts.FACTS_MOST:
        parser.error(f"--facts must be 1 to {facts.FACTS_MOST}")
    return options


# ---- the record of runs ----------------------------------------------------------------------------------------------


def digest(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def file_digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:16] if path else None


def read_record(path):
    """{key: line} of the runs so far. A line that a kill cut short is dropped from the file."""
    lines, whole = {}, 0
    text = path.read_bytes() if path.exists() else b""
    for line in text.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        entry = json.loads(line)
        lines[entry["key"]] = entry
        whole += len(line)
    if whole < len(text):
        with path.open("r+b") as file:
            file.truncate(whole)
    return lines


def append(path, entry):
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


# ---- running ---------------------------------------------------------------------------------------------------------


def arms(options):
    """(policy, budget) in the order given; the full cache has no budget."""
    return [(policy, budget) for policy in options.policies
            for budget in ([None] if policy == "full" else options.budgets)]


def entry_of(prompt, policy, budget, key, result):
    entry = {"key": key, "asked_policy": policy, "asked_budget": budget, "seed": prompt.seed, "kind": prompt.fact.kind,
             "depth": prompt.depth, "question": prompt.question, "references": prompt.fact.references,
             "response": result["text"], "score": facts.score(result["text"], prompt.fact.references)}
    return entry | {name: result[name] for name in FROM_JUDGEQ}


def measure(options):
    """The entries of every run asked for: prompt by prompt, so that an interrupted table compares like with like."""
    same = [str(options.model), str(file_digest(options.judge)), str(options.response_tokens)]
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "needle.jsonl"
    record, entries, new, started = read_record(path), [], 0, time.monotonic()
    prompts = facts.make_prompts(options.seed, options.prompts, options.tokens, options.kinds, options.facts)
    worker = runner.Answers(options.answers, options.judge, options.model, options.threads, options.response_tokens)
    for number, prompt in enumerate(prompts, 1):
        keys = {arm: digest(prompt.document, prompt.question, arm[0], str(arm[1]), *same) for arm in arms(options)}
        missing = [arm for arm, key in keys.items() if key not in record]
        if missing:
            for arm, result in zip(missing, worker.ask(prompt.document, prompt.question, missing)):
                record[keys[arm]] = entry_of(prompt, *arm, keys[arm], result)
                append(path, record[keys[arm]])
            new += 1
            left = (time.monotonic() - started) / new * (len(prompts) - number)
            print(f"{number} of {len(prompts)}: {prompt.fact.kind}, about {left / 60:.0f} min left", file=sys.stderr)
        entries += [record[key] for key in keys.values()]
    worker.close()
    return entries


# ---- the tables ------------------------------------------------------------------------------------------------------


def mean(values):
    """Of those that are there: a response of one token has no decode speed."""
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def summary(entries):
    """One row: score and its standard error (of the mean, from the spread between prompts) and means."""
    scores = [entry["score"] for entry in entries]
    error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else None
    row = {"prompts": len(scores), "score": mean(scores), "error": error, "right": sum(s == 1 for s in scores)}
    numbers = [name for name in FROM_JUDGEQ if name not in ("policy", "budget")]
    return row | {name: mean([entry[name] for entry in entries]) for name in numbers}


def rows(entries, options):
    table = []
    for policy, budget in arms(options):
        mine = [e for e in entries if (e["asked_policy"], e["asked_budget"]) == (policy, budget)]
        kinds = {kind: mean([e["score"] for e in mine if e["kind"] == kind]) for kind in options.kinds}
        row = {"policy": policy, "choices": mine[0]["policy"], "budget": budget}
        table.append(row | summary(mine) | {"kinds": kinds})
    return table


def percent(value):
    return "-" if value is None else f"{100 * value:.0f}"


def show(table):
    first = table[0]
    print(f"{first['prompts']} prompts of {first['prompt_tokens']:.0f} tokens on average; score in %, +- one "
          "standard error")
    width = max(len(row["policy"]) for row in table)
    print(f"{'policy':{width}}  budget  score       right  KV held MiB  of full  KV peak MiB  tokens/s")
    for row in table:
        held, full, peak = (row[f"kv_bytes_{name}"] for name in ("held", "full", "peak"))
        speed = "-" if row["decode_tokens_per_s"] is None else f"{row['decode_tokens_per_s']:.0f}"
        print(f"{row['policy']:{width}}  {row['budget'] or '-':>6}"
              f"  {percent(row['score']):>3} +- {percent(row['error']):>2}  {row['right']:>5}/{row['prompts']:<3}"
              f"  {held / MEBIBYTE:>9.2f}  {100 * held / full:>6.1f}%"
              f"  {peak / MEBIBYTE:>11.2f}  {speed:>8}")
    kinds = list(table[0]["kinds"])
    print(f"\n{'score by kind':{width}}  budget  " + "  ".join(kinds))
    for row in table:
        cells = "  ".join(f"{percent(row['kinds'][kind]):>{len(kind)}}" for kind in kinds)
        print(f"{row['policy']:{width}}  {row['budget'] or '-':>6}  {cells}")


def main():
    options = read_options()
    try:
        table = rows(measure(options), options)
    except runner.JudgeqFailed as error:
        sys.exit(f"needle.py: {error}")
    except KeyboardInterrupt:
        sys.exit("\nneedle.py: stopped; the same command goes on from here")
    if options.json:
        settings = {name: getattr(options, name) for name in ("seed", "tokens", "prompts", "facts", "kinds")}
        print(json.dumps({"settings": settings, "rows": table}))
    else:
        show(table)


if __name__ == "__main__":
    main()
