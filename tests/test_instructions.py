"""How many instructions reading a prompt, scoring with eviction, and decoding take on a tiny model, compared with
golden/instructions.json: 2 % more or less is a failure, so that no change makes the engine slower, or faster, unnoticed.
Counted by callgrind, so that a busy machine changes nothing. ggml's CPU kernels come from a build for any processor with
AVX2 (tools/deps.sh --test), because valgrind does not know AVX-512, and counts must not depend on the processor.
test_instructions.py COUNT_WORK MAKE_FIXTURE COMPILER BASELINE_LIBRARY [--update]
--update writes the counts of this compiler into the golden file; say in the commit why they changed."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

COUNT_WORK, MAKE_FIXTURE, COMPILER, LIBRARY = sys.argv[1:5]
UPDATE = "--update" in sys.argv[5:]
GOLDEN = pathlib.Path(__file__).parent / "golden/instructions.json"
BAND = 0.02
SKIPPED = 77


def skip(reason):
    print(f"test_instructions: skipped: {reason}")
    sys.exit(SKIPPED)


def counts(folder):
    model, out = os.path.join(folder, "model.gguf"), os.path.join(folder, "callgrind")
    subprocess.run([MAKE_FIXTURE, "model", "q4_1", model], check=True)
    done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=counted_*",
                           "--dump-after=counted_read", "--dump-after=counted_decode", COUNT_WORK, model],
                          env={**os.environ, "LD_LIBRARY_PATH": os.path.dirname(LIBRARY)}, stderr=subprocess.PIPE, encoding="utf-8")
    if done.returncode != 0:
        sys.exit(f"test_instructions: callgrind or the work failed:\n{done.stderr}")
    full, evicted, decoded = (dumped(f"{out}.{number}") for number in (1, 2, 3))
    return {"prefill": full, "scoring": evicted - full, "decode": decoded}


def dumped(path):
    with open(path, encoding="utf-8") as file:
        return int(re.search(r"^totals: (\d+)$", file.read(), re.MULTILINE)[1])


def compare(golden, found):
    wrong = []
    for name, count in found.items():
        change = count / golden[name] - 1
        print(f"{name}: {count:,} instructions, {100 * change:+.2f} % of {golden[name]:,}")
        if abs(change) > BAND:
            wrong.append(name)
    if wrong:
        sys.exit(f"test_instructions: {', '.join(wrong)}: more than {100 * BAND:g} % off. Slower: find out why. Faster, or "
                 f"worth it: {sys.argv[0]} ... --update")


def main():
    if not shutil.which("valgrind"):
        skip("no valgrind")
    if not os.path.exists(LIBRARY):
        skip("no ggml for any processor: tools/deps.sh --test builds it")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    if COMPILER not in golden and not UPDATE:
        skip(f"no counts of {COMPILER}; there are those of {', '.join(golden)}")
    with tempfile.TemporaryDirectory(prefix="judgeq-test-") as folder:
        found = counts(folder)
    if UPDATE:
        golden[COMPILER] = found
        GOLDEN.write_text(json.dumps(golden, indent=4, sort_keys=True) + "\n", encoding="utf-8")
    compare(golden[COMPILER], found)


if __name__ == "__main__":
    main()
