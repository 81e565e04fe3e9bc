"""Prints the literal values in tests/optim/schedule_free.rs: the authors' package, float64, CPU.

    pip install torch schedulefree==1.4.1
    python schedule_free.py

The function, its start and SAM are those of pytorch.py; 20 steps. First the point where gradients are taken (y, the package's
training mode), then the model (x, its evaluation mode). The rates of the warm-up are set by hand, since the package's own
warm-up divides by the number of its steps, ours by one more.
"""

import torch
from schedulefree import AdamWScheduleFree, SGDScheduleFree

from pytorch import loss


def run(name, make, rho=None, warmup=0, steps=20):
    x = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    opt = make([x])
    opt.train()
    rate = opt.param_groups[0]["lr"]
    for step in range(steps):
        opt.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / (warmup + 1))
        opt.zero_grad()
        loss(x).backward()
        if rho is not None:
            theta = x.detach().clone()
            ascent = x.grad * (rho / x.grad.norm())
            with torch.no_grad():
                x.add_(ascent)
            opt.zero_grad()
            loss(x).backward()
            with torch.no_grad():
                x.copy_(theta)
        opt.step()
    shown = [", ".join(repr(v) for v in x.tolist())]
    opt.eval()
    shown.append(", ".join(repr(v) for v in x.tolist()))
    print(f"{name}: [{shown[0]}], [{shown[1]}]")


sgd = lambda **kw: lambda p: SGDScheduleFree(p, lr=0.3, **kw)
adamw = lambda **kw: lambda p: AdamWScheduleFree(p, lr=0.1, **kw)
run("sgd", sgd())
run("sgd options", sgd(momentum=0.8, weight_decay=0.3, r=1.5))
run("sgd warm-up", sgd(), warmup=5)
run("sgd sam", sgd(), rho=0.2)
run("adamw", adamw())
run("adamw options", adamw(betas=(0.8, 0.95), eps=0.1, weight_decay=0.5, r=1.5))
run("adamw warm-up", adamw(), warmup=5)
run("adamw sam", adamw(), rho=0.2)
