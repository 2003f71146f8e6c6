"""What can go wrong in training beyond what a network itself reports."""

from __future__ import annotations

from ansatz.core.errors import AnsatzError, AnsatzWarning

__all__ = ["NonFiniteLossWarning", "SharedTrainingWarning", "TrainingError"]


class TrainingError(AnsatzError, ValueError):
    """There is nothing to train, no data to train on, or a loss that cannot be minimised."""


class SharedTrainingWarning(AnsatzWarning):
    """Two living trainers update the same parameters, each with its own optimizer state."""


class NonFiniteLossWarning(AnsatzWarning):
    """The loss became NaN or infinite."""
