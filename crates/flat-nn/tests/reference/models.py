"""Reference numbers for tests/nn/models.rs, in f64 on CPU: `python models.py` (PyTorch 2).

Weights and images are formulas of their index, so that both sides build the same model: the i-th element of the k-th
parameter (sorted by name) is a * sin(0.7 i + 1.3 k + 0.5), with a = 1 / sqrt(fan_in) for tensors of two and more
dimensions and 0.1 for vectors, to which 1 is added for norm weights.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)


class LeNet(nn.Module):
    def __init__(self, c=32):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, c, 5), nn.Conv2d(c, 2 * c, 5)
        self.fc1, self.fc2 = nn.Linear(2 * c, 32 * c), nn.Linear(32 * c, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(256, 12), nn.Linear(12, 10)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x.flatten(1))))


def norm_layer(kind, c):
    groups = next((g for g in range(32, 0, -1) if c % g == 0 and c // g >= 4), 1)
    return nn.BatchNorm2d(c) if kind == "batch" else nn.GroupNorm(groups, c)


class Basic(nn.Module):
    def __init__(self, i, o, s, kind):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, s, 1, bias=False), norm_layer(kind, o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), norm_layer(kind, o)
        self.downsample = None
        if s != 1 or i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, s, bias=False), norm_layer(kind, o))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class Pre(nn.Module):
    def __init__(self, i, o, s, kind):
        super().__init__()
        self.bn1, self.conv1 = norm_layer(kind, i), nn.Conv2d(i, o, 3, s, 1, bias=False)
        self.bn2, self.conv2 = norm_layer(kind, o), nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.downsample = None
        if s != 1 or i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, s, bias=False))

    def forward(self, x):
        a = F.relu(self.bn1(x))
        h = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return h + (x if self.downsample is None else self.downsample(a))


class Residual(nn.Module):
    def __init__(self, block, stem, widths, blocks, kind):
        super().__init__()
        self.pre = block is Pre
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False)
        self.bn1 = norm_layer(kind, widths[-1] if self.pre else stem)
        i = stem
        self.stages = len(widths)
        for s, o in enumerate(widths):
            layers = []
            for b in range(blocks):
                layers.append(block(i, o, 2 if s > 0 and b == 0 else 1, kind))
                i = o
            setattr(self, f"layer{s + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(widths[-1], 10)

    def forward(self, x):
        x = self.conv1(x)
        if not self.pre:
            x = F.relu(self.bn1(x))
        for s in range(self.stages):
            x = getattr(self, f"layer{s + 1}")(x)
        if self.pre:
            x = F.relu(self.bn1(x))
        return self.fc(x.mean((2, 3)))


def formula(n, phase):
    return torch.sin(0.7 * torch.arange(n) + phase)


def report(name, model, channels, side):
    parameters = sorted(model.named_parameters())
    for k, (pname, p) in enumerate(parameters):
        a = 1 / math.sqrt(p[0].numel()) if p.dim() > 1 else 0.1
        values = a * formula(p.numel(), 1.3 * k + 0.5)
        if p.dim() == 1 and pname.endswith("weight"):
            values += 1
        p.data = values.reshape(p.shape)
    x = formula(4 * channels * side * side, 0.1).reshape(4, channels, side, side)
    y = torch.tensor([0, 3, 9, 3])
    model.train()
    logits = model(x)
    loss = F.cross_entropy(logits, y, label_smoothing=0.1)
    mse = F.mse_loss(logits, F.one_hot(y, 10).double())
    grads = torch.autograd.grad(loss, [p for _, p in parameters], create_graph=True)
    flat = torch.cat([g.flatten() for g in grads])
    v = torch.cos(0.3 * torch.arange(flat.numel()))
    hv = torch.autograd.grad((flat * v).sum(), [p for _, p in parameters])
    hv = torch.cat([h.flatten() for h in hv])
    model.eval()
    eval_loss = F.cross_entropy(model(x), y)
    numbers = [logits[1, 2], loss, mse, flat.norm(), flat @ v, hv.norm(), hv @ v, eval_loss]
    print(name, flat.numel(), [float(f"{n.item():.15g}") for n in numbers])


report("lenet", LeNet(), 1, 16)
report("mlp", Mlp(), 1, 16)
for kind in ["batch", "group"]:
    report(f"resnet20 {kind}", Residual(Basic, 16, [16, 32, 64], 3, kind), 3, 8)
    report(f"resnet18 {kind}", Residual(Basic, 64, [64, 128, 256, 512], 2, kind), 3, 8)
    report(f"wrn-16-4 {kind}", Residual(Pre, 16, [64, 128, 256], 2, kind), 3, 8)
report("lenet, 5 channels", LeNet(5), 1, 16)
report("resnet20 batch, 6 channels", Residual(Basic, 6, [6, 12, 24], 3, "batch"), 3, 8)
report("wrn-16-4 group, 3 channels", Residual(Pre, 3, [12, 24, 48], 2, "group"), 3, 8)
