#!/usr/bin/env python3
"""Writes docs/roofline.md: work, traffic and launches of a training step, and the time that an H100 needs at least.

    scripts/check-cuda --emulate emulated::        # builds the program for the emulated device, which counts
    python3 benches/roofline.py [--emulated target/cuda/emulated] [--uncounted] [--json]

--uncounted needs no emulated device: of the counts it has the launches that tests/emulated.rs holds, and no others.

Operations and bytes come from the shapes of the layers by the formulas of `Layer`, and must be those that `flat-train bench --roofline`
counts; launches and copies come from the emulated device. Nothing is measured on a GPU: the page is what a measurement is to be held
against.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
BATCH = 128
MODELS = ["lenet", "resnet20", "resnet18", "wrn-16-4"]

# NVIDIA H100 SXM5: dense rates and the bandwidth of its memory.
PEAK = {"f32": 66.9e12, "tf32": 494.7e12, "bf16": 989.4e12}
BANDWIDTH = 3.35e12
# Seconds of the host a call: assumed, to be measured.
HOST = {"launches": 2.2e-6, "allocations": 1.6e-6, "htod": 4e-6, "dtod": 1.8e-6, "memsets": 1.8e-6}
OWN = 1.15e-6  # of this program's own code a launch
EAGER, COMPILED = 8e-6, 4e-6  # of PyTorch a launch


class Layer:
    """One layer: multiply-adds, elements and launches of its passes, an image's unless said otherwise."""

    def __init__(self, kind, macs=0, x=0, y=0, weights=0, first=False, bias=False, relu=False, joins=False):
        self.kind, self.macs, self.x, self.y, self.weights = kind, macs, x, y, weights
        self.first, self.bias, self.relu, self.joins = first, bias, relu, joins

    def products(self, size, batch=BATCH):
        """(multiply-adds, bytes) of its products: forward, gradient of the input but for the first layer, of the weights."""
        moved = size * (batch * (self.x + self.y) + self.weights)
        return [(batch * self.macs, moved)] * (2 if self.first else 3) if self.macs else []

    def ours(self):
        """Passes over its output by the kernels of this program, forward and backward."""
        if self.kind == "norm":
            # sums read x, the output is made of x (and what joins); sums and gradient read x and g (and the output)
            return 3 + self.joins + 5 + 3 * self.joins
        if self.kind == "pool":
            # two over the input, which is four times the output, and two over that
            return 10 + 5 * self.relu
        if self.kind == "plus":
            return 3
        return 5 * self.relu

    def theirs(self, fused):
        """The same in PyTorch: one operation after the other, or what a compiler makes of it."""
        if self.kind == "norm":
            plain = 3 + 2 * self.relu + 3 * self.joins + 5 + 3 * self.relu + 3 * self.joins
            return 3 + self.joins + 5 + 3 * self.joins if fused else plain
        if self.kind == "pool":
            return 5 + 6 + (0 if fused else 4 * (2 + 3)) * self.relu
        if self.kind == "plus":
            return 3
        return (0 if fused else 5) * self.relu + 2 * self.bias

    def launches(self, fused):
        """Launches of PyTorch, forward and backward."""
        products = len(self.products(4))
        if self.kind == "norm":
            return 4 if fused else 3 + 2 * self.relu + 2 * self.joins
        if self.kind == "pool":
            return 2 if fused else 2 + 2 * self.relu
        if self.kind == "plus":
            return 1
        if self.kind == "mean":
            return 2 if fused else 3
        if self.kind == "loss":
            return 2 if fused else 5
        return products + 2 * self.bias + (0 if fused else 2) * self.relu


def conv(i, o, k, side, stride=1, pad=True, first=False, bias=False):
    out = side // stride if pad else side - k + 1
    return Layer("conv", k * k * i * o * out * out, i * side * side, o * out * out, k * k * i * o, first, bias), out


def linear(i, o, relu=False):
    return Layer("linear", i * o, i, o, i * o, bias=True, relu=relu)


def norm(c, side, joins=False, relu=True):
    return Layer("norm", y=c * side * side, weights=2 * c, relu=relu, joins=joins)


def lenet():
    a, side = conv(1, 32, 5, 28, pad=False, first=True, bias=True)
    b, last = conv(32, 64, 5, side // 2, pad=False, bias=True)
    pools = [Layer("pool", y=32 * (side // 2) ** 2, relu=True), Layer("pool", y=64 * (last // 2) ** 2, relu=True)]
    return [a, pools[0], b, pools[1], linear(1024, 1024, relu=True), linear(1024, 10), Layer("loss")]


def residual(stem, widths, blocks, pre):
    first, side = conv(3, stem, 3, 32, first=True)
    layers, i = [first], stem
    if not pre:
        layers.append(norm(stem, side))
    for stage, o in enumerate(widths):
        for k in range(blocks):
            stride = 2 if stage > 0 and k == 0 else 1
            if pre:
                layers.append(norm(i, side))
            a, out = conv(i, o, 3, side, stride)
            b, _ = conv(o, o, 3, out)
            reshapes = stride != 1 or i != o
            shortcut = [conv(i, o, 1, side, stride)[0]] if reshapes else []
            # the gradients of both ways meet at the block's input
            layers.append(Layer("plus", y=i * side * side))
            if pre:
                layers += [a, norm(o, out), b, *shortcut, Layer("plus", y=o * out * out)]
            else:
                layers += [a, norm(o, out), b, *shortcut, *[norm(o, out, relu=False) for _ in shortcut], norm(o, out, joins=True)]
            i, side = o, out
    if pre:
        layers.append(norm(i, side))
    return [*layers, Layer("mean", x=i * side * side, y=i), linear(i, 10), Layer("loss")]


NETWORKS = {
    "lenet": lenet,
    "resnet20": lambda: residual(16, [16, 32, 64], 3, False),
    "resnet18": lambda: residual(64, [64, 128, 256, 512], 2, False),
    "wrn-16-4": lambda: residual(16, [64, 128, 256], 2, True),
}


# Passes over all weights, beside the layers. Ours: a gradient is collected (2); the displacement reads theta and g, writes
# theta and its copy (4), and the copy is put back (2); the update reads g, momentum, theta and writes two of them (5).
# PyTorch's, by foreach: momentum and update 8; norm 1, clone 2, scale 2, add 3, copy back 2.
OURS = {"plain": 2 + 5, "sam": 2 * 2 + 4 + 2 + 5}
THEIRS = {"plain": (8, 3), "sam": (8 + 10, 3 + 8)}


def floor(model, dim, precision, evals, passes, elements):
    """Seconds of the GPU: each operation by its work or its traffic, whichever takes longer; and the bytes."""
    size = 2 if precision == "bf16" else 4
    seconds = moved = 0.0
    for layer in NETWORKS[model]():
        for macs, data in layer.products(size):
            seconds += evals * max(2 * macs / PEAK[precision], data / BANDWIDTH)
            moved += evals * data
        data = size * BATCH * layer.y * elements(layer)
        seconds += evals * data / BANDWIDTH
        moved += evals * data
    data = 4 * dim * passes
    return seconds + data / BANDWIDTH, moved + data


def counts(place, model, rule):
    """What a step asks of the device: the difference of two runs, by the steps between them. The width does not matter."""
    tool, (short, more) = Path(place).resolve() / "bin" / "flat-train", (2, 2)
    found = []
    with tempfile.TemporaryDirectory() as room:
        for steps in (short, short + more):
            file = Path(room) / f"{steps}.json"
            words = f"train --model {model} --channels 4 --optimizer {rule} --train-limit 64 --test-limit 8 --batch-size 8 --trace-probes 0"
            words += f" --log-every 1000 --steps {steps} --device cuda --quiet --out {room}/run{steps}"
            env = {**os.environ, "LD_LIBRARY_PATH": str(Path(place).resolve() / "lib"), "FLAT_EMULATED_COUNTS": str(file)}
            subprocess.run([tool, *words.split()], check=True, cwd=TOP, env=env, stdout=subprocess.DEVNULL)
            found.append(json.loads(file.read_text()))
    a, b = found
    step = {name: (b[name] - a[name]) / more for name in a if name != "kernels"}
    step["launches"] += step.pop("library_calls")
    return step


def counted(tool, env, model):
    """(operations, bytes) of a gradient of one image, as `flat-train bench --roofline` counts them."""
    words = f"bench --devices cpu --models {model} --optimizers sgd --batch-sizes 1 --steps 1 --rounds 1 --roofline --json --quiet"
    out = subprocess.run([tool, *words.split()], check=True, capture_output=True, text=True, env=env)
    (row,) = json.loads(out.stdout)["rows"]
    return row["flops_per_step"], row["roof"]["bytes_per_step"]


def check(model, theirs):
    """Stops where the layers of this script are not those of the program."""
    layers = NETWORKS[model]()
    moved = sum(data for layer in layers for _, data in layer.products(4, 1)) + sum(4 * layer.y * layer.ours() for layer in layers)
    ours = (6 * sum(layer.macs for layer in layers), moved)
    if ours != theirs:
        raise SystemExit(f"{model}: operations and bytes are {ours} by the layers of this script, {theirs} by flat-train bench --roofline")


def held(model, rule):
    """Launches of a SAM step that tests/emulated.rs holds; None where it holds none."""
    found = re.search(rf"const {model.upper()}: u64 = (\d+);", (TOP / "tests" / "emulated.rs").read_text())
    return {"launches": int(found[1])} if found and rule == "sam" else {}


def predict(model, dim, place):
    """A row for each rule."""
    macs = sum(layer.macs for layer in NETWORKS[model]())
    rows = []
    for rule, name, evals in (("sgd", "plain", 1), ("sam", "sam", 2)):
        asked = counts(place, model, rule) if place else held(model, rule)
        host = sum(HOST[k] * asked[k] for k in HOST if k in asked) + OWN * asked.get("launches", 0)
        row = {"model": model, "step": name, "flops": 6 * macs * BATCH * evals, "counts": asked, "host_ms": 1e3 * host}
        for precision in PEAK:
            seconds, moved = floor(model, dim, precision, evals, OURS[name], Layer.ours)
            row[precision] = {"gpu_ms": 1e3 * seconds, "bytes": moved, "step_ms": 1e3 * max(seconds, host)}
        passes, extra = THEIRS[name]
        for setting, precision, fused, cost in (("eager", "tf32", False, EAGER), ("amp", "bf16", False, EAGER), ("compile", "bf16", True, COMPILED)):
            seconds, _ = floor(model, dim, precision, evals, passes, lambda layer: layer.theirs(fused))
            launches = evals * sum(layer.launches(fused) for layer in NETWORKS[model]()) + extra
            row[setting] = {"launches": launches, "gpu_ms": 1e3 * seconds, "step_ms": 1e3 * max(seconds, cost * launches)}
        rows.append(row)
    return rows


def page(rows):
    lines = [
        "# Roofline of a training step",
        "",
        "Made by `python3 benches/roofline.py`; nothing on this page was measured on a GPU. It is what a measurement by",
        "[the bundle](gpu-bundle.md) is to be held against. Batch 128, weights and sums in f32.",
        "",
        "## What a step does",
        "",
        "| network | step | GFLOP | GB in f32 | GB in bf16 | launches | allocations | host syncs |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        c = r["counts"]
        lines.append(
            f"| {r['model']} | {r['step']} | {r['flops'] / 1e9:.1f} | {r['f32']['bytes'] / 1e9:.2f} | {r['bf16']['bytes'] / 1e9:.2f} |"
            + "".join(f" {c[k]:.0f} |" if k in c else " not counted |" for k in ("launches", "allocations", "host_syncs"))
        )
    lines += [
        "",
        "- **GFLOP**: 6 x multiply-adds x images x gradients: two operations a multiply-add, a gradient three forward passes. The first",
        "  layer has no gradient of its input, so that a step does a little less.",
        "- **GB**: a product reads two operands and writes one. Normalisation with ReLU is 3 passes over its output forward and 5",
        "  backward, 4 and 8 where a shortcut joins; a sum is 3. Over all weights a plain step makes 7 passes, a SAM step 15.",
        "- `flat-train bench --roofline` counts the same operations, and the same bytes but for the passes over all weights. The script",
        "  stops where its own shapes give others.",
        "- **launches**, **allocations**, **host syncs**: counted by the emulated device, kernels and library calls alike; a call of",
        "  cuDNN may be several kernels. `not counted`: the page was made with --uncounted. A host's time is then that of the launches",
        "  alone, and where these are unknown too, there is no time of a step.",
        "",
        "## The least time on an H100",
        "",
        "Milliseconds a step. `GPU` is the sum over operations of the longer of work and traffic, `host` what the calls cost, and a",
        "step takes the longer of both.",
        "",
        "| network | step | host | GPU f32 | GPU tf32 | GPU bf16 | f32 | tf32 | bf16 | PyTorch eager | AMP | compile | bf16 / compile |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        gpu = " | ".join(f"{r[p]['gpu_ms']:.2f}" for p in PEAK)
        # without launches there is no step
        step = " | ".join(f"{r[p]['step_ms']:.2f}" if r["counts"] or p not in PEAK else "-" for p in [*PEAK, "eager", "amp", "compile"])
        ratio = f"{r['bf16']['step_ms'] / r['compile']['step_ms']:.2f}" if r["counts"] else "-"
        host = f"{r['host_ms']:.2f}" if r["counts"] else "not counted"
        lines.append(f"| {r['model']} | {r['step']} | {host} | {gpu} | {step} | {ratio} |")
    lines += [
        "",
        "- **Peaks**: NVIDIA H100 SXM5, dense: 66.9 TFLOP/s in f32, 494.7 in tf32, 989.4 in bf16; 3.35 TB/s (NVIDIA H100 Tensor Core",
        "  GPU data sheet and architecture white paper, 2022). Kernels reach 60 to 80 % of either, so real times are longer.",
        "- **bf16** here halves what is read and written between layers. The program as it is casts operands and keeps activations in",
        "  f32: it moves more than this.",
        "- **Host**: 2.2 us a launch, 1.6 an allocation with its release, 4 a small copy to the device, 1.8 a copy within it or a",
        "  clearing, 1.15 of this program's own code a launch. All are assumed; the last was measured on a CPU without a driver.",
        "- **PyTorch** under the same model: the same products; eager convolutions are in tf32, which is its default. ReLU, sums and",
        "  normalisation are passes of their own (eager, AMP) or one (compile). 8 us of the host a launch, 4 when compiled: assumed,",
        "  and low where others state 5 to 25 us an operation. AMP is bf16 with channels last, without the casts of weights.",
        "",
        "## Reading it",
        "",
    ]
    for r in rows:
        if not r["counts"]:
            continue
        bound = "the host" if r["host_ms"] > r["f32"]["gpu_ms"] else "the GPU"
        half = "the host" if r["host_ms"] > r["bf16"]["gpu_ms"] else "the GPU"
        lines.append(f"- {r['model']}, {r['step']}: bound by {bound} in f32, by {half} in bf16.")
    lines += [
        "",
        "Where the host bounds a step, launches are what to save: a step captured as a CUDA graph and replayed is one. Where the GPU",
        "does, f32 is bound by arithmetic and bf16 by traffic.",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emulated", default=TOP / "target" / "cuda" / "emulated", help="what check-cuda --emulate built")
    parser.add_argument("--uncounted", action="store_true", help="without the emulated device: the ordinary program's models alone")
    parser.add_argument("--json", action="store_true", help="print the numbers instead of writing the page")
    args = parser.parse_args()
    tool = Path(args.emulated).resolve() / "bin" / "flat-train"
    if args.uncounted:
        tool = Path(os.environ.get("FLAT_TRAIN_BIN", TOP / "target" / "release" / "flat-train"))
    if not tool.exists():
        raise SystemExit(f"{tool} is missing: run scripts/check-cuda --emulate emulated::")
    env = {**os.environ, "LD_LIBRARY_PATH": str(Path(args.emulated).resolve() / "lib")}
    out = subprocess.run([tool, "models", "--json"], check=True, capture_output=True, text=True, env=env)
    dims = {model["name"]: model["parameters"] for model in json.loads(out.stdout)["models"]}
    for model in MODELS:
        check(model, counted(tool, env, model))
    rows = [row for model in MODELS for row in predict(model, dims[model], None if args.uncounted else args.emulated)]
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        (TOP / "docs" / "roofline.md").write_text(page(rows))


if __name__ == "__main__":
    main()
