"""The numbers of torchvision.txt, in f64 on CPU, of torchvision's own networks: `python from_torchvision.py >
torchvision.txt`.

Weights and images are noise of integers, so that both sides build the same model: `noise(n, k)` for the k-th parameter
(sorted by name), times sqrt(6 / fan_in) for tensors of two and more dimensions and 0.1 for vectors, to which 1 is added
for weights of normalisation; images are noise(n, 1000). A line is the network's name, its stem, channels of its first
convolution, the side of the images, the number of parameters, a logit, the loss, the squared error, norm and slope of
the gradient, norm and form of the Hessian product, and the loss by running statistics. Dropout is off.
"""

import math

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models import vgg

torch.set_default_dtype(torch.float64)


def noise(n, k):
    """Uniform in -1..1, by a hash of 32 bits."""
    x = (torch.arange(n) + 7919 * k) * 2654435761 % 2**32
    x = ((x ^ (x >> 16)) * 73244475) % 2**32
    return (x ^ (x >> 16)).double() / 2**31 - 1


def of(name, stem, width):
    if name.startswith("resnet"):
        net = getattr(torchvision.models, name)(num_classes=10)
        if stem == "cifar":
            # as every repository for CIFAR does
            net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
        return net
    letter = {"vgg11-bn": "A", "vgg13-bn": "B", "vgg16-bn": "D"}[name]
    narrow = [c if c == "M" else c * width // 64 for c in vgg.cfgs[letter]]
    net = vgg.VGG(vgg.make_layers(narrow, batch_norm=True), num_classes=10)
    if stem == "cifar":
        net.avgpool, net.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(8 * width, 10)
    else:
        # its own is of 64 channels
        for at, (i, o) in {0: (8 * 49, 64), 3: (64, 64)}.items():
            net.classifier[at] = nn.Linear(i * width, o * width)
        net.classifier[6] = nn.Linear(64 * width, 10)
    return net


def report(title, net, side):
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    parameters = sorted(net.named_parameters())
    for k, (name, p) in enumerate(parameters):
        a = math.sqrt(6 / p[0].numel()) if p.dim() > 1 else 0.1
        values = a * noise(p.numel(), k)
        p.data = (values + 1 if p.dim() == 1 and name.endswith("weight") else values).reshape(p.shape)
    x = noise(4 * 3 * side * side, 1000).reshape(4, 3, side, side)
    y = torch.tensor([0, 3, 9, 3])
    net.train()
    logits = net(x)
    loss = F.cross_entropy(logits, y, label_smoothing=0.1)
    mse = F.mse_loss(logits, F.one_hot(y, 10).double())
    of = [p for _, p in parameters]
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, of, create_graph=True)])
    v = torch.cos(0.3 * torch.arange(flat.numel()))
    hv = torch.cat([h.flatten() for h in torch.autograd.grad((flat * v).sum(), of)])
    net.eval()
    eval_loss = F.cross_entropy(net(x), y)
    numbers = [logits[1, 2], loss, mse, flat.norm(), flat @ v, hv.norm(), hv @ v, eval_loss]
    print(title, side, flat.numel(), *(f"{n.item():.15g}" for n in numbers), flush=True)


if __name__ == "__main__":
    for name, stem, width, side in [
        ("resnet18", "imagenet", 64, 40),
        ("resnet34", "imagenet", 64, 40),
        ("resnet34", "cifar", 64, 8),
        ("resnet50", "imagenet", 64, 40),
        ("resnet50", "cifar", 64, 8),
        ("vgg11-bn", "cifar", 64, 32),
        ("vgg11-bn", "imagenet", 8, 40),
        ("vgg13-bn", "imagenet", 8, 64),
        ("vgg16-bn", "cifar", 64, 40),
    ]:
        report(f"{name} {stem} {width}", of(name, stem, width), side)
