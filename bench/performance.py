#!/usr/bin/env python3
"""judgeq beside libllama, PyTorch and kvpress, in turn, and the tables of docs/performance.md.

    cmake --build --preset release && cmake --build --preset release --target bench
    python3 -m venv build/torch && build/torch/bin/pip install torch transformers gguf kvpress
    bench/performance.py run 512 --rounds 5         measures one section: every contender once per round, in turn
    bench/performance.py tables                     writes what was measured into docs/performance.md

Sections: 512, 2048, 8000 (prompts; with eviction at 8000), 0.5b-512, 0.5b-2048 (the model of --second), batch (16 sequences), kvpress; scale-tiny and scale-default (cost
against the prompt's length, on a generated model with a context of 128K and on the default model; three rounds do). A record is one line of
build/performance.jsonl: a run that was interrupted goes on from there, and more rounds add to it; start a new file when the
code has changed. Ratios are taken within a round, their medians are what counts. Nothing else should run meanwhile.
"""
import argparse
import functools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/release"
PAGE = ROOT / "docs/performance.md"
PICTURE = ROOT / "docs/scale.svg"
DECODED = 64
WARM_UP = 64  # tokens, as in baseline_llama.c and baseline_torch.py
EXPAND_MIB = 1024


def model_path():
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "judgeq/SmolLM2-135M-Instruct.Q4_1.gguf"


# ---- contenders ------------------------------------------------------------------------------------------------------

def judgeq(options, lengths, policy="judge", budget=512, more=()):
    """The cells of one judgeq bench, as {(tokens, policy): numbers}. A short prompt goes first: the others warm up with one too."""
    command = [BUILD / "judgeq", "bench", "-m", options.model, "-t", options.threads, "--lengths", f"{WARM_UP},{lengths}",
               "--policies", policy,
               "--budgets", budget, "-n", DECODED, "--repeat", 1, "--warm-up", 0, "--json", "--quiet", *more]
    found = {}
    for cell in output(command)["cells"]:
        if cell["tokens"] == WARM_UP:
            continue
        numbers = {key: value["median"] for key, value in cell.items() if isinstance(value, dict)}
        found[f"{cell['policy']}/{cell['tokens']}"] = {
            "prefill": numbers["prefill_tokens_per_s"], "decode": numbers["decode_tokens_per_s"],
            "kv_bytes_peak": cell["kv_bytes_peak"], "limit": numbers["bandwidth_share"],
            "overhead": (numbers["score_s"] + numbers["compact_s"]) / numbers["first_token_s"],
            "total_s": numbers["first_token_s"] + DECODED * cell["batch"] / numbers["decode_tokens_per_s"]}
    return found


def with_second(measure):
    """A contender on the model of --second."""
    def measured(options):
        if not options.second:
            sys.exit("performance: this section needs --second MODEL.gguf")
        return measure(argparse.Namespace(**{**vars(options), "model": options.second}))
    return measured


def prompts(n, budget=512, lengths=None):
    """Everybody on prompts of n tokens."""
    return {"judgeq": lambda o: judgeq(o, lengths or str(n), budget=budget), "libllama": lambda o: llama(o, n, 0),
            "libllama, flash attention": lambda o: llama(o, n, 1), "PyTorch F32": lambda o: torch(o, n),
            "PyTorch BF16": lambda o: torch(o, n, "bf16")}


def scale(options, length, default):
    """What a prompt of this length costs with the policy judge, with one thread: where a prompt takes milliseconds, two that
    the system has not yet put on cores of their own cost many times as much."""
    made = ROOT / "build/longest.gguf"
    if not default and not made.exists():
        output([BUILD / "make_fixture", "model", "longest", made], parse=False)
        output([BUILD / "make_fixture", "judge", made, made.with_suffix(".judge.gguf")], parse=False)
    model = options.model if default else made
    command = [BUILD / "judgeq", "bench", "-m", model, "-t", 1, "--lengths", length, "--budgets", SCALE_BUDGET,
               "-n", 0, "--repeat", 1, "--warm-up", 0, "--json", "--quiet"]
    cell = next(cell for cell in output(command)["cells"] if cell["policy"] == "judge")
    numbers = {key: value["median"] for key, value in cell.items() if isinstance(value, dict)}
    return {"": {**numbers, "prefill": numbers["prefill_tokens_per_s"], "decode": 0, "kv_bytes_peak": cell["kv_bytes_peak"],
                 "kv_bytes_held": cell["kv_bytes_held"]}}


def speeds(numbers, n_prompt):
    return {"prefill": n_prompt / numbers["prefill_s"], "decode": numbers["decoded"] / numbers["decode_s"],
            "kv_bytes_peak": numbers.get("kv_bytes_peak"), "total_s": numbers["prefill_s"] + numbers["decode_s"]}


def llama(options, n_prompt, flash, n_sequence=1):
    """With repacked weights, or, where ggml's kernels for these end the process by a signal, without; the record says which."""
    command = [str(part) for part in (BUILD / "baseline_llama", options.model, n_prompt, DECODED, options.threads, flash, n_sequence)]
    repacked = subprocess.run([*command, "1"], stdout=subprocess.PIPE, text=True, check=False)
    found = json.loads(repacked.stdout) if repacked.returncode == 0 else None
    if repacked.returncode > 0:
        sys.exit(f"performance: {command[0]} ended with status {repacked.returncode}")
    return {"": {**speeds(found or output([*command, "0"]), n_prompt), "repacked": found is not None}}


def torch(options, n_prompt, dtype="f32", budget=None):
    command = [options.python, ROOT / "bench/baseline_torch.py", options.model, "--prompt", n_prompt, "--decode", DECODED,
               "--threads", options.threads, "--dtype", dtype, *(["--budget", budget] if budget else [])]
    return {"": speeds(output(command), n_prompt)}


def output(command, parse=True):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"performance: {command[0]} ended with status {done.returncode}")
    return json.loads(done.stdout) if parse else None


SCALE_BUDGET = 256
SCALE_LENGTHS = {"scale-tiny": [1024 << i for i in range(8)], "scale-default": [512, 1024, 2048, 4096, 8000]}

SECTIONS = {
    "512": prompts(512, budget=256), "2048": prompts(2048), "8000": prompts(8000, lengths="512,8000"),
    **{f"0.5b-{n}": {name: with_second(measure) for name, measure in prompts(n).items()} for n in (512, 2048)},
    "batch": {"judgeq": lambda o: judgeq(o, "4000", budget=256, more=("--batches", 16)),
              "judgeq, expanded": lambda o: judgeq(o, "4000", budget=256,
                                                   more=("--batches", 16, "--expand", EXPAND_MIB)),
              "libllama": lambda o: llama(o, 4000, 0, 16), "libllama, flash attention": lambda o: llama(o, 4000, 1, 16)},
    "kvpress": {"judgeq": lambda o: judgeq(o, "4000", policy="snapkv"),
                "kvpress F32": lambda o: torch(o, 4000, "f32", 512), "kvpress BF16": lambda o: torch(o, 4000, "bf16", 512)},
    **{section: {str(n): functools.partial(scale, length=n, default=section == "scale-default") for n in lengths}
       for section, lengths in SCALE_LENGTHS.items()},
}


# ---- measuring -------------------------------------------------------------------------------------------------------

def read_records(path):
    """{section: [{contender: values} of a round]}"""
    found = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            rounds = found.setdefault(record["section"], {})
            rounds.setdefault(record["round"], {})[record["contender"]] = record
    return found


def revision():
    """The last commit that changed what is measured; its subject, which a rebase keeps."""
    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments, "--", "src", "include", "cli"], stdout=subprocess.PIPE, text=True,
                              check=True).stdout.strip()
    return git("log", "-1", "--format=%s") + ("-dirty" if git("status", "--porcelain") else "")


def processor():
    """lscpu's line, with what it says of matrix products."""
    found = dict(line.split(":", 1) for line in subprocess.check_output(["lscpu"], text=True).splitlines() if ":" in line)
    flags = found.get("Flags", "").split()
    kinds = [name for name in ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16") if name in flags]
    return f"{found.get('Model name', '?').strip()}, family {found.get('CPU family', '?').strip()}, model " \
           f"{found.get('Model', '?').strip()} ({', '.join(kinds)})"


def run(options):
    have = read_records(options.records).get(options.section, {})
    contenders = SECTIONS[options.section]
    if not (BUILD / "baseline_llama").exists():
        sys.exit(f"performance: {BUILD / 'baseline_llama'} is missing; cmake --build --preset release --target bench makes it")
    options.records.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + options.seconds
    options.model.read_bytes()  # into the page cache, so that the first contender does not wait for the disk
    for number in range(1, options.rounds + 1):
        for name, measure in contenders.items():
            if name in have.get(number, {}):
                continue
            if time.monotonic() > deadline:
                sys.exit("performance: time is up; the same command goes on")
            values = measure(options)
            record = {"section": options.section, "round": number, "contender": name, "revision": revision(),
                      "date": time.strftime("%Y-%m-%d", time.gmtime()), "threads": options.threads, "processor": processor(), "values": values}
            with open(options.records, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            shown = ", ".join(f"{key or name} prefill {value['prefill']:.0f}/s, decode {value['decode']:.1f}/s"
                              for key, value in values.items())
            print(f"performance: {options.section}, round {number}: {name}: {shown}", file=sys.stderr)


# ---- tables ----------------------------------------------------------------------------------------------------------

class Rounds:
    """The complete rounds of a section."""

    def __init__(self, records, section):
        self.names = list(SECTIONS[section])
        rounds = records.get(section, {}).values()
        self.rounds = [one for one in rounds if all(name in one for name in self.names)]

    def values(self, name, cell, key):
        return [one[name]["values"][cell][key] for one in self.rounds]

    def best(self, names, key):
        """The fastest of several settings in every round."""
        return [max(one[name]["values"][""][key] for name in names) for one in self.rounds]


def shown(values, digits=0):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})" if values else "-"


def ratio_row(what, against, ours, theirs, required, most=False, lower=False):
    """lower: times, where less is better. most: the ratio has to stay below."""
    ratios = [b / a if lower else a / b for a, b in zip(ours, theirs)]
    if not ratios:
        return None
    median = statistics.median(ratios)
    reached = median <= required if most else median >= required
    return (what, against, f"{median:.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            f"{'at most' if most else 'at least'} {required:g}", "yes" if reached else "**no**")


LLAMA = ["libllama", "libllama, flash attention"]


def ratio_rows(records):
    rows = []
    for section in ("512", "2048", "8000", "0.5b-512", "0.5b-2048"):
        r, n = Rounds(records, section), int(section.rpartition("-")[2])
        ours, what = r.values("judgeq", f"full/{n}", "prefill"), f"{n:,} tokens, full policy" + (", 0.5B" if "-" in section else "")
        rows += [ratio_row(f"prefill of {what}", "libllama", ours, r.best(LLAMA, "prefill"), 3),
                 ratio_row(f"prefill of {what}", "PyTorch F32", ours, r.values("PyTorch F32", "", "prefill"), 1.0),
                 ratio_row(f"prefill of {what}", "PyTorch BF16", ours, r.values("PyTorch BF16", "", "prefill"), 1.2),
                 ratio_row(f"decode after {what}", "libllama", r.values("judgeq", f"full/{n}", "decode"), r.best(LLAMA, "decode"), 1.2)]
        required = {"512": 0.6, "0.5b-512": 0.8}.get(section)
        if required:
            rows.append(ratio_row(f"decode after {what}", "the memory's speed", r.values("judgeq", f"full/{n}", "limit"),
                                  [1] * len(r.rounds), required))
    r = Rounds(records, "8000")
    judge = r.values("judgeq", "judge/8000", "decode")
    rows += [ratio_row("decode after 8,000 tokens, judge at budget 512", "libllama, full cache", judge,
                       r.best(LLAMA, "decode"), 3),
             ratio_row("decode after 8,000 tokens, judge at budget 512", "ours after 512 tokens, full policy", judge,
                       r.values("judgeq", "full/512", "decode"), 0.95),
             ratio_row("scoring and compaction, 8,000 tokens", "time to the first token",
                       r.values("judgeq", "judge/8000", "overhead"), [1] * len(r.rounds), 0.02, most=True),
             ratio_row("peak KV memory, 8,000 tokens, judge at budget 512", "libllama, full cache",
                       r.values("judgeq", "judge/8000", "kv_bytes_peak"), r.values("libllama", "", "kv_bytes_peak"), 0.12,
                       most=True)]
    r = Rounds(records, "batch")
    for name in ("judgeq", "judgeq, expanded"):
        rows.append(ratio_row(f"decode of 16 sequences of 4,000 tokens together, {'expanded weights, ' if ',' in name else ''}"
                              "judge at budget 256", "libllama, 16 full caches", r.values(name, "judge/4000", "decode"),
                              r.best(LLAMA, "decode"), 3))
    r = Rounds(records, "kvpress")
    for name in ("kvpress F32", "kvpress BF16"):
        rows.append(ratio_row("read 4,000 tokens, evict to 512, decode 64", f"{name}, SnapKV",
                              r.values("judgeq", "snapkv/4000", "total_s"), r.values(name, "", "total_s"), 2, lower=True))
    return [row for row in rows if row]


def speed_rows(records):
    rows = []
    for section, contenders in SECTIONS.items():
        if section in SCALE_LENGTHS:
            continue
        r = Rounds(records, section)
        for name in contenders:
            for cell in r.rounds[0][name]["values"] if r.rounds else []:
                policy, _, n_prompt = cell.partition("/")
                n_prompt = n_prompt or {"batch": "4000", "kvpress": "4000"}.get(section, section.rpartition("-")[2])
                repacked = all(one[name]["values"][cell].get("repacked", True) for one in r.rounds)
                rows.append((section, f"{int(n_prompt):,}", name + ("" if repacked else ", not repacked"), policy, shown(r.values(name, cell, "prefill")),
                             shown(r.values(name, cell, "decode"), 1),
                             shown(r.values(name, cell, "total_s"), 1),
                             f"{100 * statistics.median(r.values(name, cell, 'limit')):.0f} %" if policy else ""))
    return rows


# ---- scale -----------------------------------------------------------------------------------------------------------

def formula(n_prompt, n_soft, row_bytes, n_layer, budget):
    """The formula: one layer's rows with the soft ones after them, and what is kept of the others. Padded to 32."""
    def padded(n):
        return (n + 31) // 32 * 32
    kept = padded(min(budget, n_prompt) + 1)
    return row_bytes * (padded(n_prompt + n_soft) + n_layer * kept)


# Bytes of a row in one layer, F16; layers; soft tokens
SHAPES = {"scale-tiny": (2 * 16 * 2, 2, 4), "scale-default": (2 * 3 * 64 * 2, 30, 32)}


def scale_points(records, section):
    r = Rounds(records, section)
    for length in r.names if r.rounds else []:
        row_bytes, n_layer, n_soft = SHAPES[section]
        middle = {key: statistics.median(r.values(length, "", key))
                  for key in ("first_token_s", "blocks_s", "score_s", "compact_s", "kv_bytes_held", "kv_bytes_peak",
                              "resident_bytes_peak")}
        yield {"n": int(length), **middle, "formula": formula(int(length), n_soft, row_bytes, n_layer, SCALE_BUDGET)}


def scale_rows(records):
    return [(section.removeprefix("scale-"), f"{p['n']:,}", f"{p['blocks_s']:.3f}", f"{1000 * p['score_s']:.1f}",
             f"{1e6 * p['score_s'] / p['n']:.2f}", f"{1000 * p['compact_s']:.2f}", f"{p['kv_bytes_held'] / 2**20:.2f}",
             f"{p['kv_bytes_peak'] / 2**20:.2f}", f"{p['formula'] / 2**20:.2f}", f"{p['resident_bytes_peak'] / 2**20:.0f}")
            for section in SCALE_LENGTHS for p in scale_points(records, section)]


def draw_scale(records):
    """The line of the page that shows the picture, or nothing where not all of it was measured. Times and KV memory against the prompt's length, on doubly logarithmic scales: a line of slope 1 is linear."""
    script = ["set terminal svg size 900,640 font 'sans,11'", "set output", "set multiplot layout 2,2",
              "set logscale x 2", "set logscale y 10", "set format x '%.0b%B'", "set format y '%g'", "set key left top", "set grid lc rgb '#dddddd'",
              "set xlabel 'prompt, tokens'"]
    for section in SCALE_LENGTHS:
        points = list(scale_points(records, section))
        if not points:
            return ""
        name = "generated model, 2 layers" if section == "scale-tiny" else "default model"
        data = "\n".join(" ".join(str(p[key]) for key in ("n", "blocks_s", "score_s", "compact_s")) for p in points)
        script += [f"$time{len(points)} << EOD", data, "EOD", "set format y '%g'",
                   f"set title '{name}: seconds'", f"plot $time{len(points)} using 1:2 with linespoints lw 2 title 'blocks', "
                   "'' using 1:3 with linespoints lw 2 title 'scoring', '' using 1:4 with linespoints lw 2 title 'compaction'"]
        data = "\n".join(f"{p['n']} {p['kv_bytes_peak'] / 2**20} {p['kv_bytes_held'] / 2**20} {p['formula'] / 2**20}"
                         for p in points)
        script += [f"$kv{len(points)} << EOD", data, "EOD", f"set title '{name}: KV memory, MiB'",
                   f"plot $kv{len(points)} using 1:2 with linespoints lw 2 title 'peak', '' using 1:3 with linespoints lw 2 "
                   "title 'held', '' using 1:4 with lines dt 2 lc rgb 'black' title 'one layer + what is kept'"]
    svg = subprocess.run(["gnuplot"], input="\n".join(script) + "\n", stdout=subprocess.PIPE, text=True, check=True).stdout
    PICTURE.write_text(svg, encoding="utf-8")
    return f"![time and memory against the prompt's length]({PICTURE.name})\n\n"


# ---- the page --------------------------------------------------------------------------------------------------------

def table(head, rows):
    if not rows:
        return "Not measured."
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def provenance(records):
    all_records = [record for rounds in records.values() for one in rounds.values() for record in one.values()]
    counts = ", ".join(f"{section}: {len(Rounds(records, section).rounds)}" for section in SECTIONS)
    revisions = ", ".join(sorted({f"\"{record['revision']}\"" for record in all_records}))
    dates = ", ".join(sorted({record["date"] for record in all_records}))
    processors = "; ".join(sorted({record["processor"] for record in all_records}))
    return f"{processors}. Measured {dates} at the commit {revisions}, {all_records[0]['threads']} threads; complete rounds: {counts}."


def tables(options):
    records = read_records(options.records)
    if not records:
        sys.exit(f"performance: {options.records} has no records: performance.py run SECTION first")
    parts = {"ratios": table(("what", "against", "ratio", "required", "reached"), ratio_rows(records)),
             "speeds": table(("section", "prompt", "program", "policy", "prefill, tokens/s", "decode, tokens/s", "both, s",
                              "of the memory's speed"), speed_rows(records)),
             "provenance": provenance(records)}
    if any(section in records for section in SCALE_LENGTHS):  # else the page keeps those of before
        parts["scale"] = draw_scale(records) + table(("model", "prompt", "blocks, s", "scoring, ms", "scoring, us per token", "compaction, ms",
                                                      "KV held, MiB", "KV peak", "formula", "resident"), scale_rows(records))
    text = PAGE.read_text(encoding="utf-8")
    for name, content in parts.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            sys.exit(f"performance: {PAGE} has no place for {name}: <!-- {name} --> and <!-- end -->")
        text = pattern.sub(lambda match, new=content: match[1] + new + "\n" + match[2], text)
    PAGE.write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=pathlib.Path, default=ROOT / "build/performance.jsonl")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run", help="measure a section")
    command.add_argument("section", choices=SECTIONS)
    command.add_argument("--rounds", type=int, default=5, help="in all, with those that are recorded (%(default)s)")
    command.add_argument("--seconds", type=float, default=1e9, help="start nothing after so many (no limit)")
    command.add_argument("-m", "--model", type=pathlib.Path, default=model_path(), help="llama architecture (%(default)s)")
    command.add_argument("--second", type=pathlib.Path, help="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf, for its sections")
    command.add_argument("-t", "--threads", type=int, default=os.cpu_count(), help="(%(default)s)")
    command.add_argument("--python", default=ROOT / "build/torch/bin/python", help="one that has torch (%(default)s)")
    command.set_defaults(command=run)
    commands.add_parser("tables", help="write them into docs/performance.md").set_defaults(command=tables)
    options = parser.parse_args()
    options.command(options)


if __name__ == "__main__":
    main()
