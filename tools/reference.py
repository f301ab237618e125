#!/usr/bin/env python3
"""A slow, plain PyTorch reference of the method, to check the C code against. F32 throughout, llama architecture only.

    pip install torch numpy gguf llama-cpp-python      (llama-cpp-python only for its tokenizer)
    tools/reference.py vectors MODEL.gguf SOFT.npy OUT.npz [--n 300]   golden values for one prompt (see vectors())
    tools/reference.py train   MODEL.gguf EXAMPLES_DIR OUT.npy [--loss kl|mse] [--lr 5e-3] [--epochs 3]

tests/golden holds the values of one run of `vectors`; tools/golden.py unpacks OUT.npz into it. tests/golden/README.md says
from which files.

Shapes: K, V are lists over layers of [n_head_kv, n, head_dim] with K already rotated; attention maps are
[n_head, n_query, n_key]; soft tokens are [n_soft, n_embd]. Rope is the llama (interleaved) kind.
"""
import argparse, ctypes, glob, math
import numpy as np, torch
from gguf import GGUFReader, dequantize


class Model:
    def __init__(self, path):
        r = GGUFReader(path)
        val = lambda k: r.fields["llama." + k].parts[r.fields["llama." + k].data[0]][0]
        self.n_layer, self.n_embd = int(val("block_count")), int(val("embedding_length"))
        self.n_head, self.n_head_kv = int(val("attention.head_count")), int(val("attention.head_count_kv"))
        self.head_dim = self.n_embd // self.n_head
        self.eps = float(val("attention.layer_norm_rms_epsilon"))
        self.w = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).astype(np.float32).copy())
                  .reshape([int(x) for x in reversed(t.shape)]) for t in r.tensors}
        self.embd = self.w["token_embd.weight"]
        self.unembd = self.w.get("output.weight", self.embd)
        self.inv_freq = 1.0 / float(val("rope.freq_base")) ** (torch.arange(0, self.head_dim, 2).float() / self.head_dim)

    def norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.w[name + ".weight"]

    def rope(self, x, pos):
        a = pos.float()[:, None] * self.inv_freq
        c, s = a.cos()[:, None], a.sin()[:, None]
        e, o = x[..., 0::2], x[..., 1::2]
        return torch.stack([e * c - o * s, e * s + o * c], -1).flatten(-2)

    def qkv(self, l, x, pos):
        """x [n, n_embd] -> q [n_head, n, head_dim], k and v [n_head_kv, n, head_dim]"""
        h = self.norm(x, f"blk.{l}.attn_norm")
        proj = lambda m, heads: (h @ self.w[f"blk.{l}.attn_{m}.weight"].T).view(len(x), heads, self.head_dim)
        q, k = self.rope(proj("q", self.n_head), pos), self.rope(proj("k", self.n_head_kv), pos)
        return q.transpose(0, 1), k.transpose(0, 1), proj("v", self.n_head_kv).transpose(0, 1)

    def block(self, l, x, heads_out):
        x = x + heads_out.transpose(0, 1).reshape(len(x), -1) @ self.w[f"blk.{l}.attn_output.weight"].T
        h, w = self.norm(x, f"blk.{l}.ffn_norm"), lambda m: self.w[f"blk.{l}.ffn_{m}.weight"].T
        return x + (torch.nn.functional.silu(h @ w("gate")) * (h @ w("up"))) @ w("down")

    def extend(self, x, pos, K, V):
        """Run new embeddings x [T, n_embd] at positions pos over the caches. Returns the hidden states, the new K and V,
        and per layer the attention maps [n_head, T, n_cached + T]."""
        T, g = len(x), self.n_head // self.n_head_kv
        causal = torch.full((T, T), float("-inf")).triu(1)
        nK, nV, maps = [], [], []
        for l in range(self.n_layer):
            q, k, v = self.qkv(l, x, pos)
            q = q.reshape(self.n_head_kv, g * T, self.head_dim) / math.sqrt(self.head_dim)
            s = [(q @ K[l].transpose(1, 2)).view(self.n_head, T, -1)] if K else []
            s += [(q @ k.transpose(1, 2)).view(self.n_head, T, T) + causal]
            a = torch.cat(s, -1).softmax(-1)
            vv = torch.cat([V[l], v], 1) if V else v
            o = (a.reshape(self.n_head_kv, g * T, -1) @ vv).view(self.n_head, T, self.head_dim)
            x = self.block(l, x, o)
            nK.append(k); nV.append(v); maps.append(a)
        return x, nK, nV, maps

    def logits(self, x):
        return self.norm(x, "output_norm") @ self.unembd.T


def kv_mean(model, a):
    """mean over the query heads that share a KV head: [n_head, n] -> [n_head_kv, n]"""
    return a.view(model.n_head_kv, -1, a.shape[-1]).mean(1)


def soft_maps(model, soft, n, K, V):
    """mean over the soft tokens of their attention rows, cut to the prompt: [n_layer, n_head, n]"""
    maps = model.extend(soft, torch.arange(n, n + len(soft)), K, V)[3]
    return torch.stack([m[..., :n].mean(1) for m in maps])


def window_maps(maps, w=32):
    """SnapKV's observation window: mean over the last w prompt rows: [n_layer, n_head, n]"""
    return torch.stack([m[:, -w:].mean(1) for m in maps])


def loss_mse(a, t):
    """the paper's loss, up to a constant: squared error summed over positions, mean over layers and heads"""
    return (a - t).pow(2).sum(-1).mean()


def loss_kl(a, t):
    """KL(target || soft) after renormalising both over the prompt; mean over layers and heads, in nats"""
    a, t = a / (a.sum(-1, keepdim=True) + 1e-9), t / (t.sum(-1, keepdim=True) + 1e-9)
    return (t * ((t + 1e-7).log() - (a + 1e-7).log())).sum(-1).mean()


def hit_rate(model, a, t, budget):
    """share of the target's top `budget` pairs, per layer and KV head, among the method's top `budget`"""
    hits = [len(set(x.topk(budget).indices.tolist()) & set(y.topk(budget).indices.tolist())) / budget
            for al, tl in zip(a, t) for x, y in zip(kv_mean(model, al), kv_mean(model, tl))]
    return sum(hits) / len(hits)


@torch.no_grad()
def respond(model, K, V, n, logits, steps, eos):
    """greedy answer from a full cache; its token ids and the target maps [n_layer, n_head, n]"""
    ids, total = [int(logits.argmax())], 0
    for t in range(steps):
        x, k, v, maps = model.extend(model.embd[[ids[-1]]], torch.tensor([n + t]), K, V)
        total = total + torch.stack([m[:, 0, :n] for m in maps])
        K, V = [torch.cat(p, 1) for p in zip(K, k)], [torch.cat(p, 1) for p in zip(V, v)]
        ids.append(int(model.logits(x)[0].argmax()))
        if ids[-1] in eos:
            break
    return ids, total / (t + 1)


def vectors(model, soft, ids, out, eos=(2,)):
    """Golden values for one prompt: last logits; SnapKV and judge maps; the model's own response and the target maps;
    both losses and their gradients with respect to the soft tokens; hit rates at budget 64."""
    n = len(ids)
    with torch.no_grad():
        x, K, V, maps = model.extend(model.embd[ids], torch.arange(n), [], [])
        logits = model.logits(x[-1:])[0]
        answer, target = respond(model, K, V, n, logits, 32, eos)
    r = dict(ids=np.array(ids), logits=logits.numpy(), answer=np.array(answer), target=target.numpy(),
             window=window_maps(maps).numpy(), hit_window=hit_rate(model, window_maps(maps), target, 64))
    for name, loss in (("mse", loss_mse), ("kl", loss_kl)):
        s = soft.clone().requires_grad_(True)
        a = soft_maps(model, s, n, K, V)
        value = loss(a, target)
        value.backward()
        r |= {"loss_" + name: value.item(), "grad_" + name: s.grad.numpy(), "judge": a.detach().numpy()}
    r["hit_judge"] = hit_rate(model, torch.from_numpy(r["judge"]), target, 64)
    np.savez_compressed(out, **r)
    print({k: (v if isinstance(v, float) else v.shape) for k, v in r.items()})


def train(model, files, out, loss, lr, epochs):
    """files: torch saves of {K, V: lists, A: target maps, n}. AdamW, 20 warm-up steps, cosine decay to 0."""
    torch.manual_seed(0)
    data = [torch.load(f) for f in files]
    soft = model.embd[torch.randint(100, 40000, (32,))].clone().requires_grad_(True)
    opt, step, total = torch.optim.AdamW([soft], lr=lr, weight_decay=0.0), 0, epochs * len(data)
    for epoch in range(epochs):
        for i in torch.randperm(len(data)).tolist():
            opt.param_groups[0]["lr"] = lr * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / total))
            e = data[i]
            a = soft_maps(model, soft, e["n"], [k.float() for k in e["K"]], [v.float() for v in e["V"]])
            value = loss(a, e["A"].float())
            opt.zero_grad(); value.backward(); opt.step(); step += 1
            print(f"\repoch {epoch} step {step}/{total} loss {value.item():.4f}", end="", flush=True)
        np.save(out, soft.detach().numpy())


def tokenize(path, text):
    import llama_cpp as lc
    quiet = lc.llama_log_callback(lambda *a: None); lc.llama_log_set(quiet, ctypes.c_void_p(0))
    p = lc.llama_model_default_params(); p.vocab_only = True
    m = lc.llama_model_load_from_file(path.encode(), p)
    b = text.encode(); buf = (lc.llama_token * (len(b) + 16))()
    return list(buf[:lc.llama_tokenize(lc.llama_model_get_vocab(m), b, len(b), buf, len(buf), False, True)])


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["vectors", "train"]); p.add_argument("model"); p.add_argument("src"); p.add_argument("out")
    p.add_argument("--n", type=int, default=300); p.add_argument("--loss", default="kl")
    p.add_argument("--lr", type=float, default=5e-3); p.add_argument("--epochs", type=int, default=3)
    a = p.parse_args()
    m = Model(a.model)
    if a.what == "vectors":
        text = " ".join(f"Fact {i}: item {i * 37 % 101} is stored in room {i * 53 % 97}." for i in range(a.n // 18))
        chat = f"<|im_start|>user\n{text}\nIn which room is item 37 stored?<|im_end|>\n<|im_start|>assistant\n"
        vectors(m, torch.from_numpy(np.load(a.src)), tokenize(a.model, chat), a.out)
    else:
        train(m, sorted(glob.glob(a.src + "/*.pt")), a.out, dict(kl=loss_kl, mse=loss_mse)[a.loss], a.lr, a.epochs)
