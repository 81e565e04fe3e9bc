"""Keeping a torch model still: no dropout, no moving statistics, attention that can be differentiated twice."""

from __future__ import annotations

import contextlib
from typing import Iterator, Optional

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd


def moving(model: torch.nn.Module) -> Optional[str]:
    """A layer that behaves as in training, with its kind; ``None`` where there is none."""
    for name, layer in model.named_modules():
        dropout = isinstance(layer, _DropoutNd) and layer.p > 0
        norm = isinstance(layer, _NormBase) and layer.track_running_stats
        rnn = isinstance(layer, torch.nn.RNNBase) and layer.dropout > 0
        if layer.training and (dropout or norm or rnn):
            return f"`{name}` ({type(layer).__name__})"
    return None


@contextlib.contextmanager
def still(model: torch.nn.Module, frozen: bool) -> Iterator[None]:
    """Attention by the kernel whose derivative has a derivative, and, where `frozen`, every layer in evaluation mode.

    Fused attention has no second derivative, and cuDNN's recurrent layers have none either. Modes come back
    afterwards, layer by layer.
    """
    modes = [(layer, layer.training) for layer in model.modules()] if frozen else []
    rnn = any(isinstance(layer, torch.nn.RNNBase) for layer in model.modules())
    with contextlib.ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if rnn and torch.backends.cudnn.is_available():
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        try:
            for layer, _ in modes:
                layer.training = False
            yield
        finally:
            for layer, mode in modes:
                layer.training = mode
