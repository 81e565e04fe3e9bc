#!/usr/bin/env python3
"""The rules with random draws on a problem that fits on a page, with the draws from a table.

    pip install torch numpy
    python tests/reference/canon_small.py > tests/reference/canon_small.json

Six unknowns x: a weight of 2 x 2 (its rows are filters) and a bias of 2. Row i of the batch has the loss 1/2 sum_j h_ij x_j^2
with h_ij = 1 + ((3 i + 5 j) mod 7) / 4, i from 0 to 7; a batch's loss is the mean over its rows. x starts at
(1, -1/2, 1/4, 2, -1, 1/2). The k-th normal draw of a run is ((37 k mod 101) - 50) / 25, the k-th uniform one (5 k mod 8) / 8,
k from 0, in the order of use, element by element. Twenty steps; the base is SGD with lr 0.1, momentum 0.9 and decay 0.01
unless the rule brings its own. The JSON has x after each step and the losses.
"""

import json
import math

import torch

from canon_bases import Sgd
from canon_rules import AeSam, Esam

STEPS, ROWS, DIM = 20, 8, 6
START = [1.0, -0.5, 0.25, 2.0, -1.0, 0.5]
H = torch.tensor([[1 + (3 * i + 5 * j) % 7 / 4 for j in range(DIM)] for i in range(ROWS)], dtype=torch.float64)


class Problem:
    mask = 1.0

    def __init__(self, h=H):
        self.h = h

    def losses(self, x):
        return 0.5 * self.h @ x**2

    def __call__(self, x, rows=None):
        h = self.h if rows is None else self.h[rows]
        return (0.5 * h @ x**2).mean().item(), h.mean(0) * x

    def parts(self, count):
        return [Problem(h) for h in self.h.chunk(count)]


class Draws:
    def __init__(self):
        self.k = -1

    def normal(self):
        return torch.tensor([self.next(lambda k: (37 * k % 101 - 50) / 25) for _ in range(DIM)], dtype=torch.float64)

    def uniform(self):
        return torch.tensor([self.next(lambda k: 5 * k % 8 / 8) for _ in range(DIM)], dtype=torch.float64)

    def next(self, table):
        self.k += 1
        return table(self.k)


def filter_norms(x):
    """For each element the norm of its filter: a row of the weight, the whole bias."""
    return torch.cat([x[:2].norm().expand(2), x[2:4].norm().expand(2), x[4:].norm().expand(2)])


def over_sgd(step):
    f, x, base, draws, out = Problem(), torch.tensor(START, dtype=torch.float64), Sgd(0.1, 0.9, 0.01), Draws(), []
    for t in range(STEPS):
        loss, grad = step(f, x, draws, t)
        x = base.step(x, grad)
        out.append({"loss": loss, "x": x.tolist()})
    return out


def esam(rho=0.05, beta=0.625, gamma=0.5):
    """Du et al. 2022 (2110.03141): an element is perturbed where its uniform draw is below beta."""

    def step(f, x, draws, t):
        rule = Esam(rho, beta, gamma, lambda n: draws.uniform() < beta)
        est = rule.estimate(f, x, None)
        return est.loss, est.grad

    return over_sgd(step)


def lpf(gamma=0.05, parts=4):
    """Bisla et al. 2022 (2201.08025): a draw for each part, scaled by the norm of the element's filter."""

    def step(f, x, draws, t):
        seen = [part(x + gamma * filter_norms(x) * draws.normal()) for part in f.parts(parts)]
        return sum(l for l, _ in seen) / parts, sum(g for _, g in seen) / parts

    return over_sgd(step)


def nso(sigma=0.05, k=2):
    """Ju, Li and Zhang 2023 (2306.08553): k antithetic pairs."""

    def step(f, x, draws, t):
        noise = [sigma * draws.normal() for _ in range(k)]
        seen = [f(x + s * u) for u in noise for s in (1, -1)]
        return sum(l for l, _ in seen) / (2 * k), sum(g for _, g in seen) / (2 * k)

    return over_sgd(step)


def entropy_sgd(steps=4, rate=0.1, gamma0=0.03, gamma1=0.1, eps=0.01, weight=0.75, momentum=0.9, first=0):
    """Chaudhari et al. 2017 (1611.01838) as in the authors' Lua code: the momentum takes the loss's gradient alone, starts at 0
    each outer step and is Nesterov's; scope and noise are added after it. Batch j of outer step t is rows 2b and 2b + 1 with
    b = (4 t + j) mod 4. The outer step is SGD with lr 1 alone. The loss is the mean over the chain. `first` is the exponent
    of the first step's scope: 0 here, 1 in the code."""
    f, theta, draws, out = Problem(), torch.tensor(START, dtype=torch.float64), Draws(), []
    for t in range(STEPS):
        x, mean, buffer, losses = theta, theta, torch.zeros(DIM, dtype=torch.float64), []
        gamma = gamma0 * (1 + gamma1) ** (t + first)
        for j in range(steps):
            b = (steps * t + j) % 4
            loss, g = f(x, [2 * b, 2 * b + 1])
            losses.append(loss)
            buffer = momentum * buffer + g
            d = g + momentum * buffer - gamma * (theta - x)
            x = x - rate * d + eps * math.sqrt(2 * rate) * draws.normal()
            mean = weight * mean + (1 - weight) * x
        theta = theta - 1.0 * (theta - mean)
        out.append({"loss": sum(losses) / steps, "x": theta.tolist()})
    return out


def bsam(parts=2, lr=0.5, b1=0.9, b2=0.999, start=1.0, rho=0.01, delta=0.02, damping=0.1, size=50.0):
    """Moellenhoff and Khan 2023 (2210.01620), Algorithm 1 with the authors' damping; the loss is that at theta + e."""
    f, x, draws, out = Problem(), torch.tensor(START, dtype=torch.float64), Draws(), []
    m, s = torch.zeros(DIM, dtype=torch.float64), torch.full((DIM,), start, dtype=torch.float64)
    for t in range(STEPS):
        hs, gs, losses = [], [], []
        for part in f.parts(parts):
            q = part(x + draws.normal() / torch.sqrt(size * s))[1]
            loss, g = part(x + rho * q / s)
            hs.append(torch.sqrt(s) * q.abs())
            gs.append(g)
            losses.append(loss)
        m = b1 * m + (1 - b1) * (sum(gs) / parts + delta * x)
        x = x - lr * m / s
        s = b2 * s + (1 - b2) * (sum(hs) / parts + damping + delta)
        out.append({"loss": sum(losses) / parts, "x": x.tolist()})
    return out


def gerne(beta=1.0):
    """Asaad et al. 2025 (2503.13236): b are the rows 0 to 3, lb the rows 4 to 7. The loss is that of b."""

    def step(f, x, draws, t):
        loss, gb = f(x, [0, 1, 2, 3])
        glb = f(x, [4, 5, 6, 7])[1]
        return loss, glb + beta * (glb - gb)

    return over_sgd(step)


def subspace(keep, k=2, what="update"):
    """Song, Ahn and Yun 2024 (2405.16002). The Hessian is diagonal: P keeps the k elements with the largest mean h. With
    momentum and decay in the base, `update` projects the change of x and `gradient` what goes to the base."""
    kept = torch.zeros(DIM, dtype=torch.float64)
    kept[H.mean(0).argsort(descending=True)[:k]] = 1.0
    kept = kept if keep == "dominant" else 1 - kept
    f, x, base, out = Problem(), torch.tensor(START, dtype=torch.float64), Sgd(0.1, 0.9, 0.01), []
    for t in range(STEPS):
        loss, g = f(x)
        after = base.step(x, kept * g if what == "gradient" else g)
        x = x + (kept if what == "update" else 1.0) * (after - x)
        out.append({"loss": loss, "x": x.tolist()})
    return out


def aesam():
    """Rows are 2 (t mod 4) and the next, so that |g|^2 goes up and down."""
    rule = AeSam(0.05, STEPS)

    def step(f, x, draws, t):
        est = rule.estimate(Problem(f.h[2 * (t % 4) :][:2]), x, None)
        return est.loss, est.grad

    return over_sgd(step)


def main():
    out = {
        "esam": esam(),
        "lpf": lpf(),
        "nso": nso(),
        "entropy-sgd": entropy_sgd(),
        "entropy-sgd, scope from exponent 1": entropy_sgd(first=1),
        "bsam": bsam(),
        "gerne": gerne(),
        "dom-sgd": subspace("dominant"),
        "bulk-sgd": subspace("bulk"),
        "dom-sgd, gradient": subspace("dominant", what="gradient"),
        "bulk-sgd, gradient": subspace("bulk", what="gradient"),
        "aesam": aesam(),
    }
    # a rule a line
    print("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(steps)}" for name, steps in out.items()) + "\n}")


if __name__ == "__main__":
    main()
