#!/usr/bin/env python3
"""The three kernels that a training step spends most of its time in, and what Nsight Compute says of them.

    kernels.py NCU --model resnet18 [--rule sam] [--batch 128] [--precision f32]

A first pass times every launch of two steps; a second measures one launch of each of the three: share of the
peak arithmetic, of the memory's bandwidth, occupancy. The clocks are left alone.
"""

import argparse
import csv
import io
import re
import subprocess

from flat import TOOL, environment, finish, skip

TIME = "gpu__time_duration.sum"
METRICS = {
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": "of_peak_arithmetic_percent",
    "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed": "of_peak_memory_percent",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy_percent",
    "dram__bytes.sum": "dram_bytes",
    TIME: "time_ns",
}
# what ncu says where a machine does not let it read counters
REFUSALS = ("ERR_NVGPUCTRPERM", "LibraryNotLoaded", "Failed to initialize the profiler", "not supported")


def ncu(args, options):
    """The rows of ncu's table: kernel, metric, value, unit."""
    words = f"bench --devices cuda --models {args.model} --optimizers {args.rule} --batch-sizes {args.batch}"
    words += f" --precision {args.precision} --alone memory --json --quiet"
    command = [args.ncu, "--csv", "--clock-control", "none", "--target-processes", "application-only", *options, TOOL, *words.split()]
    out = subprocess.run(command, capture_output=True, text=True, env=environment())
    said = out.stdout + out.stderr
    for refusal in REFUSALS:
        if refusal in said:
            skip(f"ncu cannot measure here: {next(line for line in said.splitlines() if refusal in line).strip()}")
    begin = out.stdout.find('"ID"')
    if begin < 0:
        raise SystemExit(f"ncu printed no table: {said.strip()[-400:]}")
    return list(csv.DictReader(io.StringIO(out.stdout[begin:])))


def number(row):
    return float(row["Metric Value"].replace(",", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ncu")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--rule", default="sam")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--launches", type=int, default=1500, help="of the first pass")
    args = parser.parse_args()
    # base units, so that times of different kernels add up
    times = {}
    for row in ncu(args, ["--print-units", "base", "--metrics", TIME, "--launch-count", str(args.launches)]):
        if row.get("Metric Name") == TIME:
            one = times.setdefault(row["Kernel Name"], [0, 0.0])
            one[0] += 1
            one[1] += number(row)
    if not times:
        raise SystemExit("ncu timed no kernel")
    total = sum(ns for _, ns in times.values())
    longest = sorted(times, key=lambda name: -times[name][1])[:3]
    kernels = []
    for name in longest:
        plain = re.escape(re.split(r"[<(]", name)[0].split("::")[-1].split()[-1])
        options = ["--print-units", "base", "--metrics", ",".join(METRICS), "--kernel-name", f"regex:{plain}", "--launch-count", "1"]
        found = {METRICS[r["Metric Name"]]: number(r) for r in ncu(args, options) if r.get("Metric Name") in METRICS}
        launches, ns = times[name]
        kernels.append({"kernel": name[:200], "launches": launches, "share": ns / total, "total_ms": ns / 1e6, **found})
    what = {"model": args.model, "rule": args.rule, "batch": args.batch, "precision": args.precision}
    finish({**what, "launches": sum(n for n, _ in times.values()), "gpu_ms": total / 1e6, "kernels": kernels})


if __name__ == "__main__":
    main()
