#!/usr/bin/env python3
"""PyTorch on the same model, for bench/performance.py: reads a prompt, optionally evicts as kvpress's SnapKV does, decodes,
prints one line of JSON. Hugging Face's Llama with scaled_dot_product_attention, and MKL or oneDNN behind it.

    python3 -m venv build/torch && build/torch/bin/pip install torch transformers gguf kvpress
    build/torch/bin/python bench/baseline_torch.py MODEL.gguf --prompt 4000 --decode 64 --threads 2 --dtype bf16 --budget 512
"""
import argparse
import contextlib
import json
import sys
import time

import numpy
import torch
from gguf import GGUFReader, dequantize
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def configuration(reader, tied):
    def value(key):
        field = reader.fields["llama." + key]
        return field.parts[field.data[0]][0].item()

    rows = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight").shape[1]
    return LlamaConfig(hidden_size=value("embedding_length"), intermediate_size=value("feed_forward_length"),
                       num_hidden_layers=value("block_count"), num_attention_heads=value("attention.head_count"),
                       num_key_value_heads=value("attention.head_count_kv"), rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
                       rope_theta=value("rope.freq_base"), max_position_embeddings=value("context_length"),
                       vocab_size=int(rows), tie_word_embeddings=tied)


def half_rotations(weight, n_head):
    """GGUF has the rotated pairs of a llama model beside each other, Hugging Face has them half a head apart."""
    rows, columns = weight.shape
    return weight.reshape(n_head, rows // n_head // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def load(path, dtype):
    reader = GGUFReader(path)
    names = {tensor.name for tensor in reader.tensors}
    config = configuration(reader, "output.weight" not in names)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state = {}
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        weight = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32).reshape(shape)
        name = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
                "output.weight": "lm_head.weight"}.get(tensor.name)
        if tensor.name.startswith("blk."):
            _, layer, part, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{NAMES[part]}.weight"
            weight = half_rotations(weight, heads[part]) if part in heads else weight
        if name:
            state[name] = torch.from_numpy(weight.copy())
    config._attn_implementation = "sdpa"
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        sys.exit(f"baseline_torch: {path}: {missing} missing, {unexpected} unexpected")
    model.tie_weights()
    return model.to(dtype).eval()


def evicting(model, budget, n_prompt):
    if not budget:
        return contextlib.nullcontext()
    from kvpress import SnapKVPress
    return SnapKVPress(compression_ratio=1 - budget / n_prompt, window_size=32, kernel_size=7)(model)


def tokens(n, n_vocab):
    return torch.randint(n_vocab, (1, n), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def measure(model, options):
    from transformers import DynamicCache
    cache = DynamicCache()
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
