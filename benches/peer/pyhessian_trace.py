#!/usr/bin/env python3
"""The trace of the Hessian of one LeNet, by this project's tool and by PyHessian, in turns.

    python benches/peer/pyhessian_trace.py WEIGHTS [--images 10000] [--probes 16] [--rounds 2] [--threads 2]

WEIGHTS is the model.safetensors of `flat-train train` (LeNet on MNIST, its default). Both sides read the same weights, the
first --images test images of MNIST in batches of --batch, and draw --probes Rademacher vectors. PyHessian's own `trace` is
called with a tolerance of 0, so that it draws as many as it is told to. Each round runs ours, theirs, ours, theirs, ...;
the wall time is that of the estimation alone on both sides (ours as the tool reports it). Prints a table and a JSON line.

torch, pyhessian, numpy and safetensors come from the Python that runs this, or from a virtual environment that it makes in
target/peer-pyhessian.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import networks

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]


def with_packages():
    """Goes on in a virtual environment where this Python lacks a package."""
    try:
        import numpy, pyhessian, safetensors, torch  # noqa: F401, E401
    except ImportError:
        folder = TOP / "target" / "peer-pyhessian"
        python = folder / "bin" / "python"
        if Path(sys.executable) == python:
            raise
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            packages = ["torch", "pyhessian", "numpy", "safetensors"]
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        os.execv(python, [python, __file__, *sys.argv[1:]])


def mnist(kind, dtype, start, stop):
    import numpy as np
    import torch

    folder = TOP / "data" / "mnist"
    with gzip.open(folder / f"{kind}-images-idx3-ubyte.gz") as f:
        pixels = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)[start:stop]
    with gzip.open(folder / f"{kind}-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)[start:stop].astype(np.int64)
    return (torch.from_numpy(pixels.copy()).to(dtype) / 255 - 0.1307) / 0.3081, torch.from_numpy(labels.copy())


def theirs(args, seed):
    """Values of the probes and seconds, by PyHessian."""
    import torch
    from pyhessian import hessian
    from safetensors.torch import load_file

    torch.manual_seed(seed)
    model = networks.build("lenet")
    model.load_state_dict(load_file(args.weights))
    x, y = mnist("t10k", torch.float32, 0, args.images)
    batches = [(x[i : i + args.batch], y[i : i + args.batch]) for i in range(0, len(x), args.batch)]
    begun = time.perf_counter()
    measure = hessian(model, torch.nn.CrossEntropyLoss(), dataloader=batches, cuda=False)
    values = measure.trace(maxIter=args.probes, tol=0.0)
    return [float(v) for v in values], time.perf_counter() - begun


def ours(args, seed):
    """Value, standard error and seconds, by flat-train."""
    words = f"metrics trace --checkpoint {args.weights} --model lenet --dataset mnist --split test --limit {args.images}"
    words += f" --batch-size {args.batch} --probes {args.probes} --seed {seed} --threads {args.threads} --json --quiet"
    words += f" {args.flags}"
    out = subprocess.run([args.binary, *words.split()], check=True, capture_output=True, text=True, cwd=TOP)
    report = json.loads(out.stdout)
    return report["trace"]["value"], report["trace"]["std_error"], report["wall_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--probes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--flags", default="", help="more flags for our side, as in '--flags=--operator ggn'")
    parser.add_argument("--binary", type=Path, default=TOP / "target" / "release" / "flat-train")
    args = parser.parse_args()
    args.weights = args.weights.resolve()

    import torch

    torch.set_num_threads(args.threads)
    rounds = []
    for k in range(args.rounds):
        value, error, wall = ours(args, args.seed + k)
        values, their_wall = theirs(args, args.seed + k)
        if len(values) != args.probes:
            sys.exit(f"PyHessian drew {len(values)} probes instead of {args.probes}")
        their_error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        rounds.append(
            {
                "ours": {"value": value, "std_error": error, "wall_s": wall},
                "pyhessian": {"value": statistics.mean(values), "std_error": their_error, "wall_s": their_wall},
            }
        )
    print(f"{'round':>5}  {'ours':>22}  {'s':>7}  {'PyHessian':>22}  {'s':>7}  {'apart, joint errors':>20}  {'time ratio':>10}")
    for k, r in enumerate(rounds):
        a, b = r["ours"], r["pyhessian"]
        r["apart"] = abs(a["value"] - b["value"]) / (a["std_error"] ** 2 + b["std_error"] ** 2) ** 0.5
        r["time_ratio"] = a["wall_s"] / b["wall_s"]
        ours_text, their_text = (f"{x['value']:.4f} +- {x['std_error']:.4f}" for x in (a, b))
        print(
            f"{k:>5}  {ours_text:>22}  {a['wall_s']:>7.2f}  {their_text:>22}  {b['wall_s']:>7.2f}"
            f"  {r['apart']:>20.2f}  {r['time_ratio']:>10.3f}"
        )
    pooled = {}
    for side in ("ours", "pyhessian"):
        value = statistics.mean(r[side]["value"] for r in rounds)
        error = sum(r[side]["std_error"] ** 2 for r in rounds) ** 0.5 / len(rounds)
        pooled[side] = {"value": value, "std_error": error}
    joint = sum(side["std_error"] ** 2 for side in pooled.values()) ** 0.5
    result = {
        "images": args.images,
        "probes": args.probes,
        "batch": args.batch,
        "threads": args.threads,
        "flags": args.flags,
        "torch": torch.__version__,
        "rounds": rounds,
        "pooled": pooled,
        "joint_std_error": joint,
        "apart": abs(pooled["ours"]["value"] - pooled["pyhessian"]["value"]) / joint,
        "median_time_ratio": statistics.median(r["time_ratio"] for r in rounds),
    }
    print(
        f"pooled: ours {pooled['ours']['value']:.4f}, PyHessian {pooled['pyhessian']['value']:.4f}, apart by "
        f"{result['apart']:.2f} joint standard errors ({joint:.4f}); median time ratio {result['median_time_ratio']:.3f}"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    with_packages()
    main()
