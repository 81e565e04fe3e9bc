#!/usr/bin/env python3
"""A recipe against PyTorch: seconds of training, and accuracy on the test images, seed by seed in turns.

    cargo build --release -p flat-train
    python benches/peer/recipe.py mnist-99 --data data/mnist --seeds 0 1 2 3 4 --threads 2
    python benches/peer/recipe.py cifar10-fast --data data/cifar10 --seeds 0 1 2 --json

Both sides train the same network with the settings of crates/flat-run/recipes/NAME.toml on all training images: same batches
a step, SGD, schedule, weight decay, label smoothing, augmentation, precision. First weights and the order of images are each
side's own. PyTorch has its best settings: an allocator that keeps its pages and the faster of its layouts, found beforehand.
Where the recipe says bf16, its products are in bf16 by autocast; `--compile` compiles its network. Seconds are those of steps
alone on both sides: without loading, augmentation, evaluation and first steps that warm up. `--steps N` ends both after N
steps, for a short try, whose warm-up is half of them at most. A setting of a recipe that this script does not know is an error.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib

import images
import networks
from pytorch_step import KEEP, LAYOUTS, ROOT, TARGET, with_torch

RECIPES = ROOT / "crates/flat-run/recipes"
# of a recipe: what the peer does too, and what concerns the run's record alone
KNOWN = {"dataset", "model", "channels", "base", "optimizer", "epochs", "steps", "batch-size", "lr", "momentum", "nesterov"}
KNOWN |= {"weight-decay", "schedule", "warmup", "min-lr", "label-smoothing", "augment", "precision"}
RECORD = {"target-accuracy", "eval-every", "checkpoint-every", "trace-probes", "log-interval"}
# the values that the peer has
ONLY = {"base": {"sgd"}, "optimizer": {"sgd", "plain"}, "schedule": {"cosine", "constant"}, "precision": {"f32", "bf16"}}
# bursts of two steps by which the layout is chosen
TRIED = 5


def listed(args, what, kind, name):
    """What flat-train lists of a name."""
    out = subprocess.run([args.flat_train, what, "--json"], check=True, capture_output=True).stdout
    return next(one for one in json.loads(out)[kind] if one["name"] == name)


def settings_of(args):
    """The settings of the recipe, with flat-train's defaults for those of the base."""
    file = RECIPES / f"{args.recipe}.toml"
    if not file.exists():
        names = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        sys.exit(f"{args.recipe}: no such recipe: give one of {names}")
    settings = tomllib.loads(file.read_text())["settings"]
    for name, value in settings.items():
        if name not in KNOWN | RECORD:
            sys.exit(f"{file.name}: the peer does not know {name}: add it to benches/peer/recipe.py")
        if value not in ONLY.get(name, {value}):
            sys.exit(f"{file.name}: the peer knows {name} = {' or '.join(sorted(ONLY[name]))}, not {value}")
    base = {o["name"]: o["default"] for o in listed(args, "optimizers", "bases", "sgd")["options"]}
    return base | {"label-smoothing": 0.0, "schedule": "cosine", "warmup": 0, "min-lr": 0.0, "batch-size": 128} | settings


def loaded(settings, data):
    """The training images and labels."""
    return images.READERS[settings["dataset"]](data, "train")


def steps_of(text, per_epoch):
    """A number of steps, written as such or as epochs: 500 or 2ep."""
    text = str(text)
    return int(text[:-2]) * per_epoch if text.endswith("ep") else int(text)


class Peer:
    """The recipe in PyTorch."""

    def __init__(self, args, settings, seed, layout, train):
        import torch
        from torch.nn import functional as F

        torch.set_num_threads(args.threads)
        torch.manual_seed(seed)
        self.torch, self.args, self.settings, self.loss_of = torch, args, settings, F.cross_entropy
        self.layout = getattr(torch, {"channels_last": "channels_last", "contiguous": "contiguous_format"}[layout])
        self.facts = listed(args, "datasets", "datasets", settings["dataset"])
        self.images, self.labels = train
        net = networks.build(settings["model"], self.facts["channels"], settings.get("channels"))
        self.net = net.to(memory_format=self.layout)
        self.forward = torch.compile(self.net) if args.compile else self.net
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings.get("precision") == "bf16")
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), settings["lr"], settings["momentum"],
            nesterov=settings["nesterov"], weight_decay=settings["weight-decay"],
        )
        augment = str(settings.get("augment", "none"))
        self.augmentations = [images.AUGMENTATIONS[name] for name in augment.split(",") if name != "none"]
        size = settings["batch-size"]
        self.per_epoch = math.ceil(len(self.images) / size)
        asked = settings.get("steps") or round(settings.get("epochs", 2) * self.per_epoch)
        self.steps = args.steps or asked
        self.warmup = min(steps_of(settings["warmup"], self.per_epoch), self.steps // 2)

    def normalised(self, raw):
        shape = (1, -1, 1, 1)
        mean, std = (self.torch.tensor(self.facts[key]).view(shape) for key in ("mean", "std"))
        return ((raw.float() / 255 - mean) / std).contiguous(memory_format=self.layout)

    def rate(self, step):
        """The learning rate of a step."""
        s, warmup = self.settings, self.warmup
        if step < warmup:
            return s["lr"] * (step + 1) / (warmup + 1)
        if s["schedule"] == "constant":
            return s["lr"]
        along = (step - warmup) / max(self.steps - warmup, 1)
        return s["min-lr"] + (s["lr"] - s["min-lr"]) * 0.5 * (1 + math.cos(math.pi * along))

    def batch(self, rows):
        raw = self.images[rows]
        for augmentation in self.augmentations:
            raw = augmentation(raw)
        return self.normalised(raw), self.labels[rows]

    def gradient(self, x, y):
        with self.autocast:
            z = self.forward(x)
        self.loss_of(z.float(), y, label_smoothing=self.settings["label-smoothing"]).backward()

    def warm(self):
        """Two whole batches and the last, shorter one of an epoch; the network stays as it is."""
        size = self.settings["batch-size"]
        kept = {name: value.clone() for name, value in self.net.state_dict().items()}
        for n in (size, size, len(self.images) % size or size):
            self.gradient(*self.batch(self.torch.arange(n)))
            self.optimizer.zero_grad()
        self.net.load_state_dict(kept)

    def train(self, steps):
        """Seconds in so many steps."""
        torch, size, seconds = self.torch, self.settings["batch-size"], 0.0
        for step in range(steps):
            if step % self.per_epoch == 0:
                order = torch.randperm(len(self.images))
            x, y = self.batch(order[step % self.per_epoch * size:][:size])
            begun = time.perf_counter()
            self.optimizer.param_groups[0]["lr"] = self.rate(step)
            self.gradient(x, y)
            self.optimizer.step()
            self.optimizer.zero_grad()
            seconds += time.perf_counter() - begun
        return seconds

    def accuracy(self):
        """Share of the test images that are right."""
        torch = self.torch
        raw, truth = images.READERS[self.settings["dataset"]](self.args.data, "test")
        self.net.eval()
        with torch.no_grad(), self.autocast:
            found = torch.cat([self.net(self.normalised(part)).argmax(1) for part in raw.split(1000)])
        return (found == truth).float().mean().item()


def worker(args, settings):
    """One training by PyTorch, or the layout in which its steps take the least time here."""
    train = loaded(settings, args.data)
    if args.layout == "best":
        peers = {layout: Peer(args, settings, args.worker, layout, train) for layout in LAYOUTS}
        times = {layout: [] for layout in LAYOUTS}
        for peer in peers.values():
            peer.warm()
        for _ in range(TRIED):
            for layout, peer in peers.items():
                times[layout].append(peer.train(2))
        return {"layout": min(LAYOUTS, key=lambda layout: statistics.median(times[layout]))}
    peer = Peer(args, settings, args.worker, args.layout, train)
    peer.warm()
    return {"seconds": peer.train(peer.steps), "accuracy": peer.accuracy(), "steps": peer.steps, "warmup": peer.warmup}


def theirs(args, seed, *more):
    words = [sys.executable, __file__, *sys.argv[1:], "--worker", str(seed), *more]
    done = subprocess.run(words, stdout=subprocess.PIPE, env=os.environ | KEEP)
    if done.returncode != 0:
        sys.exit("PyTorch's side ended: see its message above")
    return json.loads(done.stdout)


def ours(args, seed, warmup):
    """One training by flat-train, which looks at the test images at its end alone."""
    with tempfile.TemporaryDirectory() as room:
        words = [args.flat_train, "train", "--recipe", args.recipe, "--data-dir", args.data, "--device", "cpu", "--json"]
        words += ["--seed", str(seed), "--threads", str(args.threads), "--out", f"{room}/run", "--quiet"]
        words += ["--eval-every", "0", *(["--steps", str(args.steps), "--warmup", str(warmup)] if args.steps else [])]
        done = subprocess.run(words, stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit("flat-train ended: see its message above")
    summary = json.loads(done.stdout)
    return {"seconds": summary["train_s"], "accuracy": summary["test_accuracy"], "steps": summary["steps"]}


def middle(values):
    """The median, and an interval of it from order statistics with its coverage: at least 0.95 from six values on."""
    values, n, out = sorted(values), len(values), 0

    def covered(k):
        return 1 - 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n

    while 2 * (out + 1) < n and covered(out + 1) >= 0.95:
        out += 1
    return {"median": statistics.median(values), "interval": [values[out], values[n - 1 - out]], "coverage": covered(out)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", metavar="NAME", help="a recipe of `flat-train recipes`")
    parser.add_argument("--data", required=True, help="folder of the recipe's data set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--layout", choices=["best", *LAYOUTS], default="best", help="PyTorch's")
    parser.add_argument("--compile", action="store_true", help="PyTorch's network by torch.compile")
    parser.add_argument("--steps", type=int, help="end after so many steps, on both sides")
    parser.add_argument("--flat-train", default=str(TARGET / "release/flat-train"))
    parser.add_argument("--json", action="store_true", help="print JSON alone on the standard output")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.steps is not None and args.steps < 1:
        parser.error("--steps: give at least 1")
    settings = settings_of(args)
    if args.worker is not None:
        print(json.dumps(worker(args, settings)))
        return
    news = sys.stderr if args.json else sys.stdout
    layout = theirs(args, 0)["layout"] if args.layout == "best" else args.layout
    found = {"flat-train": [], "PyTorch": []}
    for seed in args.seeds:
        there = theirs(args, seed, "--layout", layout)
        for side, one in zip(found, [ours(args, seed, there["warmup"]), there]):
            found[side].append({"seed": seed, **one})
            print(f"seed {seed}  {side:10}  {one['seconds']:7.1f} s  accuracy {one['accuracy']:.4f}", file=news, flush=True)
    pairs = list(zip(*found.values()))
    if any(a["steps"] != b["steps"] for a, b in pairs):
        sys.exit("both sides took different numbers of steps: the recipe is not compared")
    ratio = middle([a["seconds"] / b["seconds"] for a, b in pairs])
    for side, runs in found.items():
        seconds, accuracy = (statistics.mean(run[key] for run in runs) for key in ("seconds", "accuracy"))
        print(f"{side:10}  mean {seconds:.1f} s  accuracy {accuracy:.4f}", file=news)
    low, high = ratio["interval"]
    print(f"PyTorch: layout {layout}, allocator keeps its pages{', compiled' if args.compile else ''}", file=news)
    print(f"flat-train / PyTorch: {ratio['median']:.2f} ({low:.2f} to {high:.2f}, coverage {ratio['coverage']:.0%})", file=news)
    if args.json:
        print(json.dumps({"recipe": args.recipe, "settings": settings, "threads": args.threads, "layout": layout,
                          "compiled": args.compile, "runs": found, "ratio": ratio}, indent=1))


if __name__ == "__main__":
    with_torch(pyarrow="pyarrow", PIL="pillow")
    main()
