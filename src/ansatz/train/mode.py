"""Training in evaluation mode, which somebody may have forgotten to end."""

from __future__ import annotations

import itertools
import types
import warnings

from ansatz.core.module import Module
from ansatz.core.node import declared_in
from ansatz.core.parameter import State
from ansatz.train.errors import EvaluationModeWarning


def warn_in_evaluation(net: Module) -> bool:
    """Warn if a whole network is in evaluation mode and would train otherwise in training mode.

    A part in that mode is meant so: it is how statistics are kept while weights are tuned.

    Returns:
        Whether there was a warning.
    """
    if any(module.training for module in net.modules()):
        return False
    silenced = [path for path, module in net.named_modules() if _differs_in_training(module)]
    if not silenced:
        return False
    first = f"'{silenced[0]}'" if silenced[0] else type(net).__name__
    more = f" and {len(silenced) - 1} more" if len(silenced) > 1 else ""
    warnings.warn(
        f"this step trains {type(net).__name__} in evaluation mode: what {first}{more} would do in "
        "training (drop elements, normalise by the batch, update statistics) is not done. Call "
        "net.train() before the step; a part that is meant to stay so has its own mode, "
        "net.encoder.eval()",
        EvaluationModeWarning,
        stacklevel=4,
    )
    return True


def _differs_in_training(module: Module) -> bool:
    """Whether a layer looks at `training`, and has a statistic or random stream to go with it."""
    return _looks_at_mode(type(module)) and any(
        isinstance(cell, State) for cell in declared_in(module)
    )


def _looks_at_mode(kind: type[Module]) -> bool:
    above = itertools.takewhile(lambda cls: cls is not Module, kind.__mro__)
    methods = (value for cls in above for value in vars(cls).values())
    return any(
        isinstance(method, types.FunctionType) and "training" in method.__code__.co_names
        for method in methods
    )
