#!/usr/bin/env python3
"""The GPU against the CPU, over the program's own lists: every model, rule, base, norm and measure, in f64.

    agreement.py models|rules|norms|measures [--device cuda] [--steps 6] [--first N]

Both devices draw the same numbers, so that losses and measures may differ by rounding alone: 1e-9 relative for the losses of the first
steps, 1e-6 for the numbers of the measures (an eigenvalue amplifies the rounding of a product). What the CPU refuses too is skipped
with its words.
"""

import argparse
import itertools
import subprocess
from pathlib import Path

from flat import TOOL, Refused, environment, finish, flat, folder, step_losses

LOSSES, MEASURES = 1e-9, 1e-6
# what may differ: time, place, and what a file is called
APART = ("wall", "seconds", "device", "sha256", "checkpoint", "version", "note", "_s")


def train(device, words, room, name):
    run = Path(room) / f"{name}-{device.replace(':', '')}"
    base = "train --test-limit 32 --trace-probes 0 --log-steps --schedule constant --lr 0.01 --dtype f64 --seed 1"
    flat(f"{base} {words} --device {device} --out {run}")
    return run


def losses(args, name, words, room):
    """One run on each device."""
    row = {"name": name}
    try:
        here = step_losses(train("cpu", words, room, name))
    except Refused as e:
        return {**row, "status": "skipped", "reason": str(e)}
    try:
        there = step_losses(train(args.device, words, room, name))
    except Refused as e:
        return {**row, "status": "failed", "reason": str(e)}
    apart = max(abs(a - b) / max(abs(a), 1e-300) for a, b in zip(here, there)) if here else None
    good = apart is not None and len(here) == len(there) and apart <= LOSSES
    return {**row, "status": "passed" if good else "failed", "largest_relative": apart, "cpu": here[-1:], "device": there[-1:]}


def small(args, batch=16):
    return f"--train-limit {batch * args.steps} --batch-size {batch} --steps {args.steps}"


def models(args, room):
    for model in flat("models")["models"]:
        narrow = " --channels 8" if "channels" in model["options"] else ""
        yield losses(args, model["name"], f"--model {model['name']}{narrow} {small(args)}", room)


def norms(args, room):
    for norm in ("batch", "group"):
        for model in flat("models")["models"]:
            if "norm" in model["options"]:
                words = f"--model {model['name']} --channels 8 --norm {norm} --optimizer sam {small(args)}"
                yield losses(args, f"{model['name']}-{norm}", words, room)


def rules(args, room):
    listed = flat("optimizers")
    colored = Path(room) / "colored"
    for rule in listed["rules"]:
        words = f"--model mlp --hidden 16 --optimizer {rule['name']} {small(args)}"
        row = losses(args, rule["name"], words, room)
        if row["status"] == "skipped" and "colored-mnist" in row["reason"]:
            # a rule over groups needs a data set that has them
            if not colored.exists():
                subprocess.run([TOOL, "data", "color", "--out", str(colored), "--quiet"], capture_output=True, env=environment())
            row = losses(args, rule["name"], f"{words} --dataset colored-mnist --data-dir {colored}", room)
        yield row
    for base in listed["bases"]:
        yield losses(args, f"sam-{base['name']}", f"--model mlp --hidden 16 --optimizer sam --base {base['name']} {small(args)}", room)


def numbers(value, path=""):
    """The numbers of a document by their path."""
    if isinstance(value, dict):
        for key, one in value.items():
            if not any(word in key for word in APART):
                yield from numbers(one, f"{path}.{key}")
    elif isinstance(value, list):
        for k, one in enumerate(value):
            yield from numbers(one, f"{path}[{k}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, float(value)


def measures(args, room):
    run = train("cpu", f"--model mlp --hidden 8 {small(args)}", room, "measured")
    words = f"metrics all --checkpoint {run} --split train --limit 64 --batch-size 32 --probes 4"
    try:
        here = flat(f"{words} --device cpu")
    except Refused as e:
        yield {"name": "all", "status": "failed", "reason": str(e)}
        return
    there = flat(f"{words} --device {args.device}")
    for name, one in here.items():
        a, b = dict(numbers(one)), dict(numbers(there.get(name)))
        if not a:
            continue
        # relative to the largest number of its measure, where a number itself is near zero
        size = max(abs(x) for x in a.values()) or 1.0
        worst = max(a, key=lambda key: abs(a[key] - b.get(key, float("inf"))) / max(abs(a[key]), 1e-3 * size))
        apart = abs(a[worst] - b.get(worst, float("inf"))) / max(abs(a[worst]), 1e-3 * size)
        status = "passed" if a.keys() == b.keys() and apart <= MEASURES else "failed"
        yield {"name": name, "status": status, "numbers": len(a), "largest_relative": apart, "at": worst}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["models", "rules", "norms", "measures"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--first", type=int, help="so many of the list alone")
    args = parser.parse_args()
    with folder() as room:
        rows = list(itertools.islice(globals()[args.what](args, room), args.first))
    count = {status: sum(r["status"] == status for r in rows) for status in ("passed", "failed", "skipped")}
    bound = MEASURES if args.what == "measures" else LOSSES
    finish({"bound": bound, **count, "rows": rows}, count["failed"] == 0 and count["passed"] > 0)


if __name__ == "__main__":
    main()
