"""Training: a trainer that steps in one compiled call, and the loop around it."""

from ansatz.train.batches import Batches, batches
from ansatz.train.errors import (
    EvaluationModeWarning,
    NonFiniteLossWarning,
    SharedTrainingWarning,
    TrainingError,
)
from ansatz.train.history import Epoch, History
from ansatz.train.metrics import accuracy
from ansatz.train.trainer import Trainer

__all__ = [
    "Batches",
    "Epoch",
    "EvaluationModeWarning",
    "History",
    "NonFiniteLossWarning",
    "SharedTrainingWarning",
    "Trainer",
    "TrainingError",
    "accuracy",
    "batches",
]
