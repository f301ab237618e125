#!/usr/bin/env python3
"""judgeq serve under load: many clients with long prompts at once, for a fixed time.

    bench/serve_load.py [--clients 64] [--seconds 120] [--shortest 1000] [--longest 6000] [--tokens 32] [-- OPTIONS OF SERVE]

Every client asks, takes the stream, and asks something else; a 429 is waited for, as the server says. When the time is over the
clients leave. Then some of the answers are asked for again, one by one: they must be the same. Reported are errors by kind, the
server's memory over time, the time to the first token and the rate of tokens. Standard library only; exits with 1 where anything
but a 429 went wrong.
"""
import argparse
import collections
import random
import sys
import threading
import time

from streams import ask, processor, prompt, quantile, serve


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--judgeq", default="build/release/judgeq")
    parser.add_argument("--model", help="a GGUF file (default: judgeq's)")
    for name, value in (("clients", 64), ("seconds", 120), ("shortest", 1000), ("longest", 6000), ("tokens", 32), ("again", 4)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--log", default="build/serve_load.log", help="what the server says")
    parser.add_argument("options", nargs="*", default=["--budget", "256", "--kv-bytes", "256M"])
    return parser.parse_args()


def client(port, index, args, end, answers):
    rng = random.Random(index)
    turn = 0
    while (now := time.monotonic()) < end:
        text = prompt(f"{index} {turn}", rng.randint(args.shortest, args.longest))
        answer = ask(port, text, args.tokens, end)
        answer.prompt, answer.ended = text, time.monotonic()
        answers.append(answer)
        if answer.error == "429":
            time.sleep(max(0, min(answer.retry_after, end - now)))
        else:
            turn += 1


def watch(server, end, sizes):
    begin = time.monotonic()
    while (now := time.monotonic()) < end:
        sizes.append((now - begin, *server.resident()))
        time.sleep(0.5)


def run(server, args):
    answers, sizes = [], []
    begin = time.monotonic()
    end = begin + args.seconds
    threads = [threading.Thread(target=client, args=(server.port, i, args, end, answers)) for i in range(args.clients)]
    threads.append(threading.Thread(target=watch, args=(server, end, sizes)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, sizes, time.monotonic() - begin


def check(server, answers, n):
    """Whether the same requests alone are answered so."""
    sample = random.Random(0).sample(answers, min(n, len(answers)))
    alone = [ask(server.port, answer.prompt, answer.n_tokens) for answer in sample]
    return sum(a.text == b.text for a, b in zip(sample, alone)), len(sample)


def report(args, answers, sizes, seconds):
    done = [answer for answer in answers if not answer.error]
    kinds = collections.Counter(answer.error or "answered" for answer in answers)
    first = [answer.times[0] for answer in answers if answer.times]
    rates = [(len(a.times) - 1) / (a.times[-1] - a.times[0]) for a in done if len(a.times) > 1 and a.times[-1] > a.times[0]]
    print(f"{args.clients} clients, prompts of {args.shortest} to {args.longest} words, {args.tokens} tokens of each, {seconds:.0f} s; "
          f"serve {' '.join(args.options)}; {processor()}")
    print("requests:", ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    print(f"prompt tokens of the answered: {sum(a.n_prompt for a in done)}; tokens written: {sum(len(a.times) for a in answers)}")
    print(f"time to the first token: p50 {quantile(first, 0.5):.1f} s, p95 {quantile(first, 0.95):.1f} s; "
          f"a client's tokens/s: p50 {quantile(rates, 0.5):.1f}, slowest {quantile(rates, 0):.1f}")
    for share in (0.1, 0.25, 0.5, 0.75, 1):
        at, resident, own = sizes[int(share * (len(sizes) - 1))]
        print(f"memory after {at:5.0f} s: {resident >> 20} MiB resident, {own >> 20} MiB without the mapped model")
    return [kind for kind in kinds if kind not in ("answered", "429", "left")]


def main():
    args = arguments()
    server = serve(args.judgeq, [*(["-m", args.model] if args.model else []), *args.options], args.log)
    try:
        answers, sizes, seconds = run(server, args)
        wrong = report(args, answers, sizes, seconds)
        same, n = check(server, [answer for answer in answers if not answer.error], args.again)
        print(f"asked again alone: {same} of {n} are the same")
    finally:
        server.stop()
    sys.exit(1 if wrong or same < n else 0)


if __name__ == "__main__":
    main()
