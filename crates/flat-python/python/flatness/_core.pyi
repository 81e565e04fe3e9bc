from typing import Any, Callable, Optional, Union

import numpy as np
from typing_extensions import Buffer

Observe = Optional[Callable[[int, int, Optional[float], Optional[float]], None]]
Parameters = list[tuple[str, list[int]]]

class Operator:
    def __new__(
        cls,
        product: Union[
            Callable[[np.ndarray], tuple[np.ndarray, list[float]]], Callable[[Buffer, Buffer], list[float]]
        ],
        parameters: Parameters,
        *,
        dtype: str,
        name: str,
        weights: list[float] = ...,
        examples: Optional[int] = ...,
        bn_mode: Optional[str] = ...,
        in_place: bool = ...,
    ) -> Operator: ...
    @property
    def size(self) -> int: ...

class Loss:
    def __new__(
        cls,
        loss: Callable[[np.ndarray, int], float],
        gradient: Callable[[np.ndarray, int], tuple[float, np.ndarray]],
        theta: np.ndarray,
        parameters: Parameters,
        *,
        dtype: str,
        sizes: list[int],
        bn_frozen: bool = ...,
    ) -> Loss: ...

def trace(
    operator: Operator,
    *,
    estimator: str,
    max_probes: int,
    min_probes: int,
    rel_tol: Optional[float],
    distribution: str,
    seed: int,
    observe: Observe,
) -> str: ...
def eig(
    operator: Operator, *, top: int, bottom: int, max_matvecs: int, rel_tol: float, seed: int, observe: Observe
) -> tuple[str, list[np.ndarray]]: ...
def density(
    operator: Operator, *, probes: int, steps: int, width: float, points: int, seed: int, observe: Observe
) -> str: ...
def diagonal(
    operator: Operator, *, max_probes: int, distribution: str, seed: int, observe: Observe
) -> tuple[str, np.ndarray, Optional[np.ndarray]]: ...
def sharpness(
    loss: Loss,
    *,
    measure: str,
    rho: float,
    geometry: str,
    eta: float,
    steps: int,
    starts: int,
    pairs: int,
    noise: str,
    seed: int,
    observe: Observe,
) -> str: ...
def landscape(
    loss: Loss, *, axes: int, span: list[float], points: int, seed: int, observe: Observe
) -> tuple[list[float], list[float]]: ...
