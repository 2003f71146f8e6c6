"""Biases whose initial values depend on a weight whose shape is not known yet.

PyTorch draws the bias of a linear layer from U(±1/√fan_in), where the fan-in is that of the
weight. So such a bias waits for the weight, although its own shape is known from the start.
"""

from __future__ import annotations

import math

from ansatz.core.initializer import BoundedUniform, Initializer, Spec
from ansatz.core.parameter import Parameter


class FanInUniformOf(Initializer):
    """U(±1/√fan_in), with the fan-in of another parameter.

    Attributes:
        weight: the parameter that tells the fan-in.
    """

    def __init__(self, weight: Parameter) -> None:
        self.weight = weight

    def bind(self, spec: Spec) -> Initializer:
        """The uniform distribution, now that the fan-in has to be known.

        Raises:
            DeferredInitializationError: the shape of the weight is not known yet.
        """
        weight = self.weight
        shape = weight._known_shape("the bound of its bias is not known either")
        fan_in, _ = Spec(shape, weight.dtype, weight.path, weight.fan_axes).fans
        return BoundedUniform(1 / math.sqrt(fan_in) if fan_in else 0.0)

    def __repr__(self) -> str:
        return "FanInUniform() of the weight"


class FanInBias(Parameter):
    """A bias that is drawn from U(±1/√fan_in) of a weight, as soon as that is known.

    Args:
        weight: the parameter that tells the fan-in, and the dtype.
        size: the number of elements; `None` while it is not known.

    Example:
        >>> from ansatz import nn
        >>> layer = nn.Linear(None, 8)
        >>> layer.bias.shape, layer.bias.is_deferred
        ((8,), True)
        >>> layer.weight.shape = (8, 4)
        >>> bool(abs(layer.bias.value).max() <= 0.5)
        True
    """

    __slots__ = ()

    def __init__(self, weight: Parameter, size: int | None) -> None:
        super().__init__((size,), FanInUniformOf(weight), dtype=weight.dtype)

    @property
    def is_deferred(self) -> bool:
        """True while a value is still to be drawn and the weight's shape is not known."""
        init = self.init
        waits = isinstance(init, FanInUniformOf) and not self.has_value and init.weight.is_deferred
        return waits or super().is_deferred

    def follow(self, weight: Parameter) -> None:
        """Take the fan-in from another weight from now on."""
        if isinstance(self.init, FanInUniformOf):
            self.init.weight = weight

    def describe(self) -> str:
        """The bias in words; to a reader it is a parameter like any other."""
        return f"parameter '{self.path}'" if self.path else "parameter (not part of a module)"
