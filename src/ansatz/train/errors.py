"""What can go wrong in training beyond what a network itself reports."""

from __future__ import annotations

from ansatz.core.errors import AnsatzError, AnsatzWarning

__all__ = [
    "EvaluationModeWarning",
    "NonFiniteLossWarning",
    "SharedTrainingWarning",
    "TrainingError",
]


class TrainingError(AnsatzError, ValueError):
    """There is nothing to train, no data to train on, or a loss that cannot be minimised."""


class EvaluationModeWarning(AnsatzWarning):
    """A step trained a network that is in evaluation mode as a whole."""


class SharedTrainingWarning(AnsatzWarning):
    """Two living trainers update the same parameters, each with its own optimizer state."""


class NonFiniteLossWarning(AnsatzWarning):
    """The loss became NaN or infinite."""
