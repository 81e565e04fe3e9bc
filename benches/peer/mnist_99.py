#!/usr/bin/env python3
"""The recipe mnist-99 against PyTorch: seconds of training, and accuracy on the test images, seed by seed in turns.

    cargo build --release -p flat-train
    python benches/peer/mnist_99.py --data data/mnist --seeds 0 1 2 [--layout channels_last] [--threads 2]

Both sides train the same network with the settings of crates/flat-run/recipes/mnist-99.toml on all 60,000 images: same
batches a step, SGD with Nesterov momentum, warm-up and cosine, label smoothing. The first weights are each side's own.
PyTorch has the images normalised in memory, an allocator that keeps its pages, and the layout that is asked for; its
seconds are those of its steps, without loading, evaluation and a first batch that warms it up.
"""

import argparse
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from pytorch_step import KEEP, LAYOUTS, ROOT, TARGET, with_torch

RECIPE = ROOT / "crates/flat-run/recipes/mnist-99.toml"


def idx(folder, name):
    """The bytes of an IDX file after its header, from the file or its gzip."""
    file = Path(folder, name)
    data = file.read_bytes() if file.exists() else gzip.decompress(Path(folder, name + ".gz").read_bytes())
    return data[4 + 4 * data[3]:]


def peer(seed, args, settings):
    """One training by PyTorch: seconds in steps, accuracy on the test images."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(args.threads)
    torch.manual_seed(seed)
    layout = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format

    def images(name):
        raw = torch.frombuffer(bytearray(idx(args.data, name)), dtype=torch.uint8).view(-1, 1, 28, 28)
        return ((raw.float() / 255 - 0.1307) / 0.3081).contiguous(memory_format=layout)

    def labels(name):
        return torch.frombuffer(bytearray(idx(args.data, name)), dtype=torch.uint8).long()

    train, truth = images("train-images-idx3-ubyte"), labels("train-labels-idx1-ubyte")
    c = settings["channels"]
    net = nn.Sequential(
        nn.Conv2d(1, c, 5), nn.MaxPool2d(2), nn.ReLU(inplace=True),
        nn.Conv2d(c, 2 * c, 5), nn.MaxPool2d(2), nn.ReLU(inplace=True),
        nn.Flatten(), nn.Linear(32 * c, 32 * c), nn.ReLU(inplace=True), nn.Linear(32 * c, 10),
    ).to(memory_format=layout)
    size, lr, warmup = settings["batch-size"], settings["lr"], settings["warmup"]
    per_epoch = math.ceil(len(train) / size)
    steps = round(settings["epochs"] * per_epoch)
    optimizer = torch.optim.SGD(net.parameters(), lr, 0.9, nesterov=settings.get("nesterov", False))

    def rate(step):
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

    smoothing = settings.get("label-smoothing", 0.0)
    for _ in range(2):
        F.cross_entropy(net(train[:size]), truth[:size], label_smoothing=smoothing).backward()
    optimizer.zero_grad()
    begun = time.perf_counter()
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(train))
        rows = order[step % per_epoch * size:][:size]
        optimizer.param_groups[0]["lr"] = lr * rate(step)
        F.cross_entropy(net(train[rows]), truth[rows], label_smoothing=smoothing).backward()
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - begun
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in images("t10k-images-idx3-ubyte").split(1000)])
    return seconds, (found == labels("t10k-labels-idx1-ubyte")).float().mean().item()


def ours(seed, args):
    """One training by flat-train: the same two numbers."""
    with tempfile.TemporaryDirectory() as room:
        words = [args.flat_train, "train", "--recipe", "mnist-99", "--data-dir", args.data, "--device", "cpu"]
        words += ["--seed", str(seed), "--threads", str(args.threads), "--out", f"{room}/run", "--json", "--quiet"]
        summary = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return summary["train_s"], summary["test_accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(ROOT / "data/mnist"), help="folder with the 60,000 images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--layout", choices=LAYOUTS, default="channels_last")
    parser.add_argument("--flat-train", default=str(TARGET / "release/flat-train"))
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        print(json.dumps(peer(args.worker, args, tomllib.loads(RECIPE.read_text())["settings"])))
        return
    found = {"flat-train": [], "PyTorch": []}
    for seed in args.seeds:
        words = [sys.executable, __file__, *sys.argv[1:], "--worker", str(seed)]
        there = subprocess.run(words, check=True, capture_output=True, env=os.environ | KEEP).stdout
        for side, (seconds, accuracy) in zip(found, [ours(seed, args), json.loads(there)]):
            found[side].append((seconds, accuracy))
            print(f"seed {seed}  {side:10}  {seconds:6.1f} s  accuracy {accuracy:.4f}", flush=True)
    for side, runs in found.items():
        seconds, accuracies = zip(*runs)
        print(f"{side:10}  mean {statistics.mean(seconds):.1f} s  accuracy {statistics.mean(accuracies):.4f}")
    ratios = [a[0] / b[0] for a, b in zip(*found.values())]
    print(f"flat-train / PyTorch: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    with_torch()
    main()
