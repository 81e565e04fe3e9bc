#!/usr/bin/env python3
"""The losses that PyTorch gets on the runs of tests/parity.rs.

    pip install torch numpy safetensors
    python tests/reference/lenet_mnist.py INIT --optimizer sgd|sam|adamw --lr X --dtype f32|f64 --steps N

INIT is the init.safetensors that `flat-train train --save-init` wrote. MNIST is read from data/mnist in file order,
batches of 128. Prints one loss a line, taken before the update of that step, with all its digits.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

BATCH = 128
MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"


def images(dtype):
    with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as f:
        pixels = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return (torch.from_numpy(pixels.copy()).to(dtype) / 255 - 0.1307) / 0.3081


def labels():
    with gzip.open(MNIST / "train-labels-idx1-ubyte.gz") as f:
        return torch.from_numpy(np.frombuffer(f.read(), np.uint8, offset=8).astype(np.int64))


class LeNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 32, 5)
        self.conv2 = torch.nn.Conv2d(32, 64, 5)
        self.fc1 = torch.nn.Linear(1024, 1024)
        self.fc2 = torch.nn.Linear(1024, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("init")
    parser.add_argument("--optimizer", choices=["sgd", "sam", "adamw"], required=True)
    parser.add_argument("--dtype", choices=["f32", "f64"], default="f32")
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    dtype = {"f32": torch.float32, "f64": torch.float64}[args.dtype]

    model = LeNet().to(dtype)
    model.load_state_dict({k: v.to(dtype) for k, v in load_file(args.init).items()})
    params = list(model.parameters())
    if args.optimizer == "adamw":
        base = torch.optim.AdamW(params, lr=args.lr, weight_decay=0.01)
    else:
        base = torch.optim.SGD(params, lr=args.lr, momentum=0.9, weight_decay=5e-4)
    rho = 0.05

    x, y = images(dtype), labels()
    for step in range(args.steps):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        xb, yb = x[rows], y[rows]
        base.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        if args.optimizer == "sam":
            norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in params))
            old = [p.detach().clone() for p in params]
            with torch.no_grad():
                for p in params:
                    p.add_(p.grad, alpha=float(rho / norm))
            base.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            with torch.no_grad():
                for p, o in zip(params, old):
                    p.copy_(o)
        base.step()
        print(repr(loss.item()))


if __name__ == "__main__":
    main()
