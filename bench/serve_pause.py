#!/usr/bin/env python3
"""How long running answers of judgeq serve pause while a long prompt is read.

    bench/serve_pause.py [--running 2] [--prompt 8000] [-- OPTIONS OF SERVE]

Some clients take streams of short prompts. Once all have tokens, another one sends the long prompt and takes a few tokens. Reported
are the pauses between two tokens of a stream, before and while that is read. Standard library only.
"""
import argparse
import time

from streams import Streams, ask, processor, prompt, quantile, serve


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--judgeq", default="build/release/judgeq")
    parser.add_argument("--model", help="a GGUF file (default: judgeq's)")
    for name, value in (("running", 2), ("prompt", 8000), ("alone", 5)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--log", default="build/serve_pause.log", help="what the server says")
    parser.add_argument("options", nargs="*", default=["--budget", "256", "--kv-bytes", "1G"])
    return parser.parse_args()


def pauses(answers, begin, end):
    """Seconds between two tokens of one answer, of which the second came between these moments."""
    at = [[answer.sent + t for t in answer.times] for answer in answers]
    return [b - a for times in at for a, b in zip(times, times[1:]) if begin < b <= end]


def run(server, args):
    streams = Streams(server.port, [prompt(i, 60) for i in range(args.running)], 8000)
    if wrong := [answer.error for answer in streams.answers if answer.error]:
        raise SystemExit(f"an answer failed: {wrong[0]}")
    begin = time.monotonic()
    time.sleep(args.alone)
    before = pauses(streams.answers, begin, time.monotonic())
    long = ask(server.port, prompt("long", args.prompt), 4)
    streams.leave()
    if not long.times:
        raise SystemExit(f"the long prompt failed: {long.error}")
    while_read = pauses(streams.answers, long.sent, long.sent + long.times[0])
    return before, long, while_read


def main():
    args = arguments()
    server = serve(args.judgeq, [*(["-m", args.model] if args.model else []), *args.options], args.log)
    try:
        before, long, while_read = run(server, args)
    finally:
        server.stop()
    print(f"{args.running} answers; serve {' '.join(args.options)}; {processor()}")
    for name, found in (("before", before), (f"while {long.n_prompt} tokens were read, {long.times[0]:.1f} s", while_read)):
        print(f"{name}: {len(found)} pauses, p50 {1000 * quantile(found, 0.5):.0f} ms, longest {1000 * max(found, default=0):.0f} ms")


if __name__ == "__main__":
    main()
