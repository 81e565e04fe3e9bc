#!/usr/bin/env python3
"""Loss, gradient norm and trace of the Hessian of a small relu network under three normalisations of the pixels.

    pip install numpy
    python tests/reference/pixels.py

The network has 784-8-10 units and weights by a formula; the loss is the mean cross entropy of the first 64 training images
of data/mnist. Away from the kinks the Hessian of a relu network's loss has the trace of its Gauss-Newton matrix, the mean of
sum_c p_c |J_c|^2 - |sum_c p_c J_c|^2 over the images, with J_c the gradient of logit c by all parameters. Written out by
hand: no automatic differentiation, no random vector. tests/honest.rs holds what it printed.
"""

import gzip
from pathlib import Path

import numpy as np

MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"
N, HIDDEN, CLASSES = 64, 8, 10


def formula(rows, columns, scale, shift):
    return scale * np.sin(shift + np.arange(rows * columns, dtype=np.float64).reshape(rows, columns))


with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as f:
    pixels = np.frombuffer(f.read(16 + N * 784), np.uint8, offset=16).reshape(N, 784) / 255.0
with gzip.open(MNIST / "train-labels-idx1-ubyte.gz") as f:
    labels = np.frombuffer(f.read(8 + N), np.uint8, offset=8)

w1, b1 = formula(HIDDEN, 784, 0.1, 1.0), formula(1, HIDDEN, 0.1, 2.0)[0]
w2, b2 = formula(CLASSES, HIDDEN, 0.5, 3.0), formula(1, CLASSES, 0.1, 4.0)[0]

for name, mean, std in [("none", 0.0, 1.0), ("dataset", 0.1307, 0.3081), ("half", 0.5, 0.25)]:
    x = (pixels - mean) / std
    before = x @ w1.T + b1
    hidden, on = np.maximum(before, 0.0), (before > 0.0).astype(np.float64)
    logits = hidden @ w2.T + b2
    logits -= logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(N), labels]).mean()
    # gradient
    d2 = p.copy()
    d2[np.arange(N), labels] -= 1.0
    d1 = (d2 @ w2) * on
    parts = [d1.T @ x / N, d1.mean(axis=0), d2.T @ hidden / N, d2.mean(axis=0)]
    norm = np.sqrt(sum((g**2).sum() for g in parts))
    # trace: J_c is (w2[c] on) x^T, w2[c] on, e_c hidden^T, e_c
    inputs, units = (x**2).sum(axis=1) + 1.0, (hidden**2).sum(axis=1) + 1.0
    first = np.einsum("nc,ch,nh->n", p, w2**2, on) - (((p @ w2) * on) ** 2).sum(axis=1)
    last = 1.0 - (p**2).sum(axis=1)
    print(name, repr(float(loss)), repr(float(norm)), repr(float((first * inputs + last * units).mean())))
