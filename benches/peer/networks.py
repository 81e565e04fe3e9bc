"""The networks of crates/flat-nn in PyTorch: same sizes, same names of parameters, cross entropy on ten classes."""


def build(name, channels=None, width=None):
    """A network by its name in `flat-train models`; `channels` of the input, and those of the first convolution as `width`,
    replace its own."""
    from torch import nn
    from torch.nn import functional as F

    def conv(i, o, side, stride=1):
        return nn.Conv2d(i, o, side, stride, side // 2, bias=False)

    class Mlp(nn.Module):
        def __init__(self, pixels):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(pixels, 256), nn.Linear(256, 10)

        def forward(self, x):
            return self.fc2(F.relu(self.fc1(x.flatten(1))))

    class LeNet(nn.Module):
        def __init__(self, i, c):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(i, c, 5), nn.Conv2d(c, 2 * c, 5)
            self.fc1, self.fc2 = nn.Linear(32 * c, 32 * c), nn.Linear(32 * c, 10)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            return self.fc2(F.relu(self.fc1(x.flatten(1))))

    class Basic(nn.Module):
        """He et al. 2016: normalised after each convolution."""

        def __init__(self, i, o, stride):
            super().__init__()
            self.conv1, self.bn1 = conv(i, o, 3, stride), nn.BatchNorm2d(o)
            self.conv2, self.bn2 = conv(o, o, 3), nn.BatchNorm2d(o)
            self.downsample = None
            if stride != 1 or i != o:
                self.downsample = nn.Sequential(conv(i, o, 1, stride), nn.BatchNorm2d(o))

        def forward(self, x):
            h = F.relu(self.bn1(self.conv1(x)), inplace=True)
            h = self.bn2(self.conv2(h))
            h = h + (x if self.downsample is None else self.downsample(x))
            return F.relu(h, inplace=True)

    class PreActivation(nn.Module):
        """Zagoruyko & Komodakis 2016: normalised before each convolution."""

        def __init__(self, i, o, stride):
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(i), conv(i, o, 3, stride)
            self.bn2, self.conv2 = nn.BatchNorm2d(o), conv(o, o, 3)
            self.downsample = nn.Sequential(conv(i, o, 1, stride)) if stride != 1 or i != o else None

        def forward(self, x):
            a = F.relu(self.bn1(x))
            h = self.conv2(F.relu(self.bn2(self.conv1(a)), inplace=True))
            return h + (x if self.downsample is None else self.downsample(a))

    class Residual(nn.Module):
        def __init__(self, i, stem, widths, blocks, block):
            super().__init__()
            self.pre = block is PreActivation
            self.conv1, self.bn1 = conv(i, stem, 3), nn.BatchNorm2d(widths[-1] if self.pre else stem)
            self.stages, i = len(widths), stem
            for stage, o in enumerate(widths):
                layers = []
                for k in range(blocks):
                    layers.append(block(i, o, 2 if stage > 0 and k == 0 else 1))
                    i = o
                setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
            self.fc = nn.Linear(i, 10)

        def norm(self, x):
            return F.relu(self.bn1(x), inplace=True)

        def forward(self, x):
            x = self.conv1(x)
            x = x if self.pre else self.norm(x)
            for stage in range(self.stages):
                x = getattr(self, f"layer{stage + 1}")(x)
            x = self.norm(x) if self.pre else x
            return self.fc(x.mean((2, 3)))

    class ResNet9(nn.Module):
        """Page 2018, with the pooling right behind a convolution and the features over 8 in place of the logits."""

        def __init__(self, i, c):
            super().__init__()
            self.prep, self.layer1 = self.layer(i, c), self.layer(c, 2 * c, residual=True)
            self.layer2, self.layer3 = self.layer(2 * c, 4 * c), self.layer(4 * c, 8 * c, residual=True)
            self.linear = nn.Linear(8 * c, 10)

        def layer(self, i, o, residual=False):
            parts = {"conv": conv(i, o, 3), "bn": nn.BatchNorm2d(o)}
            if residual:
                parts |= {"res1": self.layer(o, o), "res2": self.layer(o, o)}
            return nn.ModuleDict(parts)

        def apply_layer(self, layer, x, pool=False):
            h = layer["conv"](x)
            h = F.relu(layer["bn"](F.max_pool2d(h, 2) if pool else h), inplace=True)
            if "res1" in layer:
                h = h + self.apply_layer(layer["res2"], self.apply_layer(layer["res1"], h))
            return h

        def forward(self, x):
            x = self.apply_layer(self.prep, x)
            for layer in (self.layer1, self.layer2, self.layer3):
                x = self.apply_layer(layer, x, pool=True)
            return self.linear(x.amax((2, 3)) / 8)

    def residual(width, ratios, blocks, block):
        return Residual(channels or 3, width, [ratio * width for ratio in ratios], blocks, block)

    if name == "mlp" and width is None:
        return Mlp(784)
    if name == "lenet":
        return LeNet(channels or 1, width or 32)
    if name in ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"):
        return residual(width or 16, [1, 2, 4], (int(name[6:]) - 2) // 6, Basic)
    if name == "resnet9":
        return ResNet9(channels or 3, width or 64)
    if name == "resnet18":
        return residual(width or 64, [1, 2, 4, 8], 2, Basic)
    if name == "wrn-16-4":
        return residual(width or 16, [4, 8, 16], 2, PreActivation)
    raise SystemExit(f"model {name}: mlp (of one width), lenet, resnet20 to resnet110, resnet9, resnet18 or wrn-16-4")


def image(name):
    """Shape of an image that the network is usually trained on."""
    return (1, 28, 28) if name in ("mlp", "lenet") else (3, 32, 32)
