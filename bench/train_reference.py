#!/usr/bin/env python3
"""What a training step costs: judgeq train against tools/reference.py train, on the same examples, in turn.

    python3 -m venv build/torch && build/torch/bin/pip install torch numpy gguf
    build/release/judgeq data -n 6 --tokens 32 -o build/train.jsonl FOLDER_OF_TEXT
    build/torch/bin/python bench/train_reference.py build/train.jsonl

Both programs run with few epochs and with more; the difference, divided by the steps, is what a step costs, without
loading the model, reading the prompts or saving: wall clock and processor time. Peak memory is the process's, of the run
with more epochs, the pages of mapped files included. The reference reads its examples from files that this script makes
with it (keys, values and targets as F16, in FOLDER). One example per step, loss kl, the same rate.
Timings need a quiet machine; the ratios are taken within one round, and the table gives their medians. A round of six
prompts of 600 tokens takes about a minute.
"""
import argparse
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tools/reference.py"
MEBIBYTE = 1 << 20
RATE = "5e-3"


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=pathlib.Path, help="training set of the model")
    parser.add_argument("-m", "--model", type=pathlib.Path, help="llama architecture (the default model)",
                        default=pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
                        / "judgeq/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--judgeq", type=pathlib.Path, default=ROOT / "build/release/judgeq")
    parser.add_argument("-t", "--threads", type=int, default=2, help="cores that both may use (%(default)s)")
    parser.add_argument("-n", "--examples", type=int, default=6, help="the set's first so many (%(default)s)")
    parser.add_argument("--epochs", default="1,5", help="few and more (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prepare", action="store_true", help="only make the files, which takes a minute, so that the "
                        "quiet machine is only needed for the rounds")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=pathlib.Path, default=ROOT / "build/train_reference")
    options = parser.parse_args()
    options.epochs = [int(n) for n in options.epochs.split(",")]
    return options


def make_files(options):
    """FOLDER/set.jsonl, the set's first examples, and FOLDER/HASH/*.pt, the same as reference.py reads them. Returns
    the examples and the second folder."""
    options.output.mkdir(parents=True, exist_ok=True)
    with open(options.set, encoding="utf-8") as lines:
        lines = [line for _, line in zip(range(options.examples + 1), lines)]
    (options.output / "set.jsonl").write_text("".join(lines), encoding="utf-8")
    examples = [json.loads(line) for line in lines[1:]]
    folder = options.output / hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    if len(list(folder.glob("*.pt"))) == len(examples):
        return examples, folder
    sys.path.insert(0, str(REFERENCE.parent))
    import reference
    import torch
    model = reference.Model(str(options.model))
    for number, example in enumerate(examples):
        n, ids = len(example["prompt"]), torch.tensor(example["prompt"] + example["response"][:-1])
        with torch.no_grad():
            _, keys, values, maps = model.extend(model.embd[ids], torch.arange(len(ids)), [], [])
        torch.save({"K": [k[:, :n].half() for k in keys], "V": [v[:, :n].half() for v in values], "n": n,
                    "A": torch.stack([a[:, n:, :n].mean(1) for a in maps]).half()}, folder / f"{number:04}.pt")
        print(f"example {number + 1} of {len(examples)}", file=sys.stderr)
    return examples, folder


def run(command, threads):
    """Wall seconds, processor seconds and peak MiB of a command on the first cores."""
    cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[:threads])
    start = time.monotonic()
    process = subprocess.Popen(["taskset", "-c", cores, *map(str, command)], stdout=subprocess.DEVNULL,
                               env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"train_reference: {command[0]} ended with status {status}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MEBIBYTE


def commands(options, folder, epochs):
    judge = options.output / "judge.gguf"
    for file in (judge, pathlib.Path(f"{judge}.checkpoint")):
        file.unlink(missing_ok=True)
    return {"judgeq": [options.judgeq, "train", "-m", options.model, "--data", options.output / "set.jsonl",
                       "-o", judge, "--quiet", "--heldout", "0", "--lr", RATE, "--epochs", epochs,
                       "-t", options.threads],
            "PyTorch": [sys.executable, REFERENCE, "train", options.model, folder, options.output / "soft.npy",
                        "--lr", RATE, "--epochs", epochs]}


def measure(options, folder, n_examples):
    """{program: (wall seconds, processor seconds, peak MiB)} per step."""
    cost = {}
    for name in ("PyTorch", "judgeq"):
        few, more = (run(commands(options, folder, epochs)[name], options.threads) for epochs in options.epochs)
        steps = n_examples * (options.epochs[1] - options.epochs[0])
        cost[name] = ((more[0] - few[0]) / steps, (more[1] - few[1]) / steps, more[2])
    return cost


def main():
    options = read_options()
    if options.prepare:
        make_files(options)
        return
    # in a process of its own: what torch takes here would count in the peaks of the programs that this one starts
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--prepare"], check=True)
    examples, folder = make_files(options)
    tokens = [len(example["prompt"]) for example in examples]
    print(f"{len(tokens)} prompts of {min(tokens)} to {max(tokens)} tokens, {sum(tokens) / len(tokens):.0f} on average; "
          f"{options.threads} threads\n")
    rounds = []
    print("| round | program | s per step | processor s per step | peak MiB |\n|---|---|---|---|---|")
    for number in range(options.rounds):
        rounds.append(measure(options, folder, len(examples)))
        for name, (wall, processor, peak) in rounds[-1].items():
            print(f"| {number + 1} | {name} | {wall:.3f} | {processor:.3f} | {peak:.0f} |", flush=True)
    ratio = [statistics.median(cost["judgeq"][i] / cost["PyTorch"][i] for cost in rounds) for i in range(3)]
    print(f"| median ratio | judgeq / PyTorch | {ratio[0]:.2f} | {ratio[1]:.2f} | {ratio[2]:.2f} |")


if __name__ == "__main__":
    main()
