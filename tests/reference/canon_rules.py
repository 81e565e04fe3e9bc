"""The gradient rules of canon.py, each from its paper. Vectors are flat f64 tensors.

A rule is `estimate(f, theta, base)` and returns an Estimate. `f(p)` is loss and gradient of the batch at p, `f(p, rows)` of
some rows, `f.losses(p)` the loss of each row. `f.mask` is 1 on the weights that a rule perturbs: it is applied to the
direction before its norm, the gradients that go on stay whole. `unit(v)` is v / |v|, and 0 for v = 0; norms are over all weights together.
"""

from dataclasses import dataclass

import torch


@dataclass
class Estimate:
    grad: torch.Tensor  # goes to the base
    loss: float  # the loss that is logged
    direct: torch.Tensor | None = None  # theta -= lr direct after the base's step


def unit(v):
    n = v.norm()
    return v / n if n > 0 else torch.zeros_like(v)


def ascend(f, theta, direction, rho):
    """Gradient at theta + rho unit(direction)."""
    return f(theta + rho * unit(f.mask * direction))[1]


class Plain:
    def estimate(self, f, theta, base):
        loss, g = f(theta)
        return Estimate(g, loss)


class Sam:
    """Foret et al. 2021 (2010.01412), Algorithm 1; several ascents of rho / steps each."""

    def __init__(self, rho, steps=1):
        self.rho, self.steps = rho, steps

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        e = torch.zeros_like(theta)
        for _ in range(self.steps):
            e = e + self.rho / self.steps * unit(f.mask * g)
            g = f(theta + e)[1]
        return Estimate(g, loss)


class Usam:
    """Andriushchenko and Flammarion 2022 (2206.06232): no norm."""

    def __init__(self, rho):
        self.rho = rho

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        return Estimate(f(theta + self.rho * f.mask * g)[1], loss)


class Asam:
    """Kwon et al. 2021 (2102.11600), Algorithm 1: T = |theta| + eta on weights, 1 on biases."""

    def __init__(self, rho, eta, weights):
        self.rho, self.eta, self.weights = rho, eta, weights

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        t = torch.where(self.weights(theta), theta.abs() + self.eta, torch.ones_like(theta))
        return Estimate(f(theta + self.rho * t * unit(f.mask * t * g))[1], loss)


class Gsam:
    """Zhuang et al. 2022 (2203.08065), Algorithm 1. `rho` is a function of the learning rate."""

    def __init__(self, rho, alpha):
        self.rho, self.alpha = rho, alpha

    def estimate(self, f, theta, base):
        rho = self.rho(base.lr) if callable(self.rho) else self.rho
        loss, g = f(theta)
        gp = ascend(f, theta, g, rho)
        rejected = g - (g @ gp) / (gp @ gp) * gp
        return Estimate(gp - self.alpha * rejected, loss)


class LookSam:
    """Liu et al. 2022 (2203.02714), Algorithm 1."""

    def __init__(self, rho, k, alpha):
        self.rho, self.k, self.alpha = rho, k, alpha
        self.t, self.gv = 0, None

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        if self.t % self.k == 0:
            out = ascend(f, theta, g, self.rho)
            self.gv = out - (out @ g) / (g @ g) * g
        else:
            out = g + self.alpha * (g.norm() / self.gv.norm()) * self.gv
        self.t += 1
        return Estimate(out, loss)


class Esam:
    """Du et al. 2022 (2110.03141), Algorithm 1. `mask(n)` are the Bernoulli(beta) draws of the step; beta = 1 has none."""

    def __init__(self, rho, beta, gamma, mask=torch.ones):
        self.rho, self.beta, self.gamma, self.mask = rho, beta, gamma, mask

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        at = theta + self.rho / self.beta * self.mask(len(theta)).to(theta.dtype) * unit(f.mask * g)
        if self.gamma == 1.0:
            return Estimate(f(at)[1], loss)
        rise = f.losses(at) - f.losses(theta)
        count = max(1, int(self.gamma * len(rise)))
        order = torch.sort(-rise, stable=True).indices[:count]
        return Estimate(f(at, torch.sort(order).values)[1], loss)


class Msam:
    """Becker et al. 2024 (2401.12033), Algorithm 1, with theta unshifted between steps. The loss is that of the shifted point."""

    def __init__(self, rho):
        self.rho = rho

    def estimate(self, f, theta, base):
        at = theta if base.momentum is None else theta - self.rho * unit(f.mask * base.momentum)
        loss, g = f(at)
        return Estimate(g, loss)


class Fsam:
    """Li et al. 2024 (2403.12350), Algorithm 1. The code removes the mean from before the step, which begins as the first
    gradient (sigma = 0 there); the paper's order averages first, from 0."""

    def __init__(self, rho, sigma, decay, order="code"):
        self.rho, self.sigma, self.decay, self.order = rho, sigma, decay, order
        self.m = None

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        if self.order == "paper":
            before = torch.zeros_like(g) if self.m is None else self.m
            self.m = self.decay * before + (1 - self.decay) * g
            d = g - self.sigma * self.m
        elif self.m is None:
            d, self.m = g, g
        else:
            d = g - self.sigma * self.m
            self.m = self.decay * self.m + (1 - self.decay) * g
        return Estimate(ascend(f, theta, d, self.rho), loss)


class Wsam:
    """Yue et al. 2023 (2305.15817), Algorithm 2 (decoupled) and 1 (coupled)."""

    def __init__(self, rho, gamma, coupled=False):
        self.rho, self.alpha, self.coupled = rho, gamma / (1 - gamma), coupled

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        gp = ascend(f, theta, g, self.rho)
        if self.coupled:
            return Estimate((1 - self.alpha) * g + self.alpha * gp, loss)
        return Estimate(g, loss, self.alpha * (gp - g))


class Gnp:
    """Zhao et al. 2022 (2202.03599), Algorithm 1."""

    def __init__(self, r, alpha):
        self.r, self.alpha = r, alpha

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        return Estimate((1 - self.alpha) * g + self.alpha * ascend(f, theta, g, self.r), loss)


class Vasso:
    """Li and Giannakis 2023 (2309.15639): the ascent follows a mean of the gradients, which begins as the first one."""

    def __init__(self, rho, weight):
        self.rho, self.weight, self.d = rho, weight, None

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        self.d = g if self.d is None else (1 - self.weight) * self.d + self.weight * g
        return Estimate(ascend(f, theta, self.d, self.rho), loss)


class StableSam:
    """2401.07250: SAM's direction at the plain gradient's length."""

    def __init__(self, rho):
        self.rho = rho

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        return Estimate(g.norm() * unit(ascend(f, theta, g, self.rho)), loss)


class AeSam:
    """Jiang et al. 2023 (2304.14647): SAM where |g|^2 is at least its running mean plus c deviations, c falling from lambda_2
    to lambda_1 over the run. Mean and variance see |g|^2 before the decision; they begin at 0, which is a choice: the
    paper's start could not be had."""

    def __init__(self, rho, steps, delta=0.9, first=-1.0, second=1.0):
        self.rho, self.steps, self.delta, self.ends = rho, steps, delta, (first, second)
        self.mean = self.variance = 0.0
        self.t = 0

    def estimate(self, f, theta, base):
        loss, g = f(theta)
        square = (g @ g).item()
        self.mean = self.delta * self.mean + (1 - self.delta) * square
        self.variance = self.delta * self.variance + (1 - self.delta) * (square - self.mean) ** 2
        at = self.t / self.steps
        c = at * self.ends[0] + (1 - at) * self.ends[1]
        self.t += 1
        if square >= self.mean + c * self.variance**0.5:
            g = ascend(f, theta, g, self.rho)
        return Estimate(g, loss)


class PerPart:
    """m-sharpness: a rule without state on each part of consecutive rows, averaged."""

    def __init__(self, size, rule):
        self.size, self.rule = size, rule

    def estimate(self, f, theta, base):
        parts = [self.rule.estimate(f.part(rows), theta, base) for rows in f.rows().split(self.size)]
        weights = [len(rows) / len(f.rows()) for rows in f.rows().split(self.size)]
        mean = lambda xs: sum(w * x for w, x in zip(weights, xs))
        direct = None if parts[0].direct is None else mean([p.direct for p in parts])
        return Estimate(mean([p.grad for p in parts]), mean([p.loss for p in parts]), direct)


class Phases:
    """One rule after another; each counts its own steps and keeps its state while it rests."""

    def __init__(self, *phases):
        self.phases, self.t = phases, 0

    def estimate(self, f, theta, base):
        rule = next(rule for first, rule in reversed(self.phases) if self.t >= first)
        self.t += 1
        return rule.estimate(f, theta, base)


class Every:
    """The rule when t mod k = 0, plain between."""

    def __init__(self, k, rule):
        self.k, self.rule, self.t = k, rule, 0

    def estimate(self, f, theta, base):
        rule = self.rule if self.t % self.k == 0 else Plain()
        self.t += 1
        return rule.estimate(f, theta, base)
