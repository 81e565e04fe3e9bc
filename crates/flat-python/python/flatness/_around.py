"""Measures of the loss around the parameters of a torch model."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

import numpy as np

from . import _core, _progress
from ._measures import Options, Progress
from ._operator import is_torch_model
from ._result import About, about
from ._results import Landscape, Sharpness

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._torch import TorchLoss


def torch_loss(model: Any, loss: Any, loader: Any, options: "dict[str, Any]") -> "TorchLoss":
    """The loss of a torch model; options of the curvature have no effect on it."""
    if not is_torch_model(model):
        raise TypeError(f"cannot measure the loss of a {type(model).__name__}: give a torch model")
    allowed = {"mode", "params", "forward", "max_batches"}
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise TypeError(
            f"`{unknown[0]}` has no effect on the loss: leave it out, there are {', '.join(sorted(allowed))}"
        )
    from ._torch import TorchLoss

    # the measures make their own check, or need none
    return TorchLoss(model, loss, loader, check=False, **options)


def of_torch(it: "TorchLoss") -> _core.Loss:
    """The loss as the compiled part takes it."""
    return _core.Loss(
        it.loss_at,
        it.gradient_at,
        it.theta(),
        it.parameters,
        dtype=it.dtype_name,
        sizes=it.sizes,
        bn_frozen=it.bn_mode is not None,
    )


def sharpness(
    model: Any,
    loss: Optional[Callable[..., Any]] = None,
    loader: Any = None,
    *,
    measure: str = "worst",
    rho: float = 0.05,
    geometry: str = "l2",
    eta: float = 0.01,
    steps: int = 10,
    starts: int = 1,
    pairs: int = 20,
    noise: str = "sphere",
    seed: int = 0,
    progress: Progress = None,
    **options: "Unpack[Options]",
) -> Sharpness:
    """How much the loss rises within a distance of the parameters, which come back bit for bit.

    Parameters
    ----------
    model, loss, loader, seed, progress
        As for `trace`; `model` is a torch model.
    measure : str
        ``"worst"`` (projected ascent in the ball, a lower bound of the maximum), ``"first-order"`` (SAM's step),
        ``"per-batch"`` (m-sharpness), ``"average"`` (random displacements, with an interval), ``"low-pass"`` (the
        filtered loss itself) or ``"keskar"``.
    rho : float
        The radius; the standard deviation of each element for ``"low-pass"``, the size of the box for ``"keskar"``.
    geometry : str
        ``"l2"``, ``"linf"``, ``"adaptive-l2"`` or ``"adaptive-linf"``, for the first three.
    eta : float
        Added to the sizes of the parameters by the adaptive ones.
    steps, starts : int
        Steps of an ascent, and ascents.
    pairs : int
        Pairs of displacements that are drawn.
    noise : str
        ``"sphere"`` or ``"gaussian"``, for ``"average"``.
    **options
        ``mode``, ``params``, ``forward`` and ``max_batches`` of `Options`.

    Returns
    -------
    Sharpness
    """
    it = of_torch(torch_loss(model, loss, loader, dict(options)))
    observe = _progress.observer(progress, "sharpness")
    try:
        text = _core.sharpness(
            it,
            measure=measure,
            rho=rho,
            geometry=geometry,
            eta=eta,
            steps=steps,
            starts=starts,
            pairs=pairs,
            noise=noise,
            seed=seed,
            observe=observe,
        )
    finally:
        _progress.close(observe)
    read = json.loads(text)
    spread = read["estimate"] or {"std_error": None, "ci95": None}
    return Sharpness(
        read["value"],
        spread["std_error"],
        None if spread["ci95"] is None else tuple(spread["ci95"]),
        loss=read["loss"],
        displaced=read["displaced"],
        starts=read["starts"],
        measure=read["measure"],
        about=about(read),
    )


def landscape(
    model: Any,
    loss: Optional[Callable[..., Any]] = None,
    loader: Any = None,
    *,
    axes: int = 1,
    span: Sequence[float] = (-1.0, 1.0),
    points: int = 21,
    seed: int = 0,
    progress: Progress = None,
    **options: "Unpack[Options]",
) -> Landscape:
    """The loss along one or two random directions, scaled filter by filter to the parameters (Li et al. 2018).

    Parameters
    ----------
    model, loss, loader, seed, progress, **options
        As for `sharpness`.
    axes : int
        Directions: 1 or 2.
    span : (float, float)
        The coordinates' ends, in the norms of the filters.
    points : int
        Points along each direction. An odd number and a symmetric span hold the parameters themselves.

    Returns
    -------
    Landscape
    """
    start = time.monotonic()
    it = torch_loss(model, loss, loader, dict(options))
    observe = _progress.observer(progress, "landscape")
    try:
        coordinates, losses = _core.landscape(
            of_torch(it), axes=axes, span=list(span), points=points, seed=seed, observe=observe
        )
    finally:
        _progress.close(observe)
    shape = (points,) * axes
    return Landscape(
        np.array(coordinates),
        np.array(losses).reshape(shape),
        About(
            operator=None,
            dim=sum(p.numel() for p in it.params),
            examples=sum(it.sizes),
            batches=len(it.sizes),
            dtype={"float32": "f32", "float64": "f64"}[it.dtype_name],
            bn_mode=it.bn_mode,
            matvecs=0,
            gradients=0,
            losses=len(losses),
            seed=seed,
            seconds=time.monotonic() - start,
            stopped_by="complete",
        ),
    )
