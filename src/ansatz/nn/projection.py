"""Projections: the dense layers inside of larger layers.

Their output may be as wide as an input of the layer around, so both widths may be left open. The
layer around settles them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.nn.bias import FanInUniformOfWeight
from ansatz.nn.linear import Dense

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Projection(Dense):
    """A dense layer whose output width may be left open too.

    Args:
        units: the width of the output; `None` until `settle` tells it.
        in_units: the width of the input; `None` until `settle` or the first input tells it.
        activation: the name of an activation, applied last.
        use_bias: whether there is a bias.
        weight_init: the weight's initialiser; without one, `initialize` may choose.
        bias_init: the bias's initialiser; `None` draws it as PyTorch's linear layers do, from
            U(±1/√in_units).
        fallback: what initialises the weight if nobody chose; by default U(±1/√in_units).
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(units, in_units)`.
        bias: shape `(units,)`, or `None`.
    """

    def __init__(
        self,
        units: int | None,
        in_units: int | None = None,
        *,
        activation: str | None = None,
        use_bias: bool = True,
        weight_init: Any = None,
        bias_init: Any = "zeros",
        fallback: Any = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        Module.__init__(self)
        self.activation = activation
        self.flatten = False
        self.weight = Parameter((units, in_units), weight_init, dtype=dtype, fallback=fallback)
        if not use_bias:
            self.bias = None
        elif bias_init is None:
            self.bias = Parameter((units,), FanInUniformOfWeight(self), dtype=dtype)
        else:
            self.bias = Parameter((units,), bias_init, dtype=dtype)

    def settle(self, units: int, in_units: int) -> None:
        """Fill in the widths that are not known, and check those that are."""
        self.weight.shape = (units, in_units)
        if self.bias is not None:
            self.bias.shape = (units,)
