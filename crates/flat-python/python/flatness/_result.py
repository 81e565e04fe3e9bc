"""A number with its error, what a result was computed on, and what all results can do."""

from __future__ import annotations

import dataclasses
import html
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

Interval = Optional["tuple[float, float]"]


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes
    ----------
    value : float
        The estimate.
    std_error : float or None
        Its standard error from the probes; ``None`` with fewer than two.
    ci95 : (float, float) or None
        Ends of the 95 % confidence interval.
    probes : int
        Independent probes averaged.
    matvecs : int
        Products spent.
    """

    value: float
    std_error: Optional[float]
    ci95: Interval
    probes: int
    matvecs: int

    def __str__(self) -> str:
        error = "" if self.std_error is None else f" +- {self.std_error:.2g}"
        ends = (
            "too few probes for an interval" if self.ci95 is None else f"95 %: {self.ci95[0]:.6g} to {self.ci95[1]:.6g}"
        )
        return f"{self.value:.6g}{error} ({ends})"


def estimate(read: "dict[str, Any]") -> Estimate:
    """The estimate of a report."""
    ends = read["ci95"]
    return Estimate(
        read["value"], read["std_error"], None if ends is None else tuple(ends), read["probes"], read["matvecs"]
    )


@dataclass(frozen=True)
class About:
    """What a result was computed on, and what it cost.

    Attributes
    ----------
    operator : str or None
        The matrix, and how its products are found; ``None`` for measures of the loss itself.
    dim : int
        The number of parameters.
    examples, batches : int or None
        Examples that the loss is the mean over, and the batches they came in.
    dtype : str
        Element type of the vectors.
    bn_mode : str or None
        How BatchNorm was evaluated.
    matvecs, gradients, losses : int
        Products, gradients and losses over all examples.
    seed : int or None
        Seed of the random vectors.
    seconds : float
        Time taken.
    stopped_by : str
        Why it ended: ``rel_tol``, ``budget``, ``complete``, ``dimension`` or ``rounding``.
    """

    operator: Optional[str]
    dim: int
    examples: Optional[int]
    batches: Optional[int]
    dtype: str
    bn_mode: Optional[str]
    matvecs: int
    gradients: int
    losses: int
    seed: Optional[int]
    seconds: float
    stopped_by: str


def about(read: "dict[str, Any]") -> About:
    """What a report says of itself."""
    names = [f.name for f in dataclasses.fields(About) if f.name != "seconds"]
    return About(**{name: read[name] for name in names}, seconds=read["wall_s"])


class Result:
    """What all results can do."""

    about: About

    def to_dict(self) -> "dict[str, Any]":
        """All fields as plain Python values, which JSON takes."""
        return plain(dataclasses.asdict(self))

    def rows(self) -> "list[tuple[str, str]]":
        """Names and values for people."""
        raise NotImplementedError

    def __str__(self) -> str:
        a = self.about
        passes = a.matvecs + a.gradients + a.losses
        last = f"{a.dim:,} parameters, {passes} passes, {a.seconds:.1f} s, ended by {a.stopped_by}"
        lines = [f"{name}: {text}" for name, text in self.rows()]
        return "\n".join([f"{type(self).__name__} of {a.operator or 'the loss'}", *lines, last])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in self.rows())
        head = html.escape(f"{type(self).__name__} of {self.about.operator or 'the loss'}")
        return f"<table><caption>{head}</caption>{cells}</table>"

    def plot(self, ax: Any = None) -> Any:
        """Draws the result with matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure without it.

        Returns
        -------
        matplotlib.axes.Axes
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as e:
            raise ImportError("plots need matplotlib: install flatness[plot]") from e
        ax = ax if ax is not None else plt.subplots()[1]
        self.draw(ax)
        return ax

    def draw(self, ax: Any) -> None:
        """Draws on axes."""
        raise NotImplementedError


def plain(x: Any) -> Any:
    """Arrays as lists, tuples as lists."""
    if isinstance(x, np.ndarray):
        return x.tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, (list, tuple)) else x


def bars(ax: Any, parts: "dict[str, Estimate]") -> None:
    """Estimates by name with their intervals."""
    names = list(parts)
    values = [parts[n].value for n in names]
    ends = [parts[n].ci95 or (parts[n].value,) * 2 for n in names]
    reach = [[v - lo for v, (lo, _) in zip(values, ends)], [hi - v for v, (_, hi) in zip(values, ends)]]
    ax.barh(names, values, xerr=reach)
    ax.invert_yaxis()
