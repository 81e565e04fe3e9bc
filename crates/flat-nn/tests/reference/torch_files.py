"""Writes the archives of tests/nn/torch_files.rs: `python3 torch_files.py FOLDER`, with PyTorch."""

import argparse
import pathlib
import sys
from collections import OrderedDict

import torch

out = pathlib.Path(sys.argv[1])
ramp = lambda *shape: torch.arange(1, 1 + torch.Size(shape).numel(), dtype=torch.float32).reshape(shape) / 8
weights = OrderedDict(
    [
        ("fc1.weight", ramp(3, 4)),
        ("fc1.bias", ramp(3)),
        ("fc2.weight", ramp(3, 2).t()),
        ("fc2.bias", ramp(6)[4:]),
    ]
)
torch.save(weights, out / "plain.pt")
model = {"module." + k: v for k, v in weights.items()}
state = {"state": {0: {"momentum_buffer": ramp(3, 4)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
args = argparse.Namespace(arch="mlp", lr=0.1)
torch.save({"epoch": 3, "best": 0.5, "state_dict": model, "optimizer": state, "args": args}, out / "training.pth.tar")
torch.save({k: torch.nn.Parameter(v.to(torch.float16)) for k, v in weights.items()}, out / "half.pt")
torch.save(torch.nn.Linear(1, 1), out / "whole.pt")
torch.save(
    {"epoch": 3, "state_dict": model, "optimizer": state},
    out / "legacy.pth",
    _use_new_zipfile_serialization=False,
)
