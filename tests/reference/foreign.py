"""Checkpoints as users of PyTorch have them, with what PyTorch measures on them.

    python3 tests/reference/foreign.py OUT [--limit 64] [--only NAME,...]

writes OUT/NAME and prints a JSON object a line: file, flags of flat-train, loss, accuracy, and the exact trace of the Hessian's
estimate by Hutchinson's method with its standard error. Weights come from a seed and are trained for a few steps, so that
running statistics differ from their start. Data: $FLAT_DATA_DIR/mnist (IDX) and CIFAR-10 (binary or Python batches, or
the hub's parquet files, which take pyarrow and Pillow).
Parquet files of JPEG pictures are decoded to pixels that differ by a level between decoders, which moves a loss by 1e-5 to 1e-3.
timm's names are written from torchvision's network, which has the same ones.
"""

import argparse
import gzip
import json
import os
import pathlib
import pickle
import sys

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benches/peer"))
import networks  # noqa: E402

torch.set_num_threads(2)
MNIST, CIFAR = ((0.1307,), (0.3081,)), ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def data_dir():
    return pathlib.Path(os.environ.get("FLAT_DATA_DIR", "data"))


def idx(path):
    plain = path if path.exists() else path.with_name(path.name + ".gz")
    raw = (gzip.open if plain.suffix == ".gz" else open)(plain, "rb").read()
    sides = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sides)


def found(*names):
    for root in [data_dir(), *sorted(p for p in data_dir().rglob("*") if p.is_dir())]:
        for name in names:
            if (root / name).exists():
                return root / name
    raise SystemExit(f"none of {names} below {data_dir()}")


def mnist(n):
    part = lambda what: idx(found(f"t10k-{what}", f"t10k-{what}.gz"))
    x, y = part("images-idx3-ubyte")[:n], part("labels-idx1-ubyte")[:n]
    return scaled(x[:, None], MNIST), torch.tensor(y, dtype=torch.long)


def cifar(n):
    path = found("test_batch.bin", "test_batch", "test/0000.parquet")
    if path.suffix == ".parquet":
        import io

        import pyarrow.parquet
        from PIL import Image

        rows = pyarrow.parquet.read_table(path).slice(0, n).to_pylist()
        x = [np.asarray(Image.open(io.BytesIO(row["img"]["bytes"]))).transpose(2, 0, 1) for row in rows]
        x, y = np.stack(x), [row["label"] for row in rows]
    elif path.suffix == ".bin":
        rows = np.fromfile(path, np.uint8).reshape(-1, 3073)[:n]
        x, y = rows[:, 1:], rows[:, 0]
    else:
        batch = pickle.load(open(path, "rb"), encoding="bytes")
        x, y = batch[b"data"][:n], batch[b"labels"][:n]
    return scaled(np.asarray(x).reshape(-1, 3, 32, 32), CIFAR), torch.tensor(np.asarray(y), dtype=torch.long)


def scaled(x, constants):
    mean, std = (torch.tensor(c).view(1, -1, 1, 1) for c in constants)
    return (torch.tensor(np.ascontiguousarray(x), dtype=torch.float32) / 255 - mean) / std


class MnistExample(nn.Module):
    """pytorch/examples/mnist/main.py; its log_softmax with nll_loss is the cross entropy."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, 1), nn.Conv2d(32, 64, 3, 1)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


class Basic(nn.Module):
    """A block of pytorch-cifar (kuangliu); with option A that of pytorch_resnet_cifar10 (akamaster)."""

    def __init__(self, cin, c, stride, option_a):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, c, 3, stride, 1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c)
        self.shortcut, self.pad = nn.Sequential(), None
        if stride != 1 or cin != c:
            if option_a:
                self.pad = c // 4
            else:
                self.shortcut = nn.Sequential(nn.Conv2d(cin, c, 1, stride, bias=False), nn.BatchNorm2d(c))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = self.shortcut(x) if self.pad is None else F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(h + short)


class Cifar(nn.Module):
    def __init__(self, widths, blocks, option_a):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        cin = widths[0]
        for i, c in enumerate(widths):
            stage = []
            for b in range(blocks):
                stage.append(Basic(cin, c, 2 if i > 0 and b == 0 else 1, option_a))
                cin = c
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        self.stages, self.linear = len(widths), nn.Linear(cin, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.linear(x.mean((2, 3)))


def resnet18(cifar_stem=True):
    net = torchvision.models.resnet18(num_classes=10)
    if cifar_stem:
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return net


def resnet50():
    return torchvision.models.resnet50(num_classes=10)


def resnet9():
    return networks.build("resnet9", width=8)


def vgg16_bn():
    return torchvision.models.vgg16_bn(num_classes=10)


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


def legacy(net, path):
    """As before PyTorch 1.6."""
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)


def prefixed(prefix):
    return lambda net, path: torch.save({prefix + k: v for k, v in net.state_dict().items()}, path)


def plain(net, path):
    torch.save(net.state_dict(), path)


def safetensors(net, path):
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)


def ddp(net, path):
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net.zero_grad()
    sum(p.square().sum() for p in net.parameters()).backward()
    optimizer.step()
    state = {"module." + k: v for k, v in net.state_dict().items()}
    args = argparse.Namespace(arch="resnet18", lr=0.1)
    torch.save({"epoch": 3, "best_acc": 0.5, "state_dict": state, "optimizer": optimizer.state_dict(), "args": args}, path)


def half(dtype):
    def write(net, path):
        net.to(dtype)
        torch.save(net.state_dict(), path)
        net.float()

    return write


def ema(net, path):
    raw = {k: v + 0.01 * torch.randn_like(v) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    for k, v in net.state_dict().items():
        if k.endswith("running_var"):
            raw[k] = v.clone()
    torch.save({"model": raw, "model_ema": net.state_dict()}, path)


# name: network, data, writer, flags beside --checkpoint and --dataset
FILES = {
    "resnet18-imagenet.pth": (lambda: resnet18(False), cifar, plain, ""),
    "resnet18-cifar.pth": (resnet18, cifar, plain, ""),
    "resnet18-timm.safetensors": (resnet18, cifar, safetensors, ""),
    "resnet18-ddp.pth.tar": (resnet18, cifar, ddp, ""),
    "resnet18-compiled.pt": (resnet18, cifar, prefixed("_orig_mod.module."), ""),
    "resnet18-kuangliu.pth": (lambda: Cifar([64, 128, 256, 512], 2, False), cifar, plain, ""),
    "resnet20-akamaster.th": (lambda: Cifar([16, 32, 64], 3, True), cifar, prefixed("module."), ""),
    "mlp-f16.pt": (mlp, mnist, half(torch.float16), ""),
    "resnet20-bf16.pt": (lambda: Cifar([16, 32, 64], 3, False), cifar, half(torch.bfloat16), ""),
    "mlp-ema.pt": (mlp, mnist, ema, "--prefix model_ema."),
    "mlp-sequential.pt": (mlp, mnist, plain, ""),
    "mnist-example.pt": (MnistExample, mnist, plain, ""),
    "mlp-legacy.pth": (mlp, mnist, legacy, ""),
    "resnet50.pth": (resnet50, cifar, plain, ""),
    "resnet9.pt": (resnet9, cifar, plain, ""),
    "vgg16-bn.pth": (vgg16_bn, cifar, plain, ""),
}


def warmed(net, x, y):
    """A few steps, so that the statistics are not those of the start."""
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.5)
    net.train()
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def trace(net, x, y, probes):
    params = [p for p in net.parameters()]
    values = []
    for _ in range(probes):
        v = [torch.randint_like(p, 2) * 2 - 1 for p in params]
        grads = torch.autograd.grad(F.cross_entropy(net(x), y), params, create_graph=True)
        along = torch.autograd.grad(sum((g * u).sum() for g, u in zip(grads, v)), params)
        values.append(sum((g * u).sum() for g, u in zip(along, v)).item())
    return float(np.mean(values)), float(np.std(values, ddof=1) / probes**0.5)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--probes", type=int, default=8)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    for name, (make, data, write, flags) in FILES.items():
        if args.only and name not in args.only.split(","):
            continue
        x, y = data(args.limit)
        net = warmed(make(), x[:16], y[:16])
        write(net, args.out / name)
        with torch.no_grad():
            logits = net(x)
        found = {
            "file": name,
            "dataset": data.__name__ if data is mnist else "cifar10",
            "flags": flags,
            "limit": args.limit,
            "loss": F.cross_entropy(logits, y).item(),
            "accuracy": (logits.argmax(1) == y).float().mean().item(),
            "parameters": sum(p.numel() for p in net.parameters()),
        }
        if args.probes > 1:
            found["trace"], found["trace_std_error"] = trace(net, x, y, args.probes)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
