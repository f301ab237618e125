#!/usr/bin/env python3
"""The tables of docs/results.md, of what `judgeq eval ... --json` printed; standard library only.

    judgeq eval own --length 1024 ... -o results-1024 --json >1024.json
    judgeq eval own --length 1024 ... -o results-1024 --versus judge --json >1024-judge.json
    bench/results.py --title '1,024 tokens' 1024.json 1024-judge.json

Of the first file of a run come its scores, hit rates and masses, a row per policy and a column per budget, and the scores of every
task at one budget; of every file the paired tests of its policy against the others.
"""
import argparse
import json


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    print("\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n")


def number(value, scale=100, digits=0):
    return "" if value is None else f"{scale * value:.{digits}f}"


def interval(value):
    return "" if value is None else f"{number(value['mean'])} ({number(value['low'])}, {number(value['high'])})"


def ordered(values):
    return list(dict.fromkeys(values))


def show_measure(group, measure, show):
    """Policies by budgets; the full cache, which has no budget, stands in every column."""
    cells = {(row["policy"], row["budget"]): row[measure] for row in group["rows"]}
    policies = ordered(row["policy"] for row in group["rows"])
    budgets = ordered(row["budget"] for row in group["rows"] if row["budget"] is not None)
    table(["policy", *budgets],
          [[policy, *(show(cells.get((policy, budget), cells.get((policy, None)))) for budget in budgets)]
           for policy in policies])


def show_tasks(groups, budget):
    policies = ordered(row["policy"] for row in groups[0]["rows"])
    def scores(group):
        return {row["policy"]: row["score"] for row in group["rows"] if row["budget"] in (None, budget)}
    columns = [scores(group) for group in groups]
    table(["policy", *(group["task"] for group in groups)],
          [[policy, *(number(column[policy]["mean"]) for column in columns)] for policy in policies])


def show_paired(paired):
    """The difference in points with its interval and p, of one policy to the others."""
    others, budgets = ordered(test["other"] for test in paired), ordered(test["budget"] for test in paired)
    cells = {(test["other"], test["budget"]): f"{interval(test['difference'])} p {test['p']:.3f}" for test in paired}
    table([f"{paired[0]['policy']} less", *budgets],
          [[other, *(cells.get((other, budget), "") for budget in budgets)] for other in others])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="what judgeq eval --json printed")
    parser.add_argument("--task-budget", default="128", metavar="B", help="of the table by task (%(default)s)")
    parser.add_argument("--title", required=True, help="of these tables, '1,024 tokens' for instance")
    options = parser.parse_args()
    runs = []
    for name in options.files:
        with open(name, encoding="utf-8") as file:
            runs.append(json.load(file))
    everything, *tasks = runs[0]["groups"]
    print(f"## {options.title}\n\n{everything['samples']} samples of {everything['prompt_tokens']:.0f} tokens on average.\n")
    print(f"### Score, {options.title}\n")
    show_measure(everything, "score", interval)
    for measure, name in (("hit_rate", "Critical KV hit rate"), ("mass_kept", "Attention mass kept")):
        print(f"### {name}, {options.title}\n")
        show_measure(everything, measure, lambda value: number(value and value["mean"], digits=1))
    if tasks:
        print(f"### Score by task, {options.title}, {options.task_budget} rows\n")
        show_tasks(tasks, options.task_budget)
    for policy, paired in {run["paired"][0]["policy"]: run["paired"] for run in runs}.items():
        print(f"### {policy} against the others, {options.title}\n")
        show_paired(paired)


if __name__ == "__main__":
    main()
