#!/usr/bin/env python3
"""What a conversation of many turns and a long answer hold: rows, bytes of KV cache and resident memory as they grow longer.

    bench/bounded.py [-m MODEL] [--turns 50] [--words 100] [--answer 4000] [-- OPTIONS]

OPTIONS go to `judgeq chat` and `judgeq run`: a policy, a budget, a slack. Lines of the first table are turns, those of the second
are moments of one answer. Exits with 1 where a turn leaves more rows than budget and slack. Standard library only.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time

from streams import processor, prompt, resident


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--judgeq", default="build/release/judgeq")
    parser.add_argument("-m", "--model", help="a GGUF file (default: judgeq's)")
    for name, value in (("turns", 50), ("words", 100), ("answer", 4000)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--most", type=int, default=160, help="rows that budget and slack allow")
    parser.add_argument("options", nargs="*", default=["--budget", "128"])
    args = parser.parse_args()
    args.command = [*(["-m", args.model] if args.model else []), "--quiet", "--json", *args.options]
    return args


def talk(args):
    """A line for each turn: what chat says, and its memory."""
    command = [args.judgeq, "chat", *args.command, "-n", "40", "--temp", "0"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for turn in range(args.turns):
        process.stdin.write(prompt(turn, args.words)[:-4] + f"That was text {turn + 1}. What was near what?\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
        yield turn + 1, said, resident(process.pid)[1]
    process.stdin.close()
    process.wait()


def write(args):
    """The memory twice a second while one long answer is written, and what run says of it. The grammar lets it not end."""
    with tempfile.NamedTemporaryFile("w", suffix=".gbnf") as grammar:
        grammar.write("root ::= [^#] root\n")
        grammar.flush()
        command = [args.judgeq, "run", *args.command, "--raw", "-p", prompt("answer", 1000), "-n", str(args.answer), "--grammar",
                   grammar.name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        begin, sizes = time.monotonic(), []
        while process.poll() is None:
            sizes.append((time.monotonic() - begin, resident(process.pid)[1]))
            time.sleep(0.5)
    return [(at, size) for at, size in sizes if size == size], json.loads(process.stdout.read())


def main():
    args = arguments()
    print(f"judgeq {' '.join(args.command)}; {processor()}\n\n"
          "| turn | tokens seen | rows per layer and KV head | KV cache, MiB | resident, MiB |\n|---|---|---|---|---|")
    most = 0
    for turn, said, size in talk(args):
        most = max(most, said["rows_held"])
        if turn == 1 or turn % 10 == 0:
            print(f"| {turn} | {said['tokens_seen']} | {said['rows_held']} | {said['kv_bytes_held'] / 2**20:.1f} | {size / 2**20:.0f} |", flush=True)
    print(f"\nAfter a turn {most} rows at most; {args.most} are allowed.\n\n| seconds | resident, MiB |\n|---|---|")
    sizes, said = write(args)
    for share in (0.1, 0.25, 0.5, 0.75, 1):
        at, size = sizes[int(share * (len(sizes) - 1))]
        print(f"| {at:.0f} | {size / 2**20:.0f} |")
    print(f"\nAn answer of {said['completion_tokens']} tokens: {said['kv_bytes_held'] / 2**20:.1f} MiB of KV cache at its end, "
          f"{said['kv_bytes_peak'] / 2**20:.1f} at its peak; the policy chose again {said['n_rejudged']} times, which took "
          f"{100 * said['rejudge_s'] / said['decode_s']:.1f} % of decoding.")
    sys.exit(most > args.most)


if __name__ == "__main__":
    main()
