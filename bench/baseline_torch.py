#!/usr/bin/env python3
"""PyTorch on the same model, for bench/performance.py: reads a prompt, optionally evicts as kvpress's SnapKV does, decodes,
prints one line of JSON. Hugging Face's Llama with scaled_dot_product_attention, on MKL or oneDNN.

    python3 -m venv build/torch && build/torch/bin/pip install torch transformers gguf kvpress
    build/torch/bin/python bench/baseline_torch.py MODEL.gguf --prompt 4000 --decode 64 --threads 2 --dtype bf16 --budget 512
"""
import argparse
import contextlib
import json
import os
import time

import torch
import transformers


def load(path, dtype):
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers.AutoModelForCausalLM.from_pretrained(
        os.path.dirname(os.path.abspath(path)), gguf_file=os.path.basename(path), dtype=dtype, attn_implementation="sdpa").eval()


def evicting(model, budget, n_prompt):
    if not budget:
        return contextlib.nullcontext()
    from kvpress import SnapKVPress
    return SnapKVPress(compression_ratio=1 - budget / n_prompt, window_size=32, kernel_size=7)(model)


def tokens(n, n_vocab):
    return torch.randint(n_vocab, (1, n), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def measure(model, options):
    cache = transformers.DynamicCache()
    ids = tokens(options.prompt, model.config.vocab_size)
    start = time.monotonic()
    with evicting(model, options.budget, options.prompt):
        out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1].argmax(-1, keepdim=True)
    read = time.monotonic()
    rows = cache.get_seq_length()
    for i in range(options.decode):
        position = torch.tensor([[options.prompt + i]])
        out = model(token, past_key_values=cache, use_cache=True, position_ids=position)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
    return {"prefill_s": read - start, "decode_s": time.monotonic() - read, "decoded": options.decode, "rows": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--prompt", type=int, required=True, help="tokens")
    parser.add_argument("--decode", type=int, default=64, help="tokens (%(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--budget", type=int, help="rows that SnapKV keeps per layer and KV head (all)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(options.model, {"f32": torch.float32, "bf16": torch.bfloat16}[options.dtype])
    with torch.inference_mode():
        model(tokens(64, model.config.vocab_size))  # warm-up: oneDNN and MKL choose and compile their kernels
    print(json.dumps(measure(model, options)))


if __name__ == "__main__":
    main()
