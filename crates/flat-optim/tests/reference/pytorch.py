"""Prints the literal values in tests/optim/pytorch.rs (PyTorch 2.x, float64, CPU).

    python pytorch.py

The loss is the quadratic 0.5 sum_i a_i x_i^2 - b.x + 0.1 sum_i x_i^3 with a = (1, 2, 3), b = (0.5, -1, 0.25), from
x = (1, -2, 0.5), for 4 steps. SAM is the rule of Foret et al. 2021 written out as in davda54/sam (ascend along the
gradient of global norm rho, take the gradient there, step from the original point), without its 1e-12 in the
denominator, which changes nothing at this precision.
"""

import torch

A = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
B = torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64)


def loss(x):
    return 0.5 * (A * x * x).sum() - (B * x).sum() + 0.1 * (x**3).sum()


def run(name, make, rho=None, steps=4):
    x = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    opt = make([x])
    for _ in range(steps):
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
    print(f"{name}: [{', '.join(repr(v) for v in x.tolist())}]")


sgd = lambda **kw: lambda p: torch.optim.SGD(p, lr=0.1, **kw)
adamw = lambda **kw: lambda p: torch.optim.AdamW(p, lr=0.1, **kw)
run("sgd", sgd())
run("sgd weight decay", sgd(weight_decay=0.3))
run("sgd momentum", sgd(momentum=0.9))
run("sgd momentum dampening", sgd(momentum=0.9, dampening=0.4))
run("sgd nesterov weight decay", sgd(momentum=0.9, nesterov=True, weight_decay=0.3))
run("sgd momentum dampening weight decay", sgd(momentum=0.8, dampening=0.1, weight_decay=0.05))
run("adamw", adamw())
run("adamw no decay", adamw(weight_decay=0.0))
run("adamw options", adamw(betas=(0.8, 0.95), eps=0.1, weight_decay=0.5))
run("sam sgd", sgd(), rho=0.2)
run("sam sgd momentum weight decay", sgd(momentum=0.9, weight_decay=0.3), rho=0.2)
run("sam adamw", adamw(), rho=0.2)
