#!/usr/bin/env python3
"""What every deterministic rule does to a small network, computed by PyTorch from the papers' formulas.

    pip install torch numpy
    python tests/reference/canon.py > tests/reference/canon.json

An MLP with 784-32-10 units, tanh, cross entropy, f64; the first 256 training images of data/mnist in file order as one
batch; 20 steps at a constant learning rate. The first weights follow a formula, so no file is needed. For each case the
JSON has the flags of `flat-train train` that replay it, the loss of every step and a digest of the final weights: their
sum, their norm and eight of them. tests/canon.rs runs the tool on every case. `--init FILE` starts from a safetensors
file instead, `--only plain,sam` computes the cases of these
rules, `--weights DIR` also saves final weights there.
"""

import argparse
import gzip
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch

from canon_bases import AdamW, ScheduleFree, Sgd
from canon_rules import *

MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"
ROWS, STEPS, HIDDEN = 256, 20, 32
SHAPES = {"fc1.bias": (HIDDEN,), "fc1.weight": (HIDDEN, 784), "fc2.bias": (10,), "fc2.weight": (10, HIDDEN)}
FLAGS = f"--model mlp --hidden {HIDDEN} --activation tanh --dtype f64 --no-shuffle --train-limit {ROWS} --batch-size {ROWS}"
FLAGS += f" --steps {STEPS} --log-steps --schedule constant"
SGD = "--base sgd --lr 0.1 --momentum 0.9 --weight-decay 0.0005"
ADAMW = "--base adamw --lr 0.003 --weight-decay 0.01"


def batch():
    with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as f:
        pixels = np.frombuffer(f.read(16 + ROWS * 784), np.uint8, offset=16).reshape(ROWS, 784)
    with gzip.open(MNIST / "train-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(8 + ROWS), np.uint8, offset=8).astype(np.int64)
    return (torch.from_numpy(pixels.copy()).double() / 255 - 0.1307) / 0.3081, torch.from_numpy(labels)


def init():
    """Weight i of all is (h / 2^32 - 1/2) scale with h = 2654435761 (i + 1) mod 2^32: exact in f64 up to one product."""
    out, first = [], 1
    for name, shape in SHAPES.items():
        n = math.prod(shape)
        h = (np.arange(first, first + n, dtype=np.uint64) * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
        scale = 0.0625 if name.startswith("fc1") else 0.5
        out.append((h.astype(np.float64) / 2.0**32 - 0.5) * scale)
        first += n
    return torch.from_numpy(np.concatenate(out))


def split(p):
    parts = torch.split(p, [math.prod(s) for s in SHAPES.values()])
    return {name: part.view(shape) for (name, shape), part in zip(SHAPES.items(), parts)}


def is_weight(p):
    return torch.cat([torch.full((math.prod(s),), name.endswith("weight")) for name, s in SHAPES.items()])


class Objective:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def losses(self, p):
        w = split(p)
        hidden = torch.tanh(self.x @ w["fc1.weight"].T + w["fc1.bias"])
        logits = hidden @ w["fc2.weight"].T + w["fc2.bias"]
        return torch.nn.functional.cross_entropy(logits, self.y, reduction="none")

    def __call__(self, p, rows=None):
        if rows is not None:
            return self.part(rows)(p)
        q = p.detach().clone().requires_grad_()
        loss = self.losses(q).mean()
        return loss.item(), torch.autograd.grad(loss, q)[0]

    def rows(self):
        return torch.arange(len(self.y))

    def part(self, rows):
        return Objective(self.x[rows], self.y[rows])


def sgd(**more):
    return lambda: Sgd(**{"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005, **more})


def adamw():
    return AdamW(0.003, 0.01)


def run(f, theta, rule, base):
    losses = []
    for _ in range(STEPS):
        est = rule.estimate(f, theta, base)
        theta = base.step(theta, est.grad)
        if est.direct is not None:
            theta = theta - base.lr * est.direct
        losses.append(est.loss)
    return losses, base.model(theta)


RULES = {  # name: flags, rule
    "plain": ("--optimizer plain", Plain),
    "sam": ("--optimizer sam --rho 0.05", lambda: Sam(0.05)),
    "usam": ("--optimizer usam --rho 0.05", lambda: Usam(0.05)),
    "asam": ("--optimizer asam --rho 0.5 --asam-eta 0.01", lambda: Asam(0.5, 0.01, is_weight)),
    "gsam": ("--optimizer gsam --rho 0.05 --gsam-alpha 0.4", lambda: Gsam(0.05, 0.4)),
    "looksam": ("--optimizer looksam --rho 0.05 --looksam-k 3 --looksam-alpha 0.7", lambda: LookSam(0.05, 3, 0.7)),
    "esam": ("--optimizer esam --rho 0.05 --esam-beta 1 --esam-gamma 0.5", lambda: Esam(0.05, 1.0, 0.5)),
    "msam": ("--optimizer msam --rho 0.3", lambda: Msam(0.3)),
    "fsam": ("--optimizer fsam --rho 0.1 --fsam-sigma 0.8 --fsam-lambda 0.9", lambda: Fsam(0.1, 0.8, 0.9)),
    "wsam": ("--optimizer wsam --rho 0.05 --wsam-gamma 0.9", lambda: Wsam(0.05, 0.9)),
    "wsam-coupled": ("--optimizer wsam --rho 0.05 --wsam-gamma 0.7 --wsam-coupled", lambda: Wsam(0.05, 0.7, True)),
    "gnp": ("--optimizer gnp --rho 0.1 --gnp-alpha 0.8", lambda: Gnp(0.1, 0.8)),
    "vasso": ("--optimizer vasso --rho 0.05 --vasso-theta 0.4", lambda: Vasso(0.05, 0.4)),
    "stablesam": ("--optimizer stablesam --rho 0.05", lambda: StableSam(0.05)),
}


def cases():
    """name: flags, rule, base"""
    out = {}
    for name, (flags, rule) in RULES.items():
        out[f"{name} over sgd"] = (f"{flags} {SGD}", rule, sgd())
        out[f"{name} over adamw"] = (f"{flags} {ADAMW}", rule, adamw)
    out["plain over nesterov"] = (f"--optimizer plain {SGD} --nesterov", Plain, sgd(nesterov=True))
    out["sam without momentum"] = (
        "--optimizer sam --rho 0.5 --base sgd --lr 0.1 --momentum 0 --weight-decay 0.0005",
        lambda: Sam(0.5),
        sgd(momentum=0.0),
    )
    return out


def digest(theta):
    at = lambda n: [i * 2654435761 % n for i in (1, 2)]
    names = {f"{name}[{i}]": part.flatten()[i].item() for name, part in split(theta).items() for i in at(part.numel())}
    return {"sum": theta.sum().item(), "norm": theta.norm().item(), "elements": names}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--init")
    parser.add_argument("--only")
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    theta = init()
    if args.init:
        from safetensors.torch import load_file

        file = load_file(args.init)
        theta = torch.cat([file[name].double().flatten() for name in SHAPES])
    f = Objective(*batch())
    out = []
    for name, (flags, rule, base) in cases().items():
        if args.only and name.split()[0] not in args.only.split(","):
            continue
        losses, last = run(f, theta, rule(), base())
        out.append({"name": name, "flags": f"{FLAGS} {flags}", "losses": losses, "weights": digest(last)})
        if args.weights:
            np.save(args.weights / f"{name.replace(' ', '_')}.npy", last.numpy())
        print(f"{name}: {losses[0]:.4f} {losses[-1]:.4f}", file=sys.stderr)
    print(json.dumps({"torch": torch.__version__, "cases": out}, indent=1))


if __name__ == "__main__":
    main()
