#!/usr/bin/env python3
"""What every deterministic rule does to a small network, computed by PyTorch from the papers' formulas.

    pip install torch numpy
    python tests/reference/canon.py > tests/reference/canon.json

An MLP with 784-32-10 units, tanh, cross entropy, f64; the first 256 training images of data/mnist in file order as one
batch; 20 steps at a constant learning rate. The first weights follow a formula, so no file is needed. For each case the
JSON has the flags of `flat-train train` that replay it, the loss of every step and a digest of the final weights: their
sum, their norm and eight of them. tests/canon.rs runs the tool on every case. `--only plain,sam` computes the cases of these
rules, `--weights DIR` also saves final weights there.
"""

import argparse
import gzip
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from canon_bases import AdamW, ScheduleFree, Sgd
from canon_rules import *

MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"
ROWS, STEPS = 256, 20
FLAGS = f"--activation tanh --dtype f64 --no-shuffle --train-limit {ROWS} --batch-size {ROWS} --steps {STEPS} --log-steps"
SGD = "--base sgd --lr 0.1 --momentum 0.9 --weight-decay 0.0005"
ADAMW = "--base adamw --lr 0.003 --weight-decay 0.01"


def batch():
    with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as f:
        pixels = np.frombuffer(f.read(16 + ROWS * 784), np.uint8, offset=16).reshape(ROWS, 784)
    with gzip.open(MNIST / "train-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(8 + ROWS), np.uint8, offset=8).astype(np.int64)
    return (torch.from_numpy(pixels.copy()).double() / 255 - 0.1307) / 0.3081, torch.from_numpy(labels)


def shapes(hidden):
    return {"fc1.bias": (hidden,), "fc1.weight": (hidden, 784), "fc2.bias": (10,), "fc2.weight": (10, hidden)}


def init(hidden):
    """Weight i of all is (h / 2^32 - 1/2) scale with h = 2654435761 (i + 1) mod 2^32: exact in f64 up to one product."""
    out, first = [], 1
    for name, shape in shapes(hidden).items():
        n = math.prod(shape)
        h = (np.arange(first, first + n, dtype=np.uint64) * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
        scale = 0.0625 if name.startswith("fc1") else 0.5
        out.append((h.astype(np.float64) / 2.0**32 - 0.5) * scale)
        first += n
    return torch.from_numpy(np.concatenate(out))


def split(p):
    named = shapes((len(p) - 10) // 795)
    parts = torch.split(p, [math.prod(s) for s in named.values()])
    return {name: part.view(shape) for (name, shape), part in zip(named.items(), parts)}


def is_weight(p):
    return torch.cat([torch.full((part.numel(),), name.endswith("weight")) for name, part in split(p).items()])


class Objective:
    def __init__(self, x, y, mask=1.0):
        self.x, self.y, self.mask = x, y, mask

    def losses(self, p):
        return self.losses_of(**{name.replace(".", "_"): part for name, part in split(p).items()})

    def losses_of(self, fc1_bias, fc1_weight, fc2_bias, fc2_weight):
        hidden = torch.tanh(self.x @ fc1_weight.T + fc1_bias)
        return torch.nn.functional.cross_entropy(hidden @ fc2_weight.T + fc2_bias, self.y, reduction="none")

    def __call__(self, p, rows=None):
        if rows is not None:
            return self.part(rows)(p)
        q = p.detach().clone().requires_grad_()
        loss = self.losses(q).mean()
        return loss.item(), torch.autograd.grad(loss, q)[0]

    def rows(self):
        return torch.arange(len(self.y))

    def part(self, rows):
        return Objective(self.x[rows], self.y[rows], self.mask)


@dataclass
class Case:
    flags: str
    rule: object
    base: object
    hidden: int = 32
    lr: object = None  # the learning rate of step t, where it is not constant
    rho: object = None  # the radius of step t, where it is not constant
    clip: float = math.inf
    average: object = None  # what becomes of the weights after each step
    project: object = None  # what becomes of a step
    mask: object = None  # the weights that are perturbed, where not all

    def words(self):
        schedule = "constant" if self.lr is None else "cosine"
        return f"--model mlp --hidden {self.hidden} {FLAGS} --schedule {schedule} {self.flags}"

    def run(self, f, theta):
        rule, base, losses, seen = self.rule(), self.base(), [], []
        f = Objective(f.x, f.y, self.mask(theta).double()) if self.mask else f
        for t in range(STEPS):
            if self.lr:
                base.lr = self.lr(t)
            if self.rho:
                rule.rho = self.rho(t)
            est = rule.estimate(f, theta, base)
            factor = min(1.0, self.clip / est.grad.norm().item())
            after = base.step(theta, factor * est.grad)
            if est.direct is not None:
                after = after - base.lr * factor * est.direct
            theta = self.project(f, theta, after) if self.project else after
            losses.append(est.loss)
            seen.append(base.model(theta))
        return losses, self.average(seen) if self.average else seen[-1]


def sgd(**more):
    return lambda: Sgd(**{"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005, **more})


def adamw():
    return AdamW(0.003, 0.01)


class Renewed:
    """A base whose state is forgotten before step `at`."""

    def __init__(self, at, make):
        self.at, self.make, self.base, self.t = at, make, make(), 0

    @property
    def momentum(self):
        return self.base.momentum

    def step(self, theta, grad):
        if self.t == self.at:
            self.base = self.make()
        self.t += 1
        return self.base.step(theta, grad)

    def model(self, theta):
        return theta


def swa(first, every):
    """The mean of the weights at the end of every so many epochs (here steps) from epoch `first` on."""
    return lambda seen: torch.stack(seen[first - 1 :: every]).mean(0)


def on_eigenvectors(keep, k):
    """Projects a step on the top k eigenvectors of the loss's Hessian at theta, or on what they leave. Rows of the first
    weight matter through their products with the images alone, so the dense Hessian is taken in the span of the images."""

    def project(f, theta, after):
        span = torch.linalg.qr(f.x.T).Q
        seen = Objective(f.x @ span, f.y)

        def inside(p):
            return [part @ span if name == "fc1.weight" else part for name, part in split(p).items()]

        flat = lambda parts: torch.cat([part.flatten() for part in parts])
        sizes, shapes_of = zip(*[(part.numel(), part.shape) for part in inside(theta)])
        unflat = lambda v: [part.view(shape) for part, shape in zip(v.split(sizes), shapes_of)]
        hessian = torch.autograd.functional.hessian(lambda v: seen.losses_of(*unflat(v)).mean(), flat(inside(theta)))
        vectors = torch.linalg.eigh(hessian).eigenvectors[:, -k:]
        step = after - theta
        bias, weight, *rest = unflat(vectors @ (vectors.T @ flat(inside(step))))
        dominant = flat([bias, weight @ span.T, *rest])
        return theta + (dominant if keep == "dom" else step - dominant)

    return project


def cosine(t):
    return 0.1 * (1 + math.cos(math.pi * t / STEPS)) / 2


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
    out = {}
    for name, (flags, rule) in RULES.items():
        out[f"{name} over sgd"] = Case(f"{flags} {SGD}", rule, sgd())
        out[f"{name} over adamw"] = Case(f"{flags} {ADAMW}", rule, adamw)
    sam, free = lambda: Sam(0.05), "--base schedule-free --lr 0.1 --weight-decay 0.0005"
    out["plain over nesterov"] = Case(f"--optimizer plain {SGD} --nesterov", Plain, sgd(nesterov=True))
    bare = "--base sgd --lr 0.1 --momentum 0 --weight-decay 0.0005"
    out["sam without momentum"] = Case(f"--optimizer sam --rho 0.5 {bare}", lambda: Sam(0.5), sgd(momentum=0.0))
    out["sam with clipping"] = Case(f"--optimizer sam --rho 0.05 {SGD} --clip 0.5", sam, sgd(), clip=0.5)
    for name, flags, rho in (
        ("rising", "--rho-end 15", lambda t: 0.01 * (1 + 14 * (1 - math.cos(math.pi * t / STEPS)) / 2)),
        ("exponential", "--rho-growth 0.1", lambda t: 0.01 * 1.1**t),
    ):
        flags = f"--optimizer sam --rho 0.01 --rho-schedule {name} {flags} {SGD}"
        out[f"sam with a radius that is {name}"] = Case(flags, sam, sgd(), rho=rho)
    out["gsam over a cosine"] = Case(
        f"--optimizer gsam --rho 0.05 --gsam-alpha 0.4 --rho-schedule follow-lr --min-rho 0.01 {SGD}",
        lambda: Gsam(lambda lr: 0.01 + 0.04 * lr / 0.1, 0.4),
        sgd(),
        lr=cosine,
    )
    flags = "--optimizer wsam --rho 0.05 --wsam-gamma 0.9 --clip 0.5"
    out["wsam with clipping"] = Case(f"{flags} {SGD}", lambda: Wsam(0.05, 0.9), sgd(), clip=0.5)
    flags = "--optimizer fsam --rho 0.1 --fsam-sigma 0.8 --fsam-lambda 0.9 --fsam-order paper"
    out["fsam in the paper's order"] = Case(f"{flags} {SGD}", lambda: Fsam(0.1, 0.8, 0.9, "paper"), sgd())
    out["sam in 3 ascents"] = Case(f"--optimizer sam --rho 0.3 --sam-steps 3 {SGD}", lambda: Sam(0.3, 3), sgd())
    out["msam over nesterov"] = Case(f"--optimizer msam --rho 0.3 {SGD} --nesterov", lambda: Msam(0.3), sgd(nesterov=True))
    for name in [name for name in RULES if name not in ("plain", "wsam-coupled")]:
        flags, rule = RULES[name]
        out[f"{name} that perturbs weights"] = Case(f"{flags} --perturb weights {SGD}", rule, sgd(), mask=is_weight)
    for name, (flags, rule) in RULES.items():
        if name in ("sam", "usam", "asam", "gsam", "gnp", "wsam", "esam", "stablesam"):
            out[f"{name} in parts"] = Case(f"{flags} --m 64 {SGD}", lambda rule=rule: PerPart(64, rule()), sgd())
    for name in ("sam", "fsam", "looksam", "wsam"):
        flags, rule = RULES[name]
        out[f"{name} every third step"] = Case(f"{flags} --rule-every 3 {SGD}", lambda rule=rule: Every(3, rule()), sgd())
        flags = flags.replace(f"--optimizer {name}", f"--rule-schedule plain:0-10,{name}:10-20")
        late = lambda rule=rule: Phases((0, Plain()), (10, rule()))
        out[f"{name} late"] = Case(f"{flags} {SGD}", late, sgd())
    flags = "--rule-schedule plain:0-10,sam:10-20 --rho 0.05 --reset-base"
    out["sam late over a new base"] = Case(
        f"{flags} {SGD}", lambda: Phases((0, Plain()), (10, sam())), lambda: Renewed(10, sgd())
    )
    flags = "--rule-schedule sam:0-5,plain:5-8,looksam:8-12,sam:12-20 --rho 0.05 --looksam-k 3 --looksam-alpha 0.7"
    out["sam, plain, looksam, sam"] = Case(
        f"{flags} {SGD}", lambda: Phases((0, one := sam()), (5, Plain()), (8, LookSam(0.05, 3, 0.7)), (12, one)), sgd()
    )
    for name in ("plain", "sam", "asam"):
        flags, rule = RULES[name]
        out[f"{name} over schedule-free"] = Case(f"{flags} {free}", rule, lambda: ScheduleFree(0.1, 0.9, 0.0005))
        free_adamw = "--base schedule-free-adamw --lr 0.003 --weight-decay 0.01"
        out[f"{name} over schedule-free adamw"] = Case(
            f"{flags} {free_adamw}", rule, lambda: ScheduleFree(0.003, 0.9, 0.01, adamw=True)
        )
    out["plain with SWA"] = Case(f"--optimizer plain {SGD} --swa-start 10 --swa-every 2", Plain, sgd(), average=swa(10, 2))
    flags = "--optimizer aesam --rho 0.05"
    out["aesam over sgd"] = Case(f"{flags} {SGD}", lambda: AeSam(0.05, STEPS), sgd())
    # momentum takes steps that bring the second and third eigenvalue together, where P would magnify rounding: a small rate
    for keep in ("dom", "bulk"):
        for base, more in (("", "--momentum 0 --weight-decay 0"), (" with momentum", "--momentum 0.9 --weight-decay 0.0005")):
            lr, settings = (0.02, {}) if base else (0.1, {"momentum": 0.0, "weight_decay": 0.0})
            flags = f"--optimizer {keep}-sgd --subspace-k 2 --subspace-tol 1e-12 --base sgd --lr {lr} {more}"
            out[f"{keep}-sgd{base}"] = Case(flags, Plain, sgd(lr=lr, **settings), hidden=4, project=on_eigenvectors(keep, 2))
    out["sam over a cosine"] = Case(f"--optimizer sam --rho 0.05 {SGD}", sam, sgd(), lr=cosine)
    return out


def digest(theta):
    at = lambda n: [i * 2654435761 % n for i in (1, 2)]
    names = {f"{name}[{i}]": part.flatten()[i].item() for name, part in split(theta).items() for i in at(part.numel())}
    return {"sum": theta.sum().item(), "norm": theta.norm().item(), "elements": names}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    f = Objective(*batch())
    out = []
    for name, case in cases().items():
        if args.only and name.split()[0] not in args.only.split(","):
            continue
        losses, last = case.run(f, init(case.hidden))
        out.append({"name": name, "flags": case.words(), "losses": losses, "weights": digest(last)})
        if args.weights:
            np.save(args.weights / f"{name.replace(' ', '_')}.npy", last.numpy())
        print(f"{name}: {losses[0]:.4f} {losses[-1]:.4f}", file=sys.stderr)
    lines = ",\n".join(json.dumps(case) for case in out)
    print(f'{{"torch": "{torch.__version__}", "cases": [\n{lines}\n]}}')


if __name__ == "__main__":
    main()
