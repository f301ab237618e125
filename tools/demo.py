#!/usr/bin/env python3
"""The demo of judgeq: questions about one long document, a small KV cache, and what each policy answers.

    ./demo.sh                                  seed 1: 8 questions; full, streaming, snapkv, judge, judge-laq
    ./demo.sh --seed 7 --budget 128            another document and other questions, a smaller cache
    ./demo.sh --policies 'full;h2o;judge' --show-document
    ./demo.sh --fact 'The cellar floods in May.' 'When does the cellar flood?' 'May'

The document and the facts hidden in it are made up by the seed (bench/facts.py). Each question is asked on its own: the
model reads the document with that question at its end, every policy keeps its rows, and answers from them. What comes out
is shown as it is; seed 1 is the first one there is, and nothing was chosen for its success.
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import facts
import runner

MEBIBYTE = 1 << 20


def read_options():
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    runner.add_options(parser, tokens=32)
    parser.add_argument("--policies", default="full;streaming;snapkv;judge;judge-laq",
                        help="separated by ';' (%(default)s)")
    parser.add_argument("--budget", type=int, default=256, help="rows per layer and KV head (%(default)s)")
    parser.add_argument("--tokens", type=int, default=2500, help="length of a prompt, roughly (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of document, facts and questions (%(default)s)")
    parser.add_argument("--questions", type=int, default=8, help="about the document (%(default)s)")
    parser.add_argument("--fact", nargs=3, metavar=("TEXT", "QUESTION", "ANSWER"), action="append", default=[],
                        help="a fact of your own, to hide and to ask for instead; may be given several times")
    parser.add_argument("--show-document", action="store_true", help="print the document first")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    options = parser.parse_args()
    options.policies = [policy.strip() for policy in options.policies.split(";") if policy.strip()]
    if not options.policies:
        parser.error("--policies names no policy")
    if not 1 <= options.questions <= facts.QUESTIONS_MOST:
        parser.error(f"--questions must be 1 to {facts.QUESTIONS_MOST}")
    if any(not text.strip() for fact in options.fact for text in fact):
        parser.error("--fact: the text, the question and the answer must not be empty")
    if not options.judge and not options.model and runner.SHIPPED_JUDGE.exists():
        options.judge = runner.SHIPPED_JUDGE
    return options


def make_prompts(options):
    if options.fact:
        own = [facts.Fact("own", (text,), question, ((answer,),)) for text, question, answer in options.fact]
        return facts.ask_all(options.seed, options.tokens, own)
    return facts.make_questions(options.seed, options.tokens, options.questions)


def run(options, prompts):
    """[{"question", "references", "answers": one result for each policy, with its score}]"""
    arms = [(policy, None if policy == "full" else options.budget) for policy in options.policies]
    worker = runner.Answers(options.answers, options.judge, options.model, options.threads, options.response_tokens)
    asked = []
    for number, prompt in enumerate(prompts, 1):
        print(f"{number} of {len(prompts)}: {prompt.fact.question}", file=sys.stderr, flush=True)
        answers = worker.ask(prompt.document, prompt.question, arms)
        for answer in answers:
            answer["right"] = facts.score(answer["text"], prompt.fact.references) == 1
        asked.append({"question": prompt.fact.question, "fact": prompt.fact.sentences[0], "depth": prompt.depth,
                      "references": prompt.fact.references, "answers": answers})
    worker.close()
    return asked


# ---- what was seen ---------------------------------------------------------------------------------------------------


def summaries(options, asked):
    """One for each policy."""
    rows = []
    for index, policy in enumerate(options.policies):
        mine = [question["answers"][index] for question in asked]
        speeds = [one["decode_tokens_per_s"] for one in mine if one["decode_tokens_per_s"]]
        rows.append({"policy": policy, "right": sum(one["right"] for one in mine), "asked": len(mine),
                     "kv_share": statistics.fmean(one["kv_bytes_held"] / one["kv_bytes_full"] for one in mine),
                     "decode_tokens_per_s": statistics.fmean(speeds) if speeds else None}
                    | {name: max(one[name] for one in mine) for name in ("kv_bytes_held", "kv_bytes_peak")})
    return rows


def conclusion(rows, budget):
    """One sentence made of the results, whatever they are."""
    full = [row for row in rows if row["policy"] == "full"]
    small = [row for row in rows if row["policy"] != "full"]
    parts = [f"with the full cache {row['right']} of {row['asked']} answers were right" for row in full]
    if small:
        counts = ", ".join(f"{row['right']} with {row['policy']}" for row in small)
        parts.append(f"with {budget} rows per layer and KV head, {100 * max(row['kv_share'] for row in small):.0f} % of "
                     f"the KV memory, {counts}" + ("" if full else f", of {small[0]['asked']}"))
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:]


def show_questions(options, asked):
    width = max(len(question["question"]) for question in asked)
    answer = max(len(question["references"][0][0]) for question in asked)
    print(f"{'what was asked':{width}}  {'hidden':{answer}}  {'  '.join(options.policies)}")
    for question in asked:
        marks = "  ".join(f"{'yes' if one['right'] else '-':{len(policy)}}"
                          for policy, one in zip(options.policies, question["answers"]))
        print(f"{question['question']:{width}}  {question['references'][0][0]:{answer}}  {marks}".rstrip())


def show_table(rows):
    width = max(6, *(len(row["policy"]) for row in rows))
    print(f"{'policy':{width}}  {'right':>8}  {'KV cache':>16}  {'at most':>10}  {'tokens/s':>8}")
    for row in rows:
        speed = f"{row['decode_tokens_per_s']:.0f}" if row["decode_tokens_per_s"] else "-"
        held, peak = (row[f"kv_bytes_{name}"] / MEBIBYTE for name in ("held", "peak"))
        print(f"{row['policy']:{width}}  {row['right']:>2} of {row['asked']:<2}  {held:>6.2f} MiB {100 * row['kv_share']:>3.0f} %"
              f"  {peak:>6.2f} MiB  {speed:>8}")


def show(options, prompts, asked, rows, seconds):
    first = asked[0]["answers"][0]
    if options.show_document:
        print(prompts[0].document)
    reading = statistics.fmean(question["answers"][0].get("blocks_s", 0) for question in asked)
    count = f"{len(asked)} facts" if len(asked) > 1 else "one fact"
    print(f"A made-up document with {count} hidden in it, seed {options.seed}: {first['prompt_tokens']} tokens with "
          f"a question. It was\nread once for each question, in {reading:.1f} s, and answered under each policy.\n")
    show_questions(options, asked)
    print()
    show_table(rows)
    print("""
yes, right  the answer contains what was hidden
KV cache    the rows that are kept when the answer is done, and their share of the full cache
at most     the most KV memory at any moment, reading included
tokens/s    of the answer, one at a time
""")
    print(conclusion(rows, options.budget))
    print(f"{seconds:.0f} s in all. So few questions about one document say little of a policy: --seed 2 asks others, and\n"
          "README.md has what was measured on hundreds of prompts.")


def main():
    options, started = read_options(), time.monotonic()
    prompts = make_prompts(options)
    try:
        asked = run(options, prompts)
    except runner.JudgeqFailed as error:
        sys.exit(f"demo.py: {error}")
    except KeyboardInterrupt:
        sys.exit("\ndemo.py: stopped")
    rows = summaries(options, asked)
    if options.json:
        keep = ("seed", "budget", "tokens")
        print(json.dumps({name: getattr(options, name) for name in keep}
                         | {"document": prompts[0].document, "questions": asked, "policies": rows,
                            "conclusion": conclusion(rows, options.budget)}))
    else:
        show(options, prompts, asked, rows, time.monotonic() - started)


if __name__ == "__main__":
    main()
