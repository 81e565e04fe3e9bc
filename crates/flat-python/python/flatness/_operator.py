"""What may be measured: a torch model with its loss, a linear operator, or a bare callable."""

from __future__ import annotations

import sys
from typing import Any, Callable, Optional

import numpy as np

from . import _core

DTYPES = ("float32", "float64")


def is_torch_model(what: Any) -> bool:
    """Whether this is a torch module. A program without torch does not load it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(what, torch.nn.Module)


def operator(
    what: Any, loss: Any, loader: Any, size: Optional[int], dtype: Optional[str], options: "dict[str, Any]"
) -> _core.Operator:
    """The operator of whatever may be measured."""
    if is_torch_model(what):
        refuse("size", size, "a torch model knows its own")
        refuse("dtype", dtype, "a torch model knows its own")
        from ._torch import TorchLoss

        return of_torch(TorchLoss(what, loss, loader, **options))
    for name, given in [("loss", loss), ("loader", loader), *options.items()]:
        refuse(name, given, "it is for torch models")
    shape = getattr(what, "shape", None)
    if shape is not None:
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"the operator has shape {tuple(shape)}: it must be square")
        refuse("size", size, "an operator with a shape knows its own")
        return of_products(multiply(what), int(shape[0]), dtype or dtype_of(what), type(what).__name__)
    if callable(what):
        if size is None:
            raise TypeError("a bare callable needs `size`, the number of parameters")
        return of_products(what, size, dtype or "float64", "callable")
    text = (
        f"cannot measure a {type(what).__name__}: give a torch model, an operator with shape, or a callable with `size`"
    )
    raise TypeError(text)


def refuse(name: str, given: Any, why: str) -> None:
    """Refuses an argument that has no effect."""
    if given is not None:
        raise TypeError(f"`{name}` has no effect here: {why}")


def dtype_of(what: Any) -> str:
    """The element type of an operator's vectors: its own, or f64."""
    name = str(getattr(what, "dtype", "")).removeprefix("torch.")
    return name if name in DTYPES else "float64"


def multiply(what: Any) -> Callable[[np.ndarray], Any]:
    """The product of an operator, whose vectors may be torch's."""
    if type(what).__module__.split(".")[0] == "curvlinops":
        import torch

        # linear operators of curvlinops say where their vectors live
        device = getattr(what, "device", "cpu")
        return lambda v: what @ torch.from_numpy(v).to(device)
    return lambda v: what @ v


def as_array(found: Any, dtype: str) -> np.ndarray:
    """A flat array of what a callable returned: of NumPy, torch, JAX or whatever has `__array__`."""
    if hasattr(found, "detach"):
        found = found.detach().cpu().numpy()
    return np.ascontiguousarray(np.asarray(found).reshape(-1), dtype=dtype)


def of_products(product: Callable[[np.ndarray], Any], size: int, dtype: str, name: str) -> _core.Operator:
    """The operator of a callable over one parameter of `size` numbers."""
    if size < 1:
        raise ValueError(f"`size` is {size}: give the number of parameters, at least 1")
    return _core.Operator(lambda v: (as_array(product(v), dtype), []), [("x", [size])], dtype=dtype, name=name)


def of_torch(loss: Any) -> _core.Operator:
    """The operator of a torch model's curvature."""
    return _core.Operator(
        loss.product_into,
        loss.parameters,
        dtype=loss.dtype_name,
        name=loss.name,
        weights=loss.weights,
        examples=sum(loss.sizes),
        bn_mode=loss.bn_mode,
        in_place=True,
    )
