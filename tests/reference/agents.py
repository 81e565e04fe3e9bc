#!/usr/bin/env python3
"""Losses and distances of networks of agents, as tests/agents.rs has them.

    pip install torch numpy safetensors
    python tests/reference/agents.py INIT > tests/reference/agents.json

INIT is the init.safetensors that `flat-train train --save-init --dtype f64 --model mlp --hidden 16` wrote. MNIST is read from
data/mnist in file order. Agent k of K sees rows k n // K to (k + 1) n // K of a batch of n. Each case prints, for five steps,
the agents' mean loss before the step, weighted by their rows, then the agents' mean squared distance to their mean at the end.
The networks are written down by hand here, row by row, not made from graphs.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"
THIRD = 1 / 3

# a ring of five; two rows of three, where corners have two neighbours and the middle ones three
RING = [
    [THIRD, THIRD, 0, 0, THIRD],
    [THIRD, THIRD, THIRD, 0, 0],
    [0, THIRD, THIRD, THIRD, 0],
    [0, 0, THIRD, THIRD, THIRD],
    [THIRD, 0, 0, THIRD, THIRD],
]
GRID = [
    [1 - THIRD - 0.25, 0.25, 0, THIRD, 0, 0],
    [0.25, 0.25, 0.25, 0, 0.25, 0],
    [0, 0.25, 1 - THIRD - 0.25, 0, 0, THIRD],
    [THIRD, 0, 0, 1 - THIRD - 0.25, 0.25, 0],
    [0, 0.25, 0, 0.25, 0.25, 0.25],
    [0, 0, THIRD, 0, 0.25, 1 - THIRD - 0.25],
]


def data():
    with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as f:
        pixels = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(MNIST / "train-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8).astype(np.int64)
    return (torch.from_numpy(pixels.copy()).double() / 255 - 0.1307) / 0.3081, torch.from_numpy(labels)


def loss_of(w, x, y):
    hidden = F.relu(F.linear(x, w["fc1.weight"], w["fc1.bias"]))
    return F.cross_entropy(F.linear(hidden, w["fc2.weight"], w["fc2.bias"]), y)


def run(init, x, y, strategy, weights, batch, momentum, lr, steps=5):
    agents = len(weights)
    w = [{k: v.double().clone() for k, v in init.items()} for _ in range(agents)]
    m = [{k: torch.zeros_like(v) for k, v in w[0].items()} for _ in range(agents)]

    def mixed(of):
        return [{k: sum(a * of[l][k] for l, a in enumerate(row)) for k in of[0]} for row in weights]

    losses = []
    for step in range(steps):
        change, total = [], 0.0
        for k in range(agents):
            first, last = step * batch + k * batch // agents, step * batch + (k + 1) * batch // agents
            leaves = {name: v.clone().requires_grad_() for name, v in w[k].items()}
            loss = loss_of(leaves, x[first:last], y[first:last])
            grads = torch.autograd.grad(loss, list(leaves.values()))
            total += loss.item() * (last - first) / batch
            for name, g in zip(leaves, grads):
                m[k][name] = momentum * m[k][name] + g
            change.append({name: -lr * m[k][name] for name in w[k]})
        losses.append(total)
        if strategy == "consensus":
            w = [{n: v + c[n] for n, v in mix.items()} for mix, c in zip(mixed(w), change)]
        else:
            w = mixed([{n: v + c[n] for n, v in own.items()} for own, c in zip(w, change)])
    mean = {n: sum(own[n] for own in w) / agents for n in w[0]}
    distance = sum(((own[n] - mean[n]) ** 2).sum().item() for own in w for n in mean) / agents
    return {"losses": losses, "distance": distance}


def main():
    init = load_file(sys.argv[1])
    x, y = data()
    cases = {}
    for strategy in ["consensus", "diffusion"]:
        cases[f"{strategy} ring"] = run(init, x, y, strategy, RING, batch=68, momentum=0.9, lr=0.1)
        cases[f"{strategy} grid"] = run(init, x, y, strategy, GRID, batch=60, momentum=0.0, lr=0.2)
    print(json.dumps(cases, indent=1))


if __name__ == "__main__":
    main()
