"""Curvature with error bars for any PyTorch, JAX or NumPy model.

>>> import flatness
>>> print(flatness.trace(lambda v: 2.0 * v, size=5).value)
10.0
"""

from ._around import landscape, sharpness
from ._errors import NotDeterministicError, SecondDerivativeError, TrainingModeError
from ._measures import Options, density, diagonal, eig, layers, trace
from ._result import About, Estimate, Result
from ._results import Density, Diagonal, Eigenpairs, Landscape, Layers, Sharpness, Trace

__all__ = [
    "About",
    "Density",
    "Diagonal",
    "Eigenpairs",
    "Estimate",
    "Landscape",
    "Layers",
    "NotDeterministicError",
    "Options",
    "Result",
    "SecondDerivativeError",
    "Sharpness",
    "Trace",
    "TrainingModeError",
    "density",
    "diagonal",
    "eig",
    "landscape",
    "layers",
    "sharpness",
    "trace",
]
