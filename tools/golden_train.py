#!/usr/bin/env python3
"""Ten optimiser steps of tools/reference.py's training, on a tiny model, for tests/test_gradient.c to follow.

    golden_train.py TINY.gguf FOLDER      (needs torch, numpy, gguf; TINY.gguf is the tests' tiny model "rope-base")

Three examples in turn, loss kl, AdamW as train() sets it up: 20 warm-up steps, cosine to 0 over the ten. The prompts and
responses are arithmetic, so that the test can make them too: token i of example e is (37 i + 11 e + 5) % 200, prompts of
30 + 5 e tokens, responses of 6 more tokens, all of whose rows count. The soft tokens start as the embeddings of tokens
100 to 107. Writes train_soft.npy [10, 8, n_embd], the soft tokens after each step, and train_loss.npy [10], F32.
"""
import math
import sys

import numpy as np
import torch

import reference

STEPS, EXAMPLES, SOFT, RATE = 10, 3, 8, 5e-3


def example(model, e):
    n, m = 30 + 5 * e, 6
    ids = torch.tensor([(37 * i + 11 * e + 5) % 200 for i in range(n + m)])
    with torch.no_grad():
        _, K, V, maps = model.extend(model.embd[ids], torch.arange(n + m), [], [])
    return n, [k[:, :n] for k in K], [v[:, :n] for v in V], torch.stack([a[:, n:, :n].mean(1) for a in maps])


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    model = reference.Model(sys.argv[1])
    data = [example(model, e) for e in range(EXAMPLES)]
    soft = model.embd[torch.arange(100, 100 + SOFT)].clone().requires_grad_(True)
    optimiser = torch.optim.AdamW([soft], lr=RATE, weight_decay=0.0)
    tokens, losses = [], []
    for step in range(STEPS):
        rate = RATE * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        optimiser.param_groups[0]["lr"] = rate
        n, K, V, target = data[step % EXAMPLES]
        loss = reference.loss_kl(reference.soft_maps(model, soft, n, K, V), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        tokens.append(soft.detach().numpy().copy())
        losses.append(loss.item())
    np.save(sys.argv[2] + "/train_soft.npy", np.stack(tokens).astype("<f4"))
    np.save(sys.argv[2] + "/train_loss.npy", np.array(losses, dtype="<f4"))


if __name__ == "__main__":
    main()
