"""The batches that a torch loss is the mean over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

import torch


def held(loader: Any, max_batches: Optional[int]) -> Sequence[Any]:
    """The batches of a loader, as a sequence that gives the same ones at each pass.

    A sequence of batches stays what it is, so that one that reads from disk takes no memory. All else is read once and
    held: a loader that shuffles or augments would give another loss at each pass.
    """
    if max_batches is not None and max_batches < 1:
        raise ValueError(f"`max_batches` is {max_batches}: give at least 1")
    if isinstance(loader, (Mapping, str)) or torch.is_tensor(loader):
        raise TypeError("`loader` is one batch: give a list of batches, such as [(inputs, targets)]")
    if isinstance(loader, tuple) and loader and torch.is_tensor(loader[0]):
        raise TypeError("`loader` is one batch: give a list of batches, such as [(inputs, targets)]")
    if isinstance(loader, Sequence):
        batches = loader if max_batches is None else loader[:max_batches]
    else:
        batches = []
        for batch in loader:
            batches.append(batch)
            if len(batches) == max_batches:
                break
    if not len(batches):
        raise ValueError("`loader` gives no batch: give at least one")
    return batches


def first_tensor(batch: Any) -> Optional[torch.Tensor]:
    """The first tensor in a batch, however it is nested."""
    if torch.is_tensor(batch):
        return batch
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (tuple, list)) else ()
    return next((found for part in parts if (found := first_tensor(part)) is not None), None)


def size(batch: Any) -> int:
    """The number of examples: the length of the first tensor."""
    tensor = first_tensor(batch)
    if tensor is None or tensor.dim() == 0:
        raise TypeError("a batch must hold a tensor whose first dimension counts the examples")
    return tensor.shape[0]


def moved(batch: Any, device: torch.device, double: bool) -> Any:
    """The batch on a device; its floating point numbers in f64 where `double` says so."""
    if torch.is_tensor(batch):
        dtype = torch.float64 if double and batch.is_floating_point() else None
        return batch.to(device=device, dtype=dtype, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: moved(part, device, double) for key, part in batch.items()}
    if isinstance(batch, (tuple, list)):
        return [moved(part, device, double) for part in batch]
    return batch
