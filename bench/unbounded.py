#!/usr/bin/env python3
"""Facts in documents longer than the model's context, read once with --unbounded: how many of them each policy still answers.

    bench/unbounded.py --text FOLDER -o facts.jsonl [--tokens 30000] [--documents 3] [--budget 1024]

Every document is a piece of the folder's texts with eight facts at even depths. `judgeq ingest` reads it once per policy, without
knowing what will be asked, and `judgeq run --context` asks for one fact at a time. A line per document and policy goes to the
output; the same command again goes on. The table at the end counts right answers by depth. Standard library only.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile

POLICIES = "streaming;snapkv,probe=window:16,keep=recent:16;judge;judge-laq"
CHARACTERS_PER_TOKEN = 4.5  # of English prose; the line has the tokens that were read
FACTS = [  # kinds differ, so that no answer is another fact's
    ("The access code of the north gate is {}.", "What is the access code of the north gate?", "number"),
    ("The ferry to Port Ellis leaves from pier {}.", "From which pier does the ferry to Port Ellis leave?", "number"),
    ("Dr. {} keeps the key of the archive.", "Which doctor keeps the key of the archive?", "name"),
    ("The spare battery is stored in the {} cabinet.", "In which cabinet is the spare battery stored?", "colour"),
    ("The choir meets in the town of {}.", "In which town does the choir meet?", "town"),
    ("The password of the weather station is {}.", "What is the password of the weather station?", "word"),
    ("The museum's oldest clock was built by {} Harrow.", "What is the first name of Harrow, who built the museum's oldest clock?",
     "name"),
    ("The train to Lindholm costs {} crowns.", "How many crowns does the train to Lindholm cost?", "number"),
]
VALUES = {
    "name": ["Abernathy", "Castellan", "Dorothea", "Ferdinand", "Giselle", "Horatio", "Isolde", "Leopold", "Mirabel", "Octavia"],
    "colour": ["crimson", "turquoise", "violet", "amber", "ivory", "scarlet"],
    "town": ["Ashcombe", "Brindleford", "Kestrel Bay", "Marwick", "Oldenmoor", "Tarnwell"],
    "word": ["marigold", "thunderbolt", "gooseberry", "lighthouse", "peppermint", "sandpiper"],
}


def document(texts, n_characters, index):
    """The text with its facts, and [(question, answer)] in the order of their depths."""
    rng = random.Random(index)
    order = rng.sample(sorted(texts), len(texts))
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in order)
    sentences = collections.deque(s for text in texts for s in re.split(r"(?<=[.!?])\s+", " ".join(text.split())))
    taken, size = [], 0
    while sentences and size < n_characters:
        taken.append(sentences.popleft())
        size += len(taken[-1]) + 1
    if size < n_characters:
        raise SystemExit(f"the texts have {size} characters: {n_characters} are needed")
    used, asked = set(), []
    facts = rng.sample(FACTS, len(FACTS))
    for i, (fact, question, kind) in reversed(list(enumerate(facts))):
        value = str(rng.randint(1000, 9999)) if kind == "number" else rng.choice([v for v in VALUES[kind] if v not in used])
        used.add(value)
        taken.insert(int(len(taken) * (i + 0.5) / len(facts)), fact.format(value))
        asked.insert(0, (question, value))
    return " ".join(taken), asked


def run(judgeq, *arguments):
    """The JSON object that it prints, and the most memory that it had, in bytes."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([judgeq, *arguments, "--json", "--quiet"], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)[:200]}: status {process.returncode}")
        out.seek(0)
        return json.load(out), usage.ru_maxrss * 1024


def ask_all(options, policy, text, asked, folder):
    source, context = os.path.join(folder, "document.txt"), os.path.join(folder, "document.kv")
    pathlib.Path(source).write_text(text, encoding="utf-8")
    common = ["-t", str(options.threads), *(["-m", options.model] if options.model else [])]
    read, peak = run(options.judgeq, "ingest", *common, "--unbounded", "--budget", str(options.budget), "--policy", policy,
                     *(["--judge", options.judge] if options.judge and "judge" in policy else []), source, "-o", context)
    answers = [run(options.judgeq, "run", *common, "--context", context, "-n", "32", "-p", question)[0]["text"]
               for question, _ in asked]
    right = [value.lower() in answer.lower() for (_, value), answer in zip(asked, answers)]
    return {"tokens": read["tokens"], "peak_bytes": peak, "right": right, "answers": answers, "expected": [v for _, v in asked]}


def show(lines):
    by_policy = collections.defaultdict(list)
    for line in lines:
        by_policy[line["policy"]].append(line)
    n = len(FACTS)
    print("| policy | right | " + " | ".join(f"{(i + 0.5) / n:.0%} deep" for i in range(n)) + " | peak MiB |")
    print("|" + " --- |" * (n + 3))
    for policy, of in by_policy.items():
        columns = [sum(line["right"][i] for line in of) for i in range(n)]
        peak = max(line["peak_bytes"] for line in of) / 2**20
        print(f"| {policy} | {sum(columns)} of {n * len(of)} | " + " | ".join(map(str, columns)) + f" | {peak:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, type=pathlib.Path, metavar="FOLDER", help="of .txt files")
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path, metavar="FILE")
    parser.add_argument("--judgeq", default="build/release/judgeq", help="(default: %(default)s)")
    parser.add_argument("--model", help="(default: the default model)")
    parser.add_argument("--judge", help="(default: the judge of the model)")
    parser.add_argument("--policies", default=POLICIES, help="(default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=30000, help="of a document, about (default: %(default)s)")
    parser.add_argument("--documents", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--budget", type=int, default=1024, help="rows (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    options = parser.parse_args()
    lines = [json.loads(line) for line in options.output.open(encoding="utf-8")] if options.output.exists() else []
    done = {(line["document"], line["policy"]) for line in lines}
    with options.output.open("a", encoding="utf-8") as output, tempfile.TemporaryDirectory() as folder:
        for index in range(options.documents):
            text, asked = document(list(options.text.glob("*.txt")), int(options.tokens * CHARACTERS_PER_TOKEN), index)
            for policy in options.policies.split(";"):
                if (index, policy) in done:
                    continue
                line = {"document": index, "policy": policy, **ask_all(options, policy, text, asked, folder)}
                lines.append(line)
                print(json.dumps(line), file=output, flush=True)
    show(lines)


if __name__ == "__main__":
    main()
