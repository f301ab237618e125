#!/usr/bin/env python3
"""How far judgeq's predictions are from PyTorch's in F32 on the same dequantised weights, and how far PyTorch's own in BF16 are:
KL divergence of the next token after prompts of a text, in nats.

    cmake --build --preset release && cmake --build --preset release --target bench
    python3 -m venv build/torch && build/torch/bin/pip install torch transformers gguf
    build/torch/bin/python bench/distance.py MODEL.gguf TEXT.txt
"""
import argparse
import pathlib
import subprocess
import tempfile

import numpy
import torch
import transformers

from baseline_torch import load

BUILD = pathlib.Path(__file__).resolve().parent.parent / "build/release"


def log_softmax(logits):
    return torch.log_softmax(torch.from_numpy(logits.copy()).double(), dim=-1)


@torch.inference_mode()
def by_torch(path, dtype, tokens, prompts):
    model = load(path, dtype)
    return numpy.stack([model(torch.from_numpy(tokens[first:first + n].astype(numpy.int64))[None], logits_to_keep=1).logits[0, -1]
                        .float().numpy() for first, n in prompts])


def by_judgeq(path, threads, tokens, prompts):
    with tempfile.NamedTemporaryFile() as file:
        tokens.astype(numpy.int32).tofile(file.name)
        out = subprocess.check_output([BUILD / "last_logits", path, file.name, str(threads), *(f"{first}:{n}" for first, n in prompts)])
    return numpy.frombuffer(out, dtype=numpy.float32).reshape(len(prompts), -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--lengths", default="300,1000,2000,4000", help="of prompts, in tokens (%(default)s)")
    parser.add_argument("--each", type=int, default=3, help="prompts of every length (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model.resolve().parent, gguf_file=options.model.name)
    tokens = numpy.array(tokenizer(options.text.read_text(encoding="utf-8"))["input_ids"])
    prompts = [(137 * i, int(n)) for n in options.lengths.split(",") for i in range(options.each)]
    exact = log_softmax(by_torch(options.model, torch.float32, tokens, prompts))
    for name, logits in (("judgeq", by_judgeq(options.model, options.threads, tokens, prompts)),
                         ("PyTorch BF16", by_torch(options.model, torch.bfloat16, tokens, prompts))):
        other = log_softmax(logits)
        divergence = (exact.exp() * (exact - other)).sum(-1)
        same = (exact.argmax(-1) == other.argmax(-1)).double().mean()
        print(f"{name}: {divergence.mean():.2g} nats on average, {divergence.max():.2g} at most; the same token first in "
              f"{100 * same:.0f} %")


if __name__ == "__main__":
    main()
