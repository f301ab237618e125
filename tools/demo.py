#!/usr/bin/env python3
"""The demo of judgeq: one long document, one question, one small KV cache budget, and a row for every policy.

    ./demo.sh                                  seed 1: full, streaming, snapkv and judge
    ./demo.sh --seed 7 --budget 512            another document and question, a larger cache
    ./demo.sh --policies 'full;judge;judge-laq' --show-document
    ./demo.sh --fact 'The cellar floods in May.' 'When does the cellar flood?' 'May'

The document is made up by the seed (bench/facts.py), several facts are hidden in it, and the one that is asked about
stands in the middle. What comes out is shown as it is; nothing is chosen for its success. How often each policy is
right over many documents is what bench/needle.py measures.
"""
import argparse
import json
import pathlib
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import facts
import prose
import runner

MEBIBYTE = 1 << 20


def read_options():
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    runner.add_options(parser, tokens=48)
    parser.add_argument("--policies", default="full;streaming;snapkv;judge", help="separated by ';' (%(default)s)")
    parser.add_argument("--budget", type=int, default=256, help="rows per layer and KV head (%(default)s)")
    parser.add_argument("--tokens", type=int, default=2500, help="length of the prompt, roughly (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of document, facts and question (%(default)s)")
    parser.add_argument("--facts", type=int, default=4, help="facts in the document, one of them asked (%(default)s)")
    parser.add_argument("--kind", choices=facts.KINDS, help="the kind of fact that is asked about (by the seed)")
    parser.add_argument("--depth", type=float, default=0.5,
                        help="where the fact stands, 0 the beginning and 1 the end (%(default)s)")
    parser.add_argument("--fact", nargs=3, metavar=("TEXT", "QUESTION", "ANSWER"), action="append", default=[],
                        help="a fact of your own; the first is asked about, others are only hidden")
    parser.add_argument("--show-document", action="store_true", help="print the document first")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    options = parser.parse_args()
    options.policies = [policy.strip() for policy in options.policies.split(";") if policy.strip()]
    if not options.policies:
        parser.error("--policies names no policy")
    if not 0 <= options.depth <= 1:
        parser.error("--depth must be 0 to 1")
    if not 1 <= options.facts <= facts.FACTS_MOST:
        parser.error(f"--facts must be 1 to {facts.FACTS_MOST}")
    if any(not text.strip() for fact in options.fact for text in fact):
        parser.error("--fact: the text, the question and the answer must not be empty")
    if not options.judge and not options.model and runner.SHIPPED_JUDGE.exists():
        options.judge = runner.SHIPPED_JUDGE
    return options


def make_prompt(options):
    if options.fact:
        own = [facts.Fact("own", (text,), question, ((answer,),)) for text, question, answer in options.fact]
        return facts.assemble(options.seed, options.tokens, own[0], own[1:], options.depth)
    kind = options.kind or prose.pick(random.Random(f"demo {options.seed}"), facts.SHORT)
    return facts.make_prompt(options.seed, options.tokens, kind, options.depth, options.facts)


def run(options, prompt):
    judgeq, results = runner.from_options(options), []
    for number, policy in enumerate(options.policies, 1):
        print(f"{number} of {len(options.policies)}: {policy} ...", file=sys.stderr, flush=True)
        budget = None if policy == "full" else options.budget
        result = judgeq.ask(prompt.document, prompt.question, policy, budget)
        share = facts.score(result["text"], prompt.fact.references)
        results.append({"policy": policy, "right": share == 1, "score": share} | {"run": result})
    return results


# ---- what was seen ---------------------------------------------------------------------------------------------------


def cut(text, width):
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3] + "..."


def join(names):
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def outcome(results):
    """ "right with judge, wrong with streaming and snapkv" """
    names = {word: [result["policy"] for result in results if result["right"] is right]
             for word, right in (("right", True), ("wrong", False))}
    return ", ".join(f"{word} with {join(policies)}" for word, policies in names.items() if policies)


def conclusion(results, budget):
    """One sentence made of the results, whatever they are."""
    full = [result for result in results if result["policy"] == "full"]
    small = [result for result in results if result["policy"] != "full"]
    parts = []
    if full:
        parts.append(f"with the full cache the answer was {'right' if full[0]['right'] else 'wrong'}")
    if small:
        share = max(r["run"]["kv_bytes_held"] / r["run"]["kv_bytes_full"] for r in small)
        parts.append(f"with {budget} rows per layer and KV head, {100 * share:.0f} % of the KV memory, "
                     f"{'it' if full else 'the answer'} was {outcome(small)}")
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:]


def show(options, prompt, results):
    first = results[0]["run"]
    if options.show_document:
        print(prompt.document)
    print(f"Read: {first['prompt_tokens']} tokens, seed {options.seed}. Hidden in it, {100 * prompt.depth:.0f} % in:")
    for sentence in prompt.fact.sentences:
        print(f"  {sentence}")
    print(f"Asked at the end: {prompt.question}\n")
    name = max(6, *map(len, options.policies))
    print(f"{'policy':{name}}  right  KV MiB  peak MiB  tokens/s  first token  answer")
    for result in results:
        one = result["run"]
        held, peak = (one[f"kv_bytes_{which}"] / MEBIBYTE for which in ("held", "peak"))
        speed = f"{one['decode_tokens_per_s']:.0f}" if one["decode_tokens_per_s"] else "-"
        first_token = f"{one['ttft_s']:.1f} s" if one["ttft_s"] else "-"
        print(f"{result['policy']:{name}}  {'yes' if result['right'] else 'no':5}  {held:>6.2f}  {peak:>8.2f}"
              f"  {speed:>8}  {first_token:>11}  {cut(one['text'], 100)}")
    print(f"\n{conclusion(results, options.budget)}")
    print("One question says little about a policy: try --seed 2, or measure with bench/needle.py.")


def main():
    options = read_options()
    prompt = make_prompt(options)
    try:
        results = run(options, prompt)
    except runner.JudgeqFailed as error:
        sys.exit(f"demo.py: {error}")
    except KeyboardInterrupt:
        sys.exit("\ndemo.py: stopped")
    if options.json:
        keep = ("seed", "budget", "tokens")
        print(json.dumps({name: getattr(options, name) for name in keep}
                         | {"depth": prompt.depth, "question": prompt.question, "references": prompt.fact.references,
                            "facts": prompt.fact.sentences, "document": prompt.document, "results": results,
                            "conclusion": conclusion(results, options.budget)}))
    else:
        show(options, prompt, results)


if __name__ == "__main__":
    main()
