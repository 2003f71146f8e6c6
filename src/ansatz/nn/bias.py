"""Initial values that depend on the shape of another parameter of the same layer.

PyTorch draws the bias of a linear layer from U(±1/√fan_in), where the fan-in is that of the
weight. So such a bias waits for the weight, although its own shape is known from the start.
"""

from __future__ import annotations

import math

from ansatz.core.initializer import BoundedUniform, Initializer, Spec
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.core.parametrized import Parametrized


class FanInUniformOfWeight(Initializer):
    """U(±1/√fan_in), with the fan-in of what stands as `weight` in the layer when values are drawn.

    Args:
        layer: the layer that has the weight.
        axes: the axes of the weight whose lengths multiply to the fan-in; without them, the fan-in
            that the weight declares.

    Example:
        >>> from ansatz import nn
        >>> layer = nn.Linear(None, 8)
        >>> layer.bias.shape, layer.bias.is_deferred
        ((8,), True)
        >>> layer.weight.shape = (8, 4)
        >>> bool(abs(layer.bias.value).max() <= 0.5)
        True
    """

    def __init__(self, layer: Module, axes: tuple[int, ...] | None = None) -> None:
        self.layer = layer
        self.axes = axes

    @property
    def depends_on(self) -> Parameter:
        """The weight."""
        weight: Parameter | Parametrized = self.layer.weight
        return weight.main if isinstance(weight, Parametrized) else weight

    def bind(self, spec: Spec) -> Initializer:
        """The uniform distribution, now that the fan-in has to be known.

        Raises:
            DeferredInitializationError: the shape of the weight is not known yet.
        """
        weight = self.depends_on
        shape = weight._known_shape(f"the bound of {spec.name} is not known either")
        if self.axes is None:
            fan_in, _ = Spec(shape, weight.dtype, weight.path, weight.fan_axes).fans
        else:
            fan_in = math.prod(shape[axis] for axis in self.axes)
        return BoundedUniform(1 / math.sqrt(fan_in) if fan_in else 0.0)

    def __repr__(self) -> str:
        return "FanInUniform() of the weight"
