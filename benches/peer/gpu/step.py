#!/usr/bin/env python3
"""The time of a training step in PyTorch: the cells of `flat-train bench`, in PyTorch's own settings.

    step.py --model resnet18 --batch 128 --setting amp [--rules sgd sam rsp sap nso] [--device cuda] [--seconds 1.5]

A setting is eager (f32; convolutions in tf32, PyTorch's default, products in f32), f32 (no tf32 anywhere), channels-last (eager with
channels last), amp (bf16 autocast, channels last) or compile (amp through torch.compile). A step is forward, backward and SGD with
momentum 0.9 on a batch of noise that lies on the device; the rules are those of flat-train with its defaults, written as one would in
PyTorch: foreach operations, no number read back. Bursts alternate between the rules, as in flat-train's bench.
"""

import argparse
import math
import statistics
import time

from flat import about, finish, torch_on

SETTINGS = ["eager", "f32", "channels-last", "amp", "compile"]
RULES = ["sgd", "sam", "rsp", "sap", "nso"]
RHO = {"sam": 0.05, "sap": 0.1}
SIGMA = 0.01
EXAMPLES = 128  # of SAP's sample


class Cell:
    def __init__(self, torch, args):
        import networks

        self.torch, self.rule, self.amp = torch, None, args.setting in ("amp", "compile")
        torch.manual_seed(0)
        self.kind = "cuda" if args.device.startswith("cuda") else "cpu"
        torch.backends.cudnn.allow_tf32 = args.setting != "f32"
        torch.backends.cudnn.benchmark = True
        self.net = networks.build(args.model).to(args.device)
        self.x = torch.randn(args.batch, *networks.image(args.model), device=args.device)
        self.y = torch.arange(args.batch, device=args.device) % 10
        if args.setting in ("channels-last", "amp", "compile"):
            self.net = self.net.to(memory_format=torch.channels_last)
            self.x = self.x.to(memory_format=torch.channels_last)
        self.params = list(self.net.parameters())
        self.dim = sum(p.numel() for p in self.params)
        self.batch_norm = any("bn" in name for name, _ in self.net.named_parameters())
        self.forward = torch.compile(self.net) if args.setting == "compile" else self.net
        self.base = torch.optim.SGD(self.params, lr=1e-4, momentum=0.9, foreach=True)

    def gradient(self, rows=None):
        """The gradient of the mean loss of the batch, or of some rows of it."""
        torch = self.torch
        x = self.x if rows is None or self.batch_norm else self.x[rows]
        with torch.autocast(self.kind, dtype=torch.bfloat16, enabled=self.amp):
            z = self.forward(x)
            if rows is not None and self.batch_norm:
                z = z[rows]
            loss = torch.nn.functional.cross_entropy(z, self.y if rows is None else self.y[rows])
        return torch.autograd.grad(loss, self.params)

    def norm(self, g):
        return self.torch.linalg.vector_norm(self.torch.stack(self.torch._foreach_norm(g)))

    def at(self, by, direction, rows=None):
        """The gradient at theta + by direction, theta then put back exactly."""
        torch = self.torch
        with torch.no_grad():
            old = [p.detach().clone() for p in self.params]
            torch._foreach_add_(self.params, torch._foreach_mul(direction, by))
        g = self.gradient(rows)
        with torch.no_grad():
            torch._foreach_copy_(self.params, old)
        return g

    def beside(self, g, v):
        """g + the part of v orthogonal to g."""
        torch = self.torch
        along = [product.sum() for product in torch._foreach_mul(g, v)]
        by = torch.stack(along).sum() / self.norm(g).square()
        return torch._foreach_add(v, torch._foreach_mul(g, 1 - by))

    def surrogate(self):
        torch, rule = self.torch, self.rule
        if rule == "nso":
            u = [torch.randn_like(p) for p in self.params]
            a, b = self.at(SIGMA, u), self.at(-SIGMA, u)
            return torch._foreach_mul(torch._foreach_add(a, b), 0.5)
        g = self.gradient()
        if rule == "sgd":
            return g
        if rule == "sam":
            return self.at(RHO["sam"] / (self.norm(g) + 1e-12), g)
        if rule == "rsp":
            u = [torch.randn_like(p) for p in self.params]
            return self.beside(g, self.at(SIGMA * math.sqrt(self.dim) / self.norm(u), u))
        sign = 1.0 if torch.rand(()).item() < 0.5 else -1.0
        batch, rows, own = len(self.x), None, g
        if batch > EXAMPLES:
            begin = torch.randint(batch // EXAMPLES, ()).item() * EXAMPLES
            rows = slice(begin, begin + EXAMPLES)
            own = self.gradient(rows)
        return self.beside(g, self.at(sign * RHO["sap"] / (self.norm(own) + 1e-12), own, rows))

    def step(self, rule):
        self.rule = rule
        for p, g in zip(self.params, self.surrogate()):
            p.grad = g
        self.base.step()

    def wait(self):
        if self.kind == "cuda":
            self.torch.cuda.synchronize()

    def burst(self, rule, steps):
        """Milliseconds a step."""
        self.wait()
        begun = time.perf_counter()
        for _ in range(steps):
            self.step(rule)
        self.wait()
        return (time.perf_counter() - begun) / steps * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--setting", choices=SETTINGS, default="eager")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each rule")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch = torch_on(args.device)
    cell = Cell(torch, args)
    steps, ms, memory = {}, {rule: [] for rule in args.rules}, {}
    for rule in args.rules:
        # compiles, chooses algorithms
        warm = cell.burst(rule, 2)
        warm = min(cell.burst(rule, 2), cell.burst(rule, 2)) if warm < 1e4 * args.seconds else warm
        steps[rule] = max(1, round(1e3 * args.seconds / args.rounds / warm))
        if cell.kind == "cuda":
            torch.cuda.reset_peak_memory_stats()
            cell.burst(rule, 1)
            memory[rule] = torch.cuda.max_memory_allocated() / 2**20
    for _ in range(args.rounds):
        for rule in args.rules:
            ms[rule].append(cell.burst(rule, steps[rule]))
    rows = [
        {
            "model": args.model,
            "optimizer": rule,
            "setting": args.setting,
            "batch_size": args.batch,
            "median_ms": statistics.median(ms[rule]),
            "min_ms": min(ms[rule]),
            "max_ms": max(ms[rule]),
            "rounds": args.rounds,
            "steps": steps[rule],
            "device_mib": memory.get(rule),
        }
        for rule in args.rules
    ]
    finish({**about(torch, args.device), "rows": rows})


if __name__ == "__main__":
    main()
