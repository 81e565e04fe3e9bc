"""The numbers of timm.txt, in f64 on CPU, as from_torchvision.py has them: `python from_timm.py > timm.txt` (timm 1.0)."""

import timm
import timm.layers
from from_torchvision import report

# the fused kernel has no second derivative
timm.layers.set_fused_attn(False)
for side in [16, 32]:
    net = timm.create_model("vit_tiny_patch16_224", img_size=side, patch_size=4, num_classes=10)
    report("vit-tiny cifar 192", net.double(), side)
