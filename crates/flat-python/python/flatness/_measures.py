"""The measures of curvature: of a torch model, of a linear operator, or of a bare callable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable, Iterable, Optional, TypedDict, TypeVar, Union

import numpy as np

from . import _core, _progress
from ._operator import operator
from ._result import about, estimate
from ._results import Density, Diagonal, Eigenpairs, Layers, Trace

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")
Progress = Union[None, bool, _progress.Observe]


class Options(TypedDict, total=False):
    """Options of every measure of curvature. All but `size` and `dtype` are for torch models.

    Attributes
    ----------
    size : int
        The number of parameters, for a bare callable.
    dtype : str
        ``"float64"`` (default) or ``"float32"``: element type of the vectors of an operator or a callable.
    curvature : str
        ``"hessian"`` (default), ``"ggn"`` (generalised Gauss-Newton), ``"fisher"`` (of cross entropy, equal to
        ``"ggn"``) or ``"empirical-fisher"``.
    second : str
        ``"exact"`` (default), or ``"differences"``: central differences of gradients of a copy of the model in f64, for
        operations without second derivatives.
    mode : str
        ``"frozen"`` measures a model that is in training mode with dropout off and BatchNorm's running statistics.
        Without it such a model is refused.
    params : callable or iterable of str
        The parameters to measure: their names, or a function that says whether a name is one.
    forward : callable
        ``forward(model, batch)`` gives the model's output. By default a batch ``(x, ..., target)`` goes to ``model(x,
        ...)`` and a mapping to ``model(**batch)``.
    max_batches : int
        Most batches read from the loader, which are then held.
    check : bool
        Evaluate the first batch twice and refuse a random loss; ``True`` by default.
    """

    size: int
    dtype: str
    curvature: str
    second: str
    mode: str
    params: Union[Callable[[str], bool], Iterable[str]]
    forward: Callable[..., Any]
    max_batches: int
    check: bool


def measured(
    name: str,
    what: Any,
    loss: Any,
    loader: Any,
    options: "dict[str, Any]",
    progress: Progress,
    run: "Callable[[_core.Operator, Any], T]",
) -> T:
    """Runs an estimator on the operator, with its progress shown."""
    unknown = sorted(set(options) - set(Options.__annotations__))
    if unknown:
        known = ", ".join(sorted(Options.__annotations__))
        raise TypeError(f"`{unknown[0]}` is no option of {name}: there are {known}")
    own = dict(options)
    it = operator(what, loss, loader, own.pop("size", None), own.pop("dtype", None), own)
    observe = _progress.observer(progress, name)
    try:
        return run(it, observe)
    finally:
        _progress.close(observe)


def trace(
    what: Any,
    loss: Optional[Callable[..., Any]] = None,
    loader: Any = None,
    *,
    rel_tol: Optional[float] = None,
    max_probes: int = 100,
    min_probes: int = 10,
    estimator: str = "hutchinson",
    distribution: str = "rademacher",
    seed: int = 0,
    progress: Progress = None,
    **options: "Unpack[Options]",
) -> Trace:
    """The trace of a curvature matrix, with the trace of each parameter's block.

    Parameters
    ----------
    what : torch.nn.Module, linear operator or callable
        A torch model; an operator with ``shape`` and ``@`` (SciPy's, curvlinops'); or ``hvp(v)`` with ``size``, of
        NumPy, torch or JAX arrays.
    loss : callable, optional
        ``loss(output, target)``, the mean over a batch. Without it the model's output must have a ``loss``.
    loader : iterable
        A DataLoader, or a list of batches.
    rel_tol : float, optional
        Stop once half the interval is at most this fraction of the trace. The interval allows for the looks at it.
        Hutchinson's estimator alone.
    max_probes, min_probes : int
        Most probes, and those before the first look.
    estimator : str
        ``"hutchinson"``, ``"hutch++"`` or ``"xtrace"``; the last two hold many vectors and need fewer products.
    distribution : str
        ``"rademacher"``, ``"gaussian"`` or ``"sphere"``.
    seed : int
        Seed of the probes.
    progress : bool or callable, optional
        Show a line on stderr; by default where that is a terminal. A callable gets ``(done, of, value, error)``.
    **options
        See `Options`.

    Returns
    -------
    Trace

    Examples
    --------
    >>> import numpy as np, flatness
    >>> a = np.diag([1.0, 2.0, 3.0])
    >>> flatness.trace(lambda v: a @ v, size=3).value
    6.0
    """

    def run(it: _core.Operator, observe: Any) -> Trace:
        return read_trace(
            _core.trace(
                it,
                estimator=estimator,
                max_probes=max_probes,
                min_probes=min_probes,
                rel_tol=rel_tol,
                distribution=distribution,
                seed=seed,
                observe=observe,
            )
        )

    return measured("trace", what, loss, loader, dict(options), progress, run)


def read_trace(text: str) -> Trace:
    """The trace of a report."""
    read = json.loads(text)
    whole, ends = estimate(read["trace"]), read["population_ci95"]
    return Trace(
        whole.value,
        whole.std_error,
        whole.ci95,
        whole.probes,
        whole.matvecs,
        data_error=read["data_std_error"],
        population_ci95=None if ends is None else tuple(ends),
        normalized=estimate(read["trace_normalized"]),
        per_parameter={name: estimate(part) for name, part in read["per_layer"].items()},
        estimator=read["estimator"],
        about=about(read),
    )


def layers(
    what: Any,
    loss: Optional[Callable[..., Any]] = None,
    loader: Any = None,
    *,
    rel_tol: Optional[float] = None,
    max_probes: int = 100,
    seed: int = 0,
    progress: Progress = None,
    **options: "Unpack[Options]",
) -> Layers:
    """The trace of each parameter's block, the largest first, by Hutchinson's estimator.

    Parameters
    ----------
    what, loss, loader, rel_tol, max_probes, seed, progress, **options
        As for `trace`; ``rel_tol`` is that of the whole trace.

    Returns
    -------
    Layers
    """
    whole = trace(what, loss, loader, rel_tol=rel_tol, max_probes=max_probes, seed=seed, progress=progress, **options)
    order = sorted(whole.per_parameter, key=lambda name: -whole.per_parameter[name].value)
    return Layers(
        whole.value,
        whole.std_error,
        whole.ci95,
        whole.probes,
        whole.matvecs,
        data_error=whole.data_error,
        layers={name: whole.per_parameter[name] for name in order},
        about=whole.about,
    )


def eig(
    what: Any,
    loss: Optional[Callable[..., Any]] = None,
    loader: Any = None,
    *,
    top: int = 1,
    bottom: int = 0,
    rel_tol: float = 1e-6,
    max_matvecs: int = 200,
    seed: int = 0,
    progress: Progress = None,
    **options: "Unpack[Options]",
) -> Eigenpairs:
    """The largest and smallest eigenvalues with their vectors, by Lanczos' method. Holds one vector a product.

    Parameters
    ----------
    what, loss, loader, seed, progress, **options
        As for `trace`.
    top, bottom : int
        Eigenvalues wanted at either end.
    rel_tol : float
        Stop once every residual is at most this fraction of the largest eigenvalue. In f32 rounding ends it before
        1e-6.
    max_matvecs : int
        Most products.

    Returns
    -------
    Eigenpairs
    """

    def run(it: _core.Operator, observe: Any) -> Eigenpairs:
        text, vectors = _core.eig(
            it, top=top, bottom=bottom, max_matvecs=max_matvecs, rel_tol=rel_tol, seed=seed, observe=observe
        )
        read = json.loads(text)
        ends = [
            np.array([pair[key] for pair in read[end]]) for key in ("value", "residual") for end in ("top", "bottom")
        ]
        return Eigenpairs(
            float(np.concatenate(ends[:2])[0]),
            *ends,
            vectors=np.stack(vectors),
            converged=read["converged"],
            matvecs=read["matvecs"],
            about=about(read),
        )

    return measured("eig", what, loss, loader, dict(options), progress, run)


def density(
    what: Any,
    loss: Optional[Callable[..., Any]] = None,
    loader: Any = None,
    *,
    probes: int = 10,
    steps: int = 80,
    width: float = 0.01,
    points: int = 1024,
    seed: int = 0,
    progress: Progress = None,
    **options: "Unpack[Options]",
) -> Density:
    """The density of all eigenvalues by stochastic Lanczos quadrature, at ``probes * steps`` products.

    Parameters
    ----------
    what, loss, loader, seed, progress, **options
        As for `trace`.
    probes, steps : int
        Random start vectors, and Lanczos steps from each.
    width : float
        Standard deviation of the smoothing Gaussian, as a fraction of the distance between the outermost Ritz values.
    points : int
        Points of the curve.

    Returns
    -------
    Density
    """

    def run(it: _core.Operator, observe: Any) -> Density:
        read = json.loads(
            _core.density(it, probes=probes, steps=steps, width=width, points=points, seed=seed, observe=observe)
        )
        return Density(
            np.array(read["grid"]),
            np.array(read["density"]),
            np.array(read["band"]) if read["band"] else None,
            np.array(read["cumulative"]),
            read["sigma"],
            tuple(read["range"]),
            moments=[estimate(moment) for moment in read["moments"]],
            effective_rank=estimate(read["rank"]["entropy"]),
            probes=len(read["quadratures"]),
            matvecs=read["matvecs"],
            about=about(read),
        )

    return measured("density", what, loss, loader, dict(options), progress, run)


def diagonal(
    what: Any,
    loss: Optional[Callable[..., Any]] = None,
    loader: Any = None,
    *,
    max_probes: int = 100,
    distribution: str = "rademacher",
    seed: int = 0,
    progress: Progress = None,
    **options: "Unpack[Options]",
) -> Diagonal:
    """The diagonal, entry by entry, with the root mean square of each parameter's entries freed of the probes' noise.

    Parameters
    ----------
    what, loss, loader, max_probes, distribution, seed, progress, **options
        As for `trace`.

    Returns
    -------
    Diagonal
    """

    def run(it: _core.Operator, observe: Any) -> Diagonal:
        text, entries, error = _core.diagonal(
            it, max_probes=max_probes, distribution=distribution, seed=seed, observe=observe
        )
        read = json.loads(text)
        whole = estimate(read["trace"])
        return Diagonal(
            entries,
            error,
            whole.value,
            whole.std_error,
            whole.ci95,
            whole.probes,
            whole.matvecs,
            root_mean_square={name: estimate(part["rms"]) for name, part in read["per_layer"].items()},
            about=about(read),
        )

    return measured("diagonal", what, loss, loader, dict(options), progress, run)
