#!/usr/bin/env python3
"""canon.py against other people's implementations, where a right one is on PyPI.

    pip install torch numpy schedulefree==1.4.1 pytorch_optimizer==4.1.0
    python tests/reference/canon_witness.py

All weights are ONE tensor here: pytorch_optimizer's LookSAM takes norms a tensor, so that only then its norm is that of all
weights. Its squared norm of the gradient, f32 in theirs, is replaced by the same in f64. Prints the largest relative
difference of a loss and the largest of a weight over 20 steps. With torch 2.15.0 they are below 5e-15 for torch's SGD and
AdamW, for SAM, GSAM, F-SAM, WSAM in both forms and schedule-free SGD and AdamW, and 9e-8 for LookSAM, which adds 1e-8 to
the norm of g_v. Not compared: their BSAM, which is another method, and SAM with `adaptive`, which has no eta.
"""

from types import SimpleNamespace

import pytorch_optimizer as po
import schedulefree
import torch

import canon
from canon_bases import AdamW, ScheduleFree, Sgd
from canon_rules import *


def global_norm_in_f64(groups, weight_adaptive=False):
    """Theirs sums in f32; this is the same square in f64."""
    return sum((p.grad**2).sum() for group in groups for p in group["params"]).reshape(1)


class Theirs:
    """A run of an optimizer of torch's interface from the same weights."""

    def __init__(self, make):
        self.f = canon.Objective(*canon.batch())
        self.p = torch.nn.Parameter(canon.init(32))
        self.opt = make([self.p])

    def loss(self):
        self.opt.zero_grad()
        loss = self.f.losses(self.p).mean()
        loss.backward()
        return loss

    def run(self):
        losses = []
        if hasattr(self.opt, "train"):
            self.opt.train()
        for _ in range(canon.STEPS):
            losses.append(self.loss().item())
            if isinstance(self.opt, po.GSAM):
                self.gsam()
            elif "base_optimizer" in vars(self.opt):
                self.opt.step(self.loss)
            else:
                self.opt.step()
        if hasattr(self.opt, "eval"):
            self.opt.eval()
        return losses, self.p.detach()

    def gsam(self):
        self.opt.perturb_weights(rho=self.opt.rho_t)
        self.loss()
        self.opt.gradient_decompose(self.opt.alpha)
        self.opt.un_perturb()
        self.opt.base_optimizer.step()


def gsam(params):
    sgd = torch.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.0005)
    constant = SimpleNamespace(step=lambda: 0.05)
    return po.GSAM(params, base_optimizer=sgd, model=None, rho_scheduler=constant, alpha=0.4, perturb_eps=0.0)


def main():
    po.optimizer.sam.get_global_gradient_norm = global_norm_in_f64
    sgd = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005}
    adamw = {"lr": 0.003, "weight_decay": 0.01}
    wsam = lambda params, **more: po.WSAM(torch.nn.Identity(), params, torch.optim.SGD, rho=0.05, eps=0.0, **more, **sgd)
    exact = {"perturb_eps": 0.0}
    ours_sgd, ours_adamw = canon.sgd(), canon.adamw
    pairs = {
        "plain over sgd": (lambda p: torch.optim.SGD(p, **sgd), Plain(), ours_sgd),
        "plain over adamw": (lambda p: torch.optim.AdamW(p, **adamw), Plain(), ours_adamw),
        "sam": (lambda p: po.SAM(p, torch.optim.SGD, rho=0.05, **exact, **sgd), Sam(0.05), ours_sgd),
        "gsam": (gsam, Gsam(0.05, 0.4), ours_sgd),
        "looksam": (lambda p: po.LookSAM(p, torch.optim.SGD, rho=0.05, k=3, alpha=0.7, **exact, **sgd), LookSam(0.05, 3, 0.7), ours_sgd),
        "fsam": (lambda p: po.FriendlySAM(p, torch.optim.SGD, rho=0.1, sigma=0.8, lmbda=0.9, **exact, **sgd), Fsam(0.1, 0.8, 0.9), ours_sgd),
        "wsam": (lambda p: wsam(p, gamma=0.9, decouple=True), Wsam(0.05, 0.9), ours_sgd),
        "wsam-coupled": (lambda p: wsam(p, gamma=0.7, decouple=False), Wsam(0.05, 0.7, True), ours_sgd),
        "plain over schedule-free": (
            lambda p: schedulefree.SGDScheduleFree(p, lr=0.5, momentum=0.9, weight_decay=0.0005),
            Plain(),
            lambda: ScheduleFree(0.5, 0.9, 0.0005),
        ),
        "plain over schedule-free adamw": (
            lambda p: schedulefree.AdamWScheduleFree(p, lr=0.003, betas=(0.9, 0.999), weight_decay=0.01),
            Plain(),
            lambda: ScheduleFree(0.003, 0.9, 0.01, adamw=True),
        ),
    }
    f = canon.Objective(*canon.batch())
    for name, (make, rule, base) in pairs.items():
        theirs, p = Theirs(make).run()
        ours, q = canon.Case("", lambda: rule, base).run(f, canon.init(32))
        loss = max(abs(a - b) / abs(b) for a, b in zip(theirs, ours))
        print(f"{name}: loss {loss:.0e}, weights {(p - q).abs().max().item():.0e}")


if __name__ == "__main__":
    main()
