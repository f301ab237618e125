#!/usr/bin/env python3
"""judgeq beside kvpress (PyPI, on PyTorch): the same prompts, policies and budgets, in turn, one thread each.

kvpress runs the same GGUF file's weights in F32. It reads the tokens that `judgeq eval --prompts` notes, evicts after
the whole prompt, and decodes greedily as its own pipeline does; a press has its ratio set such that it keeps `budget`
rows. judgeq reads a prompt once for all policies, kvpress once for each.

    python3 -m venv venv && venv/bin/pip install kvpress==0.5.5 gguf
    venv/bin/python bench/peers/compare.py -o results-peers

A finished sample is one line of FOLDER/peers.jsonl; the same command continues there."""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time

WINDOW, KERNEL, SINK = 32, 7, 4
ADA_FLOOR, PYRAMID = 0.2, 20

# What each is called in judgeq. kvpress smooths by means, so judgeq does here, too.
POLICIES = {
    "random": "random",
    "streaming": "streaming",
    "tova": "tova",
    "h2o": "h2o",
    "snapkv": f"snapkv,probe=window:{WINDOW},smooth=avg:{KERNEL},keep=recent:{WINDOW}",
    "pyramidkv": f"pyramidkv,probe=window:{WINDOW},smooth=avg:{KERNEL},allocate=pyramid:{PYRAMID},keep=recent:{WINDOW}",
    "adakv": f"adakv,probe=window:{WINDOW},smooth=avg:{KERNEL},allocate=ada:{ADA_FLOOR},keep=recent:{WINDOW}",
}


def make_press(name, ratio, seed):
    import kvpress
    window = {"compression_ratio": ratio, "window_size": WINDOW, "kernel_size": KERNEL}
    return {
        "random": lambda: kvpress.RandomPress(ratio, seed=seed),
        "streaming": lambda: kvpress.StreamingLLMPress(ratio, n_sink=SINK),
        "tova": lambda: kvpress.TOVAPress(ratio),
        "h2o": lambda: kvpress.ObservedAttentionPress(ratio),
        "snapkv": lambda: kvpress.SnapKVPress(**window),
        "pyramidkv": lambda: kvpress.PyramidKVPress(**window, beta=PYRAMID),
        "adakv": lambda: kvpress.AdaKVPress(kvpress.SnapKVPress(**window), alpha_safeguard=ADA_FLOOR),
    }[name]()


class Peer:
    """The model on PyTorch, and what kvpress answers."""

    CONTROL = 3  # type of tokens that are no text

    def __init__(self, path):
        os.environ["TQDM_DISABLE"] = "1"
        import gguf
        import torch
        import transformers
        torch.set_num_threads(1)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        where = {"pretrained_model_name_or_path": os.path.dirname(path), "gguf_file": os.path.basename(path)}
        self.torch, self.cache = torch, transformers.DynamicCache
        self.model = transformers.AutoModelForCausalLM.from_pretrained(dtype=torch.float32, **where).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
        types = gguf.GGUFReader(path).fields["tokenizer.ggml.token_type"].contents()
        self.ends = {token for token, kind in enumerate(types) if kind == self.CONTROL}

    def answer(self, prompt, policy, budget, most, seed):
        """The answer's text, and the rows held per layer and KV head (mean over the layers)."""
        import contextlib
        ratio = 1 - (budget + 0.5) / len(prompt)  # kvpress keeps the whole part of (1 - ratio) * rows
        press = make_press(policy, ratio, seed)(self.model) if policy != "full" else contextlib.nullcontext()
        self.model.set_attn_implementation("eager" if policy == "h2o" else "sdpa")  # observed attention needs it
        cache = self.cache()
        with self.torch.no_grad():
            with press:
                logits = self.model(self.torch.tensor([prompt]), past_key_values=cache, logits_to_keep=1).logits
            rows = sum(layer.keys.shape[2] for layer in cache.layers) / len(cache.layers)
            tokens = []
            while len(tokens) < most:
                token = int(logits[0, -1].argmax())
                if token in self.ends:
                    break
                position = self.torch.tensor([[len(prompt) + len(tokens)]])
                tokens.append(token)
                if len(tokens) < most:
                    logits = self.model(self.torch.tensor([[token]]), past_key_values=cache, position_ids=position).logits
        return self.tokenizer.decode(tokens), rows


def score(answer, references):
    return sum(reference.lower() in answer.lower() for reference in references) / len(references)


def peak_bytes(pid):
    """Most memory that a running process has held; 0 once it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def run_judgeq(o, n_samples):
    """Adds the samples up to n_samples; seconds of its processes, wall and processor, and peak bytes."""
    command = [o.judgeq, "eval", o.tasks, "-m", o.model, "--length", str(o.length), "--samples", str(n_samples), "--seed",
               str(o.seed), "--budgets", ",".join(map(str, o.budgets)), "--policies",
               ";".join(POLICIES[policy] for policy in o.policies), "-n", str(o.tokens), "-t", "1", "--prompts", "--quiet",
               "-o", os.path.join(o.output, "judgeq")]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak, pid = 0, 0
    while pid == 0:
        peak = max(peak, peak_bytes(process.pid))  # wait4's would count this program's own, before it became judgeq
        time.sleep(0.02)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"compare.py: judgeq eval failed with status {process.returncode}")
    return {"wall_s": time.monotonic() - start, "cpu_s": usage.ru_utime + usage.ru_stime, "peak": peak}


def read_lines(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def run_kvpress(o, peer, line):
    """What kvpress answers under every policy and budget, and the seconds of each."""
    results = []
    for policy in ["full"] + o.policies:
        for budget in o.budgets if policy != "full" else [len(line["prompt"])]:
            wall, cpu = time.monotonic(), time.process_time()
            text, rows = peer.answer(line["prompt"], policy, budget, o.tokens, o.seed)
            results.append({"policy": policy, "budget": budget, "rows": rows, "answer": text,
                            "score": score(text, line["references"]), "wall_s": time.monotonic() - wall,
                            "cpu_s": time.process_time() - cpu})
    return results


def run(o):
    records = os.path.join(o.output, "peers.jsonl")
    os.makedirs(o.output, exist_ok=True)
    done = {line["key"] for line in read_lines(records)}
    peer = Peer(o.model)
    for n_samples in range(1, o.samples + 1):
        usage = run_judgeq(o, n_samples)
        lines = [line for line in read_lines(os.path.join(o.output, "judgeq", "samples.jsonl")) if line["key"] not in done]
        for line in lines:
            ours = {(r["policy"], r["budget"]): r for r in line["results"]}
            results = run_kvpress(o, peer, line)
            for result in results:
                full = result["policy"] == "full"
                own = ours[("full", None) if full else (POLICIES[result["policy"]], str(result["budget"]))]
                result["judgeq"] = {"score": own["score"], "answer": own["answer"], "rows": own["rows"]}
            record = {"key": line["key"], "n_prompt": len(line["prompt"]), "references": line["references"],
                      "judgeq": {"wall_s": usage["wall_s"] / len(lines), "cpu_s": usage["cpu_s"] / len(lines),
                                 "peak": usage["peak"]},
                      "kvpress": {"wall_s": sum(r["wall_s"] for r in results), "cpu_s": sum(r["cpu_s"] for r in results),
                                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024},
                      "results": results}
            with open(records, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            done.add(line["key"])
            print(f"compare.py: {len(done)}: {line['key']}: judgeq {record['judgeq']['cpu_s']:.1f} s, kvpress "
                  f"{record['kvpress']['cpu_s']:.1f} s", file=sys.stderr)


def interval(values, n=2000):
    """Mean, and the middle 95 % of bootstrap means."""
    draw = random.Random(1)
    means = sorted(sum(draw.choices(values, k=len(values))) / len(values) for _ in range(n))
    return sum(values) / len(values), means[int(0.025 * n)], means[int(0.975 * n) - 1]


def cell(values, sign=""):
    mean, low, high = (100 * value for value in interval(values))
    return f"{mean:{sign}.0f} ({low:{sign}.0f}, {high:{sign}.0f})"


def report(o):
    records = read_lines(os.path.join(o.output, "peers.jsonl"))
    if not records:
        sys.exit("compare.py: no samples")
    arms = [(r["policy"], r["budget"]) for r in records[0]["results"]]
    print(f"{len(records)} sample{'s' if len(records) > 1 else ''}, {sum(r['n_prompt'] for r in records) / len(records):.0f} tokens on average\n")
    print("| policy | rows | judgeq | kvpress | difference | same answer |\n|---|---|---|---|---|---|")
    for index, (policy, budget) in enumerate(arms):
        results = [record["results"][index] for record in records]
        ours, theirs = [r["judgeq"]["score"] for r in results], [r["score"] for r in results]
        same = sum(r["answer"].strip() == r["judgeq"]["answer"].strip() for r in results)
        print(f"| {policy} | {'all' if policy == 'full' else budget} | {cell(ours)} | {cell(theirs)} | "
              f"{cell([a - b for a, b in zip(ours, theirs)], '+')} | {same} of {len(results)} |")
    print("\n| | judgeq | kvpress | ratio |\n|---|---|---|---|")
    for name, key in (("processor time per sample, s", "cpu_s"), ("wall time per sample, s", "wall_s")):
        ours, theirs = (sum(r[who][key] for r in records) / len(records) for who in ("judgeq", "kvpress"))
        print(f"| {name} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.1f} |")
    ours, theirs = (max(r[who]["peak"] for r in records) / 2**20 for who in ("judgeq", "kvpress"))
    print(f"| peak memory of the process, MiB | {ours:.0f} | {theirs:.0f} | {theirs / ours:.1f} |")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default=f"{cache}/judgeq/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--judgeq", default=os.path.join(here, "../../build/release/judgeq"))
    parser.add_argument("--tasks", default="needle_noise,needle_text,multi_key", help="with one reference and one turn each")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=8, help="of each task (default: 8)")
    parser.add_argument("--budgets", type=lambda text: [int(part) for part in text.split(",")], default=[64, 128])
    parser.add_argument("--policies", type=lambda text: text.split(","), default=list(POLICIES), help=", ".join(POLICIES))
    parser.add_argument("--tokens", type=int, default=32, help="most tokens of an answer (default: 32)")
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--report", action="store_true", help="only the tables of what is there")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER")
    o = parser.parse_args()
    if unknown := set(o.policies) - set(POLICIES):
        parser.error(f"unknown policy {sorted(unknown)[0]}; there are {', '.join(POLICIES)}")
    if not o.report:
        run(o)
    report(o)


if __name__ == "__main__":
    main()
