"""What the measures return: numbers with their errors, and what they were computed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from ._result import About, Estimate, Interval, Result, bars


@dataclass(frozen=True, repr=False)
class Trace(Result):
    """The trace of a curvature matrix.

    Attributes
    ----------
    value, std_error, ci95, probes, matvecs
        As in `Estimate`: the error is that of the probes, for these very batches. More probes shrink it.
    data_error : float or None
        Standard error from the choice of batches. More data shrink it, more probes do not. ``None`` with one batch, for
        operators that do not tell their batches, and where the probes' noise hides it.
    population_ci95 : (float, float) or None
        Interval of the trace over the distribution that the examples come from: both errors joined.
    normalized : Estimate
        The trace over the number of parameters.
    per_parameter : dict of str to Estimate
        The trace of each parameter's block. They sum to the trace.
    estimator : str
        How it was estimated.
    about : About
        What it was computed on.
    """

    value: float
    std_error: Optional[float]
    ci95: Interval
    probes: int
    matvecs: int
    data_error: Optional[float]
    population_ci95: Interval
    normalized: Estimate
    per_parameter: "dict[str, Estimate]"
    estimator: str
    about: About

    def rows(self) -> "list[tuple[str, str]]":
        own = Estimate(self.value, self.std_error, self.ci95, self.probes, self.matvecs)
        data = "not known" if self.data_error is None else f"+- {self.data_error:.2g}"
        return [("trace", str(own)), ("choice of batches", data), ("probes", str(self.probes))]

    def draw(self, ax: Any) -> None:
        bars(ax, self.per_parameter)
        ax.set_xlabel("trace of the parameter's block, with 95 %")


@dataclass(frozen=True, repr=False)
class Layers(Result):
    """The trace of each layer's block, the largest first.

    Attributes
    ----------
    value, std_error, ci95, probes, matvecs, data_error
        Of the whole trace, as in `Trace`.
    layers : dict of str to Estimate
        Each interval covers its own layer with 95 %, not all of them together.
    about : About
        What it was computed on.
    """

    value: float
    std_error: Optional[float]
    ci95: Interval
    probes: int
    matvecs: int
    data_error: Optional[float]
    layers: "dict[str, Estimate]"
    about: About

    def rows(self) -> "list[tuple[str, str]]":
        return [(name, str(part)) for name, part in self.layers.items()]

    def draw(self, ax: Any) -> None:
        bars(ax, self.layers)
        ax.set_xlabel("trace of the layer's block, with 95 %")


@dataclass(frozen=True, repr=False)
class Eigenpairs(Result):
    """The outermost eigenvalues.

    Attributes
    ----------
    value : float
        The largest eigenvalue asked for; the smallest where only those were.
    top, bottom : numpy.ndarray
        The largest eigenvalues in descending order, the smallest in ascending order.
    top_residuals, bottom_residuals : numpy.ndarray
        An eigenvalue lies within this of each.
    vectors : numpy.ndarray
        A row a pair: those of `top`, then those of `bottom`. Flat over the parameters in order of their names.
    converged : bool
        Whether every residual is within ``rel_tol`` of the largest eigenvalue.
    matvecs : int
        Products spent.
    about : About
        What it was computed on.
    """

    value: float
    top: np.ndarray
    bottom: np.ndarray
    top_residuals: np.ndarray
    bottom_residuals: np.ndarray
    vectors: np.ndarray
    converged: bool
    matvecs: int
    about: About

    def rows(self) -> "list[tuple[str, str]]":
        def row(end: str, i: int, value: float, residual: float) -> "tuple[str, str]":
            return f"{end} {i + 1}", f"{value:.8g} (residual {residual:.1e})"

        top = [row("top", i, v, r) for i, (v, r) in enumerate(zip(self.top, self.top_residuals))]
        return top + [row("bottom", i, v, r) for i, (v, r) in enumerate(zip(self.bottom, self.bottom_residuals))]

    def draw(self, ax: Any) -> None:
        values = np.concatenate([self.top, self.bottom[::-1]])
        ax.plot(range(1, len(values) + 1), values, "o")
        ax.set_ylabel("eigenvalue")


@dataclass(frozen=True, repr=False)
class Density(Result):
    """The smoothed density of all eigenvalues.

    Attributes
    ----------
    grid, density : numpy.ndarray
        Where the density is given, and eigenvalues a unit of length, as a fraction of all.
    band : numpy.ndarray or None
        Ends of the 95 % interval of each value by itself; ``None`` with one probe.
    cumulative : numpy.ndarray
        Fraction of the eigenvalues below each point.
    sigma : float
        Standard deviation of the smoothing Gaussian.
    range : (float, float)
        Smallest and largest Ritz value.
    moments : list of Estimate
        ``tr(A^k) / d`` for k = 0, 1, 2, 3.
    effective_rank : Estimate
        ``exp`` of the entropy of the eigenvalues' sizes.
    probes, matvecs : int
        Start vectors, and products spent.
    about : About
        What it was computed on.
    """

    grid: np.ndarray
    density: np.ndarray
    band: Optional[np.ndarray]
    cumulative: np.ndarray
    sigma: float
    range: "tuple[float, float]"
    moments: "list[Estimate]"
    effective_rank: Estimate
    probes: int
    matvecs: int
    about: About

    def rows(self) -> "list[tuple[str, str]]":
        return [
            ("range", f"{self.range[0]:.6g} to {self.range[1]:.6g}"),
            ("mean eigenvalue", str(self.moments[1])),
            ("mean square", str(self.moments[2])),
            ("effective rank", str(self.effective_rank)),
        ]

    def draw(self, ax: Any) -> None:
        ax.semilogy(self.grid, self.density)
        if self.band is not None:
            ax.fill_between(self.grid, self.band[:, 0], self.band[:, 1], alpha=0.3)
        ax.set_ylim(bottom=1e-6 * float(self.density.max()))
        ax.set_xlabel("eigenvalue")
        ax.set_ylabel("density, with 95 %")


@dataclass(frozen=True, repr=False)
class Diagonal(Result):
    """The diagonal, entry by entry. Most single entries of a network are smaller than their error.

    Attributes
    ----------
    diagonal : numpy.ndarray
        The estimated entries, flat over the parameters in order of their names.
    entry_error : numpy.ndarray or None
        Their standard errors; ``None`` with one probe.
    value, std_error, ci95, probes, matvecs
        Of their sum, the trace.
    root_mean_square : dict of str to Estimate
        Of each parameter's entries, without the probes' noise.
    about : About
        What it was computed on.
    """

    diagonal: np.ndarray
    entry_error: Optional[np.ndarray]
    value: float
    std_error: Optional[float]
    ci95: Interval
    probes: int
    matvecs: int
    root_mean_square: "dict[str, Estimate]"
    about: About

    def rows(self) -> "list[tuple[str, str]]":
        own = Estimate(self.value, self.std_error, self.ci95, self.probes, self.matvecs)
        return [("trace", str(own))] + [(f"rms of {name}", str(part)) for name, part in self.root_mean_square.items()]

    def draw(self, ax: Any) -> None:
        bars(ax, self.root_mean_square)
        ax.set_xlabel("root mean square of the parameter's entries")


@dataclass(frozen=True, repr=False)
class Sharpness(Result):
    """How much the loss rises around the parameters.

    Attributes
    ----------
    value : float
        The rise.
    std_error, ci95
        Its error over the random displacements; ``None`` where nothing is drawn, and for a maximum, which is a lower
        bound.
    loss : float
        Loss at the parameters.
    displaced : float
        Loss at the displaced parameters.
    starts : list of float
        What each ascent reached; empty for the other measures.
    measure : str
        What was measured.
    about : About
        What it was computed on.
    """

    value: float
    std_error: Optional[float]
    ci95: Interval
    loss: float
    displaced: float
    starts: "list[float]"
    measure: str
    about: About

    def rows(self) -> "list[tuple[str, str]]":
        ends = "" if self.ci95 is None else f" +- {self.std_error:.2g} (95 %: {self.ci95[0]:.6g} to {self.ci95[1]:.6g})"
        rows = [(self.measure, f"{self.value:.6g}{ends}"), ("loss", f"{self.loss:.6g}")]
        reached = ", ".join(f"{x:.6g}" for x in self.starts)
        return rows + ([("ascents", reached)] if self.starts else [])

    def draw(self, ax: Any) -> None:
        ax.bar(["loss", "displaced"], [self.loss, self.displaced])
        ax.set_ylabel("loss")


@dataclass(frozen=True, repr=False)
class Landscape(Result):
    """The loss along one or two random directions, filter-normalised.

    Attributes
    ----------
    coordinates : numpy.ndarray
        Places along each direction, in the norms of the filters.
    losses : numpy.ndarray
        The losses there: of shape ``(points,)``, or ``(points, points)`` with the first direction in the columns.
    about : About
        What it was computed on.
    """

    coordinates: np.ndarray
    losses: np.ndarray
    about: About

    def rows(self) -> "list[tuple[str, str]]":
        return [("least loss", f"{self.losses.min():.6g}"), ("largest loss", f"{self.losses.max():.6g}")]

    def draw(self, ax: Any) -> None:
        if self.losses.ndim == 1:
            ax.plot(self.coordinates, self.losses)
            ax.set_ylabel("loss")
        else:
            ax.contour(self.coordinates, self.coordinates, self.losses, levels=20)
