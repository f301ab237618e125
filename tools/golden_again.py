#!/usr/bin/env python3
"""Scores of KVzip's second reading (arXiv 2505.23416) as kvpress 0.5.5 defines them, for tests/test_again.c. NumPy in F32.

    pip install numpy gguf tokenizers
    tools/golden_again.py SmolLM2-135M-Instruct.Q4_1.gguf tests/golden

Shares no code with judgeq or with kvpress. Reads FOLDER/ids.txt, the prompt of the other golden values, and writes
FOLDER/again.npy [n_layer, n_head_kv, n]: after the prompt, its tokens are read again in pieces of PIECE tokens, each behind
an instruction and at the positions after the prompt. A row's score is the maximum, over the query heads of its KV head and
the rows of its piece, of the attention among the first SINK rows (as far as they come before the piece), the piece's rows
and the second reading's own.

kvpress leaves the chat template's opening out of the second reading. Here it is read again with the rest, as if the template
had none: what judgeq does. It also puts the first SINK rows on top in the end, which is judgeq's keep=sink.
"""
import sys

import numpy as np
from gguf import GGUFReader, dequantize
from tokenizers import Tokenizer, models, pre_tokenizers

PIECE, SINK, LEAD = 128, 4, 8
FIRST = "\n\nRepeat the previous context exactly."
LATER = "\n\nRepeat the part of the previous context exactly, starting with"
TURN = ["<|im_end|>", "\n", "<|im_start|>", "assistant\n"]  # what the chat template has after a user's last word


class Model:
    """llama architecture; K[l], V[l]: the rows so far, [n, n_head_kv, head_dim], keys rotated"""

    def __init__(self, path):
        self.reader = r = GGUFReader(path)
        value = lambda key: r.fields["llama." + key].parts[r.fields["llama." + key].data[0]][0]
        self.n_layer, n_embd = int(value("block_count")), int(value("embedding_length"))
        self.n_head, self.n_kv = int(value("attention.head_count")), int(value("attention.head_count_kv"))
        self.dim, self.eps = n_embd // self.n_head, float(value("attention.layer_norm_rms_epsilon"))
        self.freq = float(value("rope.freq_base")) ** -(np.arange(0, self.dim, 2) / self.dim)
        self.w = {t.name: dequantize(t.data, t.tensor_type).astype(np.float32).reshape([int(x) for x in t.shape[::-1]])
                  for t in r.tensors}

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * self.w[name + ".weight"]

    def rotate(self, x, first):
        """x [n, heads, dim] at positions first, first + 1, ...; neighbours are pairs"""
        angle = np.outer(np.arange(first, first + len(x)), self.freq)[:, None]
        out, c, s = np.empty_like(x), np.cos(angle), np.sin(angle)
        out[..., 0::2] = x[..., 0::2] * c - x[..., 1::2] * s
        out[..., 1::2] = x[..., 0::2] * s + x[..., 1::2] * c
        return out

    def forward(self, ids, K, V, see=lambda layer, products: None):
        """ids after the rows of K and V -> K and V with their rows. see gets the masked products [n_head, n, n_key]."""
        first, n = len(K[0]), len(ids)
        x = self.w["token_embd.weight"][ids]
        K, V = list(K), list(V)
        hidden = np.triu(np.full((n, n), -np.inf, np.float32), 1)
        for l in range(self.n_layer):
            h = self.norm(x, f"blk.{l}.attn_norm")
            q, k, v = ((h @ self.w[f"blk.{l}.attn_{m}.weight"].T).reshape(n, -1, self.dim) for m in "qkv")
            K[l] = np.concatenate([K[l], self.rotate(k, first)])
            V[l] = np.concatenate([V[l], v])
            group = self.n_head // self.n_kv
            keys, values = (np.repeat(rows, group, axis=1).transpose(1, 0, 2) for rows in (K[l], V[l]))
            products = self.rotate(q, first).transpose(1, 0, 2) @ keys.transpose(0, 2, 1) / np.sqrt(self.dim)
            products = products.astype(np.float32)
            products[..., first:] += hidden
            see(l, products)
            out = softmax(products) @ values
            x = x + out.transpose(1, 0, 2).reshape(n, -1) @ self.w[f"blk.{l}.attn_output.weight"].T
            h, gate = self.norm(x, f"blk.{l}.ffn_norm"), self.w[f"blk.{l}.ffn_gate.weight"]
            g = h @ gate.T
            x = x + (g / (1 + np.exp(-g)) * (h @ self.w[f"blk.{l}.ffn_up.weight"].T)) @ self.w[f"blk.{l}.ffn_down.weight"].T
        return K, V


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def tokenizer(reader):
    """text -> ids, by the vocabulary in the model's file, split as SmolLM2's tokenizer splits; and ids of whole tokens"""
    words = lambda key: [str(bytes(reader.fields[key].parts[i]), "utf-8") for i in reader.fields[key].data]
    ids = {word: i for i, word in enumerate(words("tokenizer.ggml.tokens"))}
    merges = [tuple(merge.split(" ")) for merge in words("tokenizer.ggml.merges")]
    t = Tokenizer(models.BPE(vocab=ids, merges=merges))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return lambda text: [ids[text]] if text.startswith("<|") else t.encode(text).ids


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model, folder = Model(sys.argv[1]), sys.argv[2]
    encode = tokenizer(model.reader)
    ids = [int(line) for line in open(folder + "/ids.txt")]
    turn = [i for text in TURN for i in encode(text)]
    n = len(ids)
    none = [np.zeros((0, model.n_kv, model.dim), np.float32)] * model.n_layer
    K, V = model.forward(ids, none, none)
    score = np.zeros((model.n_layer, model.n_kv, n), np.float32)
    for first in range(0, n, PIECE):
        piece = ids[first:first + PIECE]
        ask = encode(FIRST) if first == 0 else encode(LATER) + ids[first - LEAD:first]
        sink, end = min(SINK, first), first + len(piece)

        def see(l, products):
            some = np.concatenate([products[..., :sink], products[..., first:end], products[..., n:]], -1)
            a = softmax(some)[..., sink:sink + len(piece)].max(1)
            score[l, :, first:end] = a.reshape(model.n_kv, -1, len(piece)).max(1)

        model.forward(ask + turn + piece, K, V, see)
        print(first, ask, turn)
    np.save(folder + "/again.npy", score.astype("<f4"))


if __name__ == "__main__":
    main()
