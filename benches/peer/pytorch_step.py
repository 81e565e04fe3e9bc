#!/usr/bin/env python3
"""Steps of this library against PyTorch's, on the same models, batches and threads, in alternating bursts.

    cargo build --release -p flat-minima --example step_time
    python benches/peer/pytorch_step.py --case mlp:128 --case lenet:128 --case resnet18:32 [--what step sam gradient hvp]
    python benches/peer/pytorch_step.py --torch best --precision bf16

Two processes live side by side, each with its model warm: examples/step_time.rs and this script as `--worker`. They run
bursts of steps in turn, A B A B ..., so that both meet the same state of the machine; a pair gives one ratio, and the
median of the ratios is reported with its range. All in f32 on random images (with `--precision bf16` products in bf16 on both
sides, in PyTorch by autocast); a step is forward, backward and SGD with
momentum 0.9; `sam` is a SAM step over it, `gradient` is loss and gradient alone, `hvp` a Hessian-vector product (here
exact, by forward over reverse; in PyTorch by double backward). `gemm` is one product of square matrices of side 2048:
the peak that the fractions refer to. `--torch best` gives PyTorch an allocator that keeps its pages and takes the fastest of its
layouts (contiguous, channels_last), found for each case; it is as it comes out of the box without. If torch cannot be imported, it is installed into a virtual environment under the
build directory.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import networks

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SIDE = 2048
WHATS = ["step", "sam", "gradient", "hvp", "forward"]
LAYOUTS = ["contiguous", "channels_last"]
# glibc's allocator keeps what was freed
KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(64 << 20)}


def with_torch(**more):
    """Runs this script again in an environment that has torch, and more modules by their packages, if this one has not."""
    modules = {"torch": "torch", "numpy": "numpy", **more}
    if all(importlib.util.find_spec(module) for module in modules):
        return
    venv = TARGET / "peer-venv"
    python = venv / "bin" / "python"
    if Path(sys.prefix) == venv:
        sys.exit(f"{', '.join(modules)} cannot be imported in {venv}: remove that directory and try again")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    if subprocess.run([python, "-c", f"import {', '.join(modules)}"], stderr=subprocess.DEVNULL).returncode != 0:
        print(f"installing {', '.join(modules.values())} into {venv}", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *modules.values()], check=True)
    os.execv(python, [str(python), *sys.argv])


class Torch:
    """The same steps in PyTorch."""

    def __init__(self, name, batch, threads, layout, precision):
        import torch
        from torch.nn import functional as F

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.torch, self.loss_of = torch, F.cross_entropy
        self.model, shape = networks.build(name), networks.image(name)
        self.model.train()
        self.params = list(self.model.parameters())
        self.x = torch.randn(batch, *shape)
        if layout == "channels_last":
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.to(memory_format=torch.channels_last)
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
        self.y = torch.arange(batch) % 10
        self.v = None  # made for the first product, as on the other side
        self.sgd = torch.optim.SGD(self.params, lr=1e-3, momentum=0.9)
        self.a, self.b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)

    def loss(self):
        with self.autocast:
            z = self.model(self.x)
        return self.loss_of(z.float(), self.y)

    def flops(self):
        """Floating-point operations of a forward and backward pass, products alone."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self.torch.autograd.grad(self.loss(), self.params)
        return counter.get_total_flops()

    def once(self, what):
        torch = self.torch
        if what == "step":
            self.sgd.zero_grad()
            self.loss().backward()
            self.sgd.step()
        elif what == "sam":
            self.sgd.zero_grad()
            self.loss().backward()
            with torch.no_grad():
                norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.grad) for p in self.params]))
                scale = float(0.05 / (norm + 1e-12))
                old = [p.clone() for p in self.params]
                torch._foreach_add_(self.params, [p.grad for p in self.params], alpha=scale)
            self.sgd.zero_grad()
            self.loss().backward()
            with torch.no_grad():
                torch._foreach_copy_(self.params, old)
            self.sgd.step()
        elif what == "gradient":
            torch.autograd.grad(self.loss(), self.params)
        elif what == "hvp":
            grads = torch.autograd.grad(self.loss(), self.params, create_graph=True)
            self.v = self.v or [torch.randn_like(p) for p in self.params]
            torch.autograd.grad(grads, self.params, self.v)
        elif what == "forward":
            self.model.eval()
            with torch.no_grad(), self.autocast:
                self.model(self.x)
            self.model.train()
        elif what == "gemm":
            with torch.no_grad(), self.autocast:
                torch.mm(self.a, self.b)
        else:
            sys.exit(f"{what}: no such thing to time")


def worker(name, batch, threads, layout, precision):
    """Answers each line `WHAT STEPS` with a line of JSON, as examples/step_time.rs does."""
    import resource

    bench = Torch(name, batch, threads, layout, precision)
    for line in sys.stdin:
        what, steps = line.split()
        if what == "flops":
            print(json.dumps({"flops": bench.flops()}), flush=True)
            continue
        before, times = resource.getrusage(resource.RUSAGE_SELF), []
        for _ in range(int(steps)):
            start = time.perf_counter()
            bench.once(what)
            times.append((time.perf_counter() - start) * 1e3)
        after = resource.getrusage(resource.RUSAGE_SELF)
        each = max(len(times), 1)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        faults = (after.ru_minflt - before.ru_minflt) / each
        report = {"what": what, "ms": times, "processor_ms": processor * 1e3 / each, "minor_faults": faults}
        print(json.dumps({**report, "peak_mib": after.ru_maxrss / 1024}), flush=True)


class Side:
    """A process that runs bursts of steps on demand."""

    def __init__(self, command, threads, more=None):
        env = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), **(more or {})}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([str(c) for c in command], stdin=pipe, stdout=pipe, text=True, env=env)

    def ask(self, what, steps):
        self.process.stdin.write(f"{what} {steps}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended: see its message above")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def compare(ours, torch, what, pairs, seconds):
    """Alternating bursts; a burst's time is its median step."""
    estimate = max(side.ask(what, 2)["ms"][-1] for side in (ours, torch))
    steps = max(1, min(200, int(seconds * 1e3 / pairs / 2 / estimate)))
    bursts = {"ours": [], "torch": []}
    last = {}
    for pair in range(pairs):
        order = [("ours", ours), ("torch", torch)]
        for name, side in order if pair % 2 == 0 else reversed(order):
            time.sleep(0.02)  # the other side's threads go to sleep
            last[name] = side.ask(what, steps)
            bursts[name].append(statistics.median(last[name]["ms"]))
    ratios = [a / b for a, b in zip(bursts["ours"], bursts["torch"])]
    row = {"what": what, "pairs": pairs, "steps_a_burst": steps, "ratio": spread(ratios)}
    for name in bursts:
        keep = {k: last[name][k] for k in ("minor_faults", "peak_mib")}
        row[name] = {"ms": spread(bursts[name]), **keep}
    return row


def torch_side(args, name, batch, layout):
    command = [sys.executable, __file__, "--worker", f"{name}:{batch}", "--threads", args.threads]
    command += ["--layout", layout, "--precision", args.precision]
    return Side(command, args.threads, KEEP if args.torch == "best" else None)


def fastest(args, name, batch):
    """PyTorch in the layout whose steps take the least time here, and that layout."""
    if args.torch == "plain":
        return torch_side(args, name, batch, LAYOUTS[0]), LAYOUTS[0]
    sides = {layout: torch_side(args, name, batch, layout) for layout in LAYOUTS}
    for side in sides.values():
        side.ask(args.what[0], 2)
    times = {layout: [] for layout in LAYOUTS}
    for _ in range(3):
        for layout, side in sides.items():
            times[layout].append(statistics.median(side.ask(args.what[0], 2)["ms"]))
    best = min(LAYOUTS, key=lambda layout: statistics.median(times[layout]))
    for layout, side in sides.items():
        if layout != best:
            side.close()
    return sides[best], best


def case(args, name, batch):
    torch, layout = fastest(args, name, batch)
    ours = Side([args.ours, "--serve", "--model", name, "--batch", batch, "--precision", args.precision], args.threads)
    flops = torch.ask("flops", 0)["flops"]
    rows = [compare(ours, torch, what, args.pairs, args.seconds) for what in args.what]
    peak = compare(ours, torch, "gemm", 5, 2)
    gflops = {n: 2 * SIDE**3 / 1e6 / peak[n]["ms"]["min"] for n in ("ours", "torch")}
    best = max(gflops.values())
    passes = {"step": 1, "gradient": 1, "sam": 2, "forward": 1 / 3}  # of forward and backward; of hvp it is not known
    for row in rows:
        row |= {"model": name, "batch": batch, "gemm_gflops": gflops}
        row |= {"precision": args.precision, "torch_layout": layout, "torch_allocator": "keeps" if args.torch == "best" else "plain"}
        for side in ("ours", "torch"):
            if row["what"] in passes:
                achieved = flops * passes[row["what"]] / 1e6 / row[side]["ms"]["median"]
                row[side] |= {"gflops": achieved, "of_gemm_peak": achieved / best}
    ours.close()
    torch.close()
    return rows


def table(rows):
    lines = [
        f"{'model':<9} {'batch':>5} {'what':<8} {'ours ms':>9} {'torch ms':>9} {'ratio':>6} {'range':>11}"
        f" {'of peak':>7} {'torch':>6} {'MiB':>6} {'torch':>6} {'faults':>7} {'torch':>7}"
    ]
    for r in rows:
        a, b, q = r["ours"], r["torch"], r["ratio"]
        share = [f"{s['of_gemm_peak']:.0%}" if "of_gemm_peak" in s else "" for s in (a, b)]
        lines.append(
            f"{r['model']:<9} {r['batch']:>5} {r['what']:<8} {a['ms']['median']:>9.2f} {b['ms']['median']:>9.2f}"
            f" {q['median']:>6.2f} {q['min']:>5.2f}-{q['max']:<5.2f} {share[0]:>7} {share[1]:>6}"
            f" {a['peak_mib']:>6.0f} {b['peak_mib']:>6.0f} {a['minor_faults']:>7.0f} {b['minor_faults']:>7.0f}"
        )
    by = {(r["model"], r["batch"], r["what"]): r for r in rows}
    for over, under in [("sam", "step"), ("hvp", "gradient")]:
        for (model, batch, what), r in by.items():
            base = by.get((model, batch, under))
            if what == over and base:
                own = [r[s]["ms"]["median"] / base[s]["ms"]["median"] for s in ("ours", "torch")]
                lines.append(f"{model} {batch}: {over} / {under} is {own[0]:.2f} here, {own[1]:.2f} in torch")
    for r in rows[:1]:
        lines.append(f"precision {r['precision']}; torch's allocator {r['torch_allocator']}")
    for r in rows:
        lines.append(f"{r['model']} {r['batch']} {r['what']}: torch in layout {r['torch_layout']}")
    for gemm in [r["gemm_gflops"] for r in rows[:1]]:
        lines.append(f"peak: products of {SIDE}x{SIDE} at {gemm['ours']:.0f} GFLOP/s here, {gemm['torch']:.0f} in torch")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", action="append", metavar="MODEL:BATCH", help="repeatable; default all five")
    parser.add_argument("--what", nargs="+", choices=WHATS, default=["step"])
    parser.add_argument("--pairs", type=int, default=7, help="alternations, at least 5 (default 7)")
    parser.add_argument("--seconds", type=float, default=12, help="about so long for each case and what (default 12)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="of the products, on both sides")
    parser.add_argument("--torch", choices=["plain", "best"], default="plain", help="PyTorch's settings")
    parser.add_argument("--layout", choices=LAYOUTS, default=LAYOUTS[0], help=argparse.SUPPRESS)
    parser.add_argument("--ours", type=Path, default=TARGET / "release" / "examples" / "step_time")
    parser.add_argument("--json", action="store_true", help="print JSON alone on the standard output")
    parser.add_argument("--worker", metavar="MODEL:BATCH", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pairs < 5:
        parser.error("--pairs: give at least 5, the median of fewer ratios says little")
    with_torch()
    if args.worker:
        name, batch = args.worker.split(":")
        return worker(name, int(batch), args.threads, args.layout, args.precision)
    if not args.ours.exists():
        sys.exit(f"{args.ours} is missing: cargo build --release -p flat-minima --example step_time")
    rows = []
    for text in args.case or ["mlp:128", "lenet:128", "resnet20:128", "resnet18:32", "resnet18:128"]:
        name, _, batch = text.partition(":")
        if not batch.isdigit():
            parser.error(f"--case {text}: give MODEL:BATCH, such as lenet:128")
        rows += case(args, name, int(batch))
    print(table(rows), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
