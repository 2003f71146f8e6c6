"""Ansatz: a neural-network library for JAX whose subject is the life of a parameter.

Example:
    >>> import jax.numpy as jnp
    >>> import ansatz as az
    >>> from ansatz import nn
    >>> net = nn.Sequential(nn.Dense(256, activation="relu"), nn.Dense(10))
    >>> net(jnp.ones((2, 20))).shape
    (2, 10)
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from ansatz import checkpoint, init, inspect, nn, train
from ansatz.core.cell import Cell
from ansatz.core.collection import ParameterDict
from ansatz.core.compile import jit
from ansatz.core.declared import Origin
from ansatz.core.errors import (
    AlreadyInitializedWarning,
    AnsatzError,
    AnsatzWarning,
    CheckpointError,
    DeferredInitializationError,
    DTypeError,
    InitializationError,
    PathError,
    RecompilationWarning,
    RuleConflictWarning,
    ShapeError,
    StaleParameterWarning,
    StructureError,
    TieError,
    TraceError,
    UnmatchedRuleWarning,
)
from ansatz.core.functional import functional_call
from ansatz.core.gradient import backward, grad, value_and_grad, without_gradient
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter, State
from ansatz.core.parametrize import parametrize, unparametrize
from ansatz.core.parametrized import Parametrized
from ansatz.core.random import seed
from ansatz.core.streams import RandomStream
from ansatz.core.tie import tie, untie
from ansatz.core.top_names import no_such_name as _no_such_name
from ansatz.core.transform import remat, scan, vmap
from ansatz.nn.lora import lora, merge
from ansatz.train import Trainer
from ansatz.train.errors import NonFiniteLossWarning, SharedTrainingWarning, TrainingError

__version__ = _version("ansatz-nn")

if not TYPE_CHECKING:  # To a type checker, every name would be there.

    def __getattr__(name: str) -> None:
        """Say what a name of another library is called here."""
        inside = {"az.nn": nn.__all__, "az.init": init.__all__, "az.train": train.__all__}
        raise _no_such_name(name, __all__, inside)


__all__ = [
    "AlreadyInitializedWarning",
    "AnsatzError",
    "AnsatzWarning",
    "Cell",
    "CheckpointError",
    "DTypeError",
    "DeferredInitializationError",
    "InitializationError",
    "Module",
    "NonFiniteLossWarning",
    "Origin",
    "Parameter",
    "ParameterDict",
    "Parametrized",
    "PathError",
    "RandomStream",
    "RecompilationWarning",
    "RuleConflictWarning",
    "ShapeError",
    "SharedTrainingWarning",
    "StaleParameterWarning",
    "State",
    "StructureError",
    "TieError",
    "TraceError",
    "Trainer",
    "TrainingError",
    "UnmatchedRuleWarning",
    "__version__",
    "backward",
    "checkpoint",
    "functional_call",
    "grad",
    "init",
    "inspect",
    "jit",
    "lora",
    "merge",
    "nn",
    "parametrize",
    "remat",
    "scan",
    "seed",
    "tie",
    "train",
    "unparametrize",
    "untie",
    "value_and_grad",
    "vmap",
    "without_gradient",
]
