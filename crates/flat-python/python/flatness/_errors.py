"""Errors that have a name of their own."""

from __future__ import annotations


class SecondDerivativeError(RuntimeError):
    """An operation of the model has no second derivative. The message names what torch says of it."""


class NotDeterministicError(RuntimeError):
    """Two evaluations of the same batch differ, so that there is no curvature to measure."""


class TrainingModeError(RuntimeError):
    """A layer behaves as in training: the loss is random, or changes the layer's state."""
