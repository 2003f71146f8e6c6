"""How many numbers a network holds; a tied parameter counts once."""

from __future__ import annotations

from ansatz.core.errors import DeferredInitializationError
from ansatz.core.module import Module
from ansatz.core.paths import Selector


def count(module: Module, select: Selector | None = None, *, trainable: bool | None = None) -> int:
    """The number of elements of all parameters; a tied parameter counts once.

    Args:
        module: the network.
        select: count only the parameters that this picks.
        trainable: true to count only those that are trained, false for the frozen ones.

    Raises:
        DeferredInitializationError: shapes are unknown; the message names every such parameter.

    Example:
        >>> from ansatz import nn
        >>> from ansatz.inspect import count
        >>> count(nn.Sequential(nn.Linear(20, 256), nn.Linear(256, 10)))
        7946
    """
    parameters = {
        path: parameter
        for path, parameter in module.collect_params(select).items()
        if trainable is None or parameter.trainable is trainable
    }
    waiting = [path for path, parameter in parameters.items() if parameter.is_deferred]
    if waiting:
        raise DeferredInitializationError(
            f"parameters cannot be counted: the shapes of {', '.join(map(repr, waiting))} are not "
            "known yet, because no call has reached them. Pass one batch through the network, or "
            "call net.settle_shapes(jax.ShapeDtypeStruct(shape, dtype)); net.summary() counts the "
            "others."
        )
    return sum(parameter.size for parameter in parameters.values())
