#!/usr/bin/env python3
"""judgeq serve and llama-cpp-python's server in the same KV memory, in turn: many clients with long prompts at once.

    python3 -m venv venv && venv/bin/pip install 'llama-cpp-python[server]==0.3.36'
    bench/serve_throughput.py --peer venv/bin/python [--clients 16] [--prompt 4000] [--tokens 128] [--sequences 2] [--rounds 1]

The memory is what libllama needs for --sequences whole sequences: the peer gets it as its context, which its server gives to one
request after the other; judgeq gets it as --kv-bytes, and keeps --budget rows. Each client asks once. Reported for each server:
requests per minute, the time to the first token, tokens per second from the first of all to the last, and what a client gets per
second once its answer has begun.

Answers of 128 tokens end while the prompts after them are still read. So judgeq is asked the same once more, for answers without
an end: once all clients have a first token, all tokens are counted for --together seconds. The peer never answers two at once; what
it reaches there is what one client gets. Standard library only.
"""
import argparse
import threading
import time

from streams import Server, Streams, ask, processor, prompt, quantile, serve


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--judgeq", default="build/release/judgeq")
    parser.add_argument("--peer", help="a Python with llama-cpp-python[server]; without it judgeq runs alone")
    parser.add_argument("--model", required=True, help="a GGUF file")
    parser.add_argument("--row-bytes", type=int, default=23040, help="KV bytes of a token (default: SmolLM2-135M's)")
    for name, value in (("clients", 16), ("prompt", 4000), ("tokens", 128), ("sequences", 2), ("budget", 256), ("threads", 2),
                        ("rounds", 1), ("together", 20)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--longest", type=int, default=4000, help="tokens of an answer without an end")
    parser.add_argument("--port", type=int, default=18765, help="of the peer")
    parser.add_argument("--log", default="build/serve_throughput")
    return parser.parse_args()


def n_held(args):
    """Tokens of which all rows fit into the memory."""
    return args.sequences * (args.prompt + args.tokens + 128)  # and the template's


def start_ours(args):
    return serve(args.judgeq, ["-m", args.model, "-t", str(args.threads), "--budget", str(args.budget), "--kv-bytes",
                               str(n_held(args) * args.row_bytes)], args.log + ".judgeq.log")


def start_peer(args):
    # a newcomer would end the answer before it otherwise
    return Server([args.peer, "-m", "llama_cpp.server", "--model", args.model, "--n_ctx", str(n_held(args)), "--n_threads",
                   str(args.threads), "--n_threads_batch", str(args.threads), "--port", str(args.port), "--interrupt_requests",
                   "false"], args.port, args.log + ".peer.log")


def run(server, args, turn):
    answers = [None] * args.clients
    begin = time.monotonic()

    def client(i):
        answers[i] = ask(server.port, prompt(f"{turn} {i}", args.prompt), args.tokens)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(args.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, time.monotonic() - begin


def run_together(server, args, turn):
    """Tokens in --together seconds in which all clients are answered; None where some answer has ended before."""
    streams = Streams(server.port, [prompt(f"{turn} {i}", args.prompt) for i in range(args.clients)], args.longest)
    count = lambda: sum(len(answer.times) for answer in streams.answers)
    before = count()
    time.sleep(args.together)
    n, all_run = count() - before, streams.all_run()
    streams.leave()
    return n if all_run else None


def report(name, answers, seconds):
    done = [answer for answer in answers if not answer.error]
    wrong = sorted({answer.error for answer in answers if answer.error})
    first = [answer.times[0] for answer in done if answer.times]
    pieces = sorted(answer.sent + at for answer in done for at in answer.times)
    rate = lambda times: (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else float("nan")
    each = [rate(answer.times) for answer in done]
    print(f"{name}: {len(done)} of {len(answers)} answered in {seconds:.0f} s, {60 * len(done) / seconds:.2f} requests/min; "
          f"{len(pieces)} tokens; first token p50 {quantile(first, 0.5):.1f} s, p95 {quantile(first, 0.95):.1f} s; "
          f"{rate(pieces):.1f} tokens/s, a client {quantile(each, 0.5):.1f} once it is answered"
          + (f"; errors: {', '.join(wrong)}" if wrong else ""), flush=True)


def report_together(server, args, turn):
    n = run_together(server, args, turn)
    print(f"judgeq, all {args.clients} at once: " + (f"{n / args.together:.1f} tokens/s" if n else
          "some were refused, or had ended before the last began: give --longest, or fewer --clients"), flush=True)


def main():
    args = arguments()
    print(f"{args.clients} clients, {args.prompt} words, {args.tokens} tokens, {n_held(args) * args.row_bytes / 2**20:.0f} MiB of KV "
          f"cache, {args.threads} threads; {processor()}", flush=True)
    for turn in range(args.rounds):
        for name, start in (("judgeq", start_ours), ("llama-cpp-python", start_peer)):
            if start is start_peer and not args.peer:
                continue
            server = start(args)
            try:
                report(name, *run(server, args, turn))
                if start is start_ours and args.together > 0:
                    report_together(server, args, turn)
            finally:
                server.stop()


if __name__ == "__main__":
    main()
