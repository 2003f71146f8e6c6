"""Dense layers: `y = activation(x Wᵀ + b)`.

`Dense` is declared by what it gives and may find out what it takes; `Linear` is the same layer in
PyTorch's spelling and with PyTorch's initial values.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.nn.activation_functions import (
    Activation,
    activated,
    by_name,
    checked_activation,
    spelled,
)
from ansatz.nn.bias import FanInUniformOfWeight
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size, checked_width, size_along

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Dense(Module):
    """A fully connected layer, `y = activation(x Wᵀ + b)`, whose input width may be left open.

    Without any choice the weight is drawn from U(±1/√in_units) and the bias is zero.

    Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating
    errors", equations 1 and 2.

    Args:
        units: the width of the output.
        in_units: the width of the input; without one, the first input tells it.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.
        use_bias: whether there is a bias.
        flatten: whether all axes of the input but the first are merged into one, as Gluon does.
        weight_init: the weight's initialiser; without one, `initialize` may choose.
        bias_init: the bias's initialiser, which the default given to `initialize` leaves alone;
            `None` opens it to that choice.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters. The output has the dtype to which JAX promotes it and
            the input.

    Attributes:
        weight: shape `(units, in_units)`.
        bias: shape `(units,)`, or `None`.

    Raises:
        ValueError: no activation has that name.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if the last axis of the input is not `in_units` long.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> hidden = nn.Dense(256, activation="relu")
        >>> hidden(jnp.ones((2, 20))).shape
        (2, 256)
        >>> hidden
        Dense(20 -> 256, relu)
        >>> twin = nn.Dense(256, params=hidden.collect_params())
        >>> twin.weight is hidden.weight
        True
    """

    def __init__(
        self,
        units: int,
        in_units: int | None = None,
        *,
        activation: Activation | None = None,
        use_bias: bool = True,
        flatten: bool = False,
        weight_init: Any = None,
        bias_init: Any = "zeros",
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        units = checked_size("units", units)
        in_units = checked_width("in_units", in_units)
        self.activation = checked_activation(activation)
        self.flatten = flatten
        self.weight = Parameter((units, in_units), weight_init, dtype=dtype)
        self.bias = Parameter((units,), bias_init, dtype=dtype) if use_bias else None
        share(self, params, weight_init=weight_init)

    @property
    def units(self) -> int | None:
        """The width of the output."""
        return self.weight.shape[0]

    @property
    def in_units(self) -> int | None:
        """The width of the input; `None` while it is not known."""
        return self.weight.shape[1]

    def infer_shape(self, x: Any) -> None:
        """Take the width of the input from `x`, of shape `(..., in_units)`."""
        merged = math.prod(x.shape[1:])
        width = merged if self.flatten else size_along(x, -1)
        if width != merged == self.in_units:
            raise ShapeError(
                f"an input of shape {format_shape(x.shape)} has the width {width}, but {merged} is "
                "wanted, that of all axes but the first together; nn.Flatten() before the layer, "
                "or flatten=True of nn.Dense, merges them"
            )
        self.weight.shape = (self.units, width)

    def forward(self, x: Any) -> Any:
        """`(..., in_units)` to `(..., units)`; with `flatten`, `(batch, ...)` to two axes."""
        weight, bias = self.weight.value, None if self.bias is None else self.bias.value
        return activated(self.activation, lambda name: affine(x, weight, bias, name, self.flatten))

    def extra_repr(self) -> str:
        """`in -> out`, and what differs from the defaults."""
        parts = [f"{self.in_units} -> {self.units}"]
        if self.activation is not None and not isinstance(self.activation, Module):
            parts.append(spelled(self.activation))
        if self.bias is None:
            parts.append("use_bias=False")
        if self.flatten:
            parts.append("flatten=True")
        return ", ".join(parts)


class Linear(Dense):
    """A fully connected layer in PyTorch's spelling, which `Dense` is in ours: `y = x Wᵀ + b`.

    Weight and bias are both drawn from U(±1/√in_features), as `torch.nn.Linear` does (written
    there as `kaiming_uniform_(a=√5)`). The default given to `initialize` replaces the weight's
    initialiser and leaves the bias's alone.

    Args:
        in_features: the width of the input; `None` if the first input shall tell it.
        out_features: the width of the output.
        bias: whether there is a bias.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(out_features, in_features)`.
        bias: shape `(out_features,)`, or `None`.

    Raises:
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if the last axis of the input is not `in_features` long.

    Example:
        >>> from ansatz import nn
        >>> nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        Sequential(
          (0): Linear(in_features=4, out_features=8, bias=True)
          (1): ReLU()
          (2): Linear(in_features=8, out_features=1, bias=True)
        )
    """

    def __init__(
        self,
        in_features: int | None,
        out_features: int,
        bias: bool = True,
        *,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        in_features = checked_width("in_features", in_features)
        super().__init__(
            checked_size("out_features", out_features), in_features, use_bias=False, dtype=dtype
        )
        if bias:
            self.bias = Parameter((out_features,), FanInUniformOfWeight(self), dtype=dtype)
        share(self, params)

    @property
    def in_features(self) -> int | None:
        """The width of the input; `None` while it is not known."""
        return self.in_units

    @property
    def out_features(self) -> int | None:
        """The width of the output."""
        return self.units

    def extra_repr(self) -> str:
        """The arguments, as PyTorch prints them."""
        return (
            f"in_features={self.in_units}, out_features={self.units}, bias={self.bias is not None}"
        )


class Bilinear(Module):
    """Every product of an element of one input with one of another: `y_k = x₁ᵀ W_k x₂ + b_k`.

    Weight and bias are drawn from U(±1/√in1_units), as `torch.nn.Bilinear` does.

    Source: Tenenbaum & Freeman 2000, "Separating style and content with bilinear models",
    equation 1.

    Args:
        units: the width of the output.
        in1_units: the width of the first input; without one, the first call tells it.
        in2_units: the width of the second input, likewise.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.
        use_bias: whether there is a bias.
        weight_init: the weight's initialiser; without one, `initialize` may choose.
        bias_init: the bias's initialiser; without one, as above.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(units, in1_units, in2_units)`; its fan-in is `in1_units · in2_units`.
        bias: shape `(units,)`, or `None`.

    Raises:
        ValueError: no activation has that name.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if the inputs have other widths, or other leading axes than each
            other.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> layer = nn.Bilinear(3)
        >>> layer(jnp.ones((2, 4)), jnp.ones((2, 5))).shape
        (2, 3)
        >>> layer
        Bilinear(4 × 5 -> 3)
    """

    def __init__(
        self,
        units: int,
        in1_units: int | None = None,
        in2_units: int | None = None,
        *,
        activation: Activation | None = None,
        use_bias: bool = True,
        weight_init: Any = None,
        bias_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        self.units = checked_size("units", units)
        self.activation = checked_activation(activation)
        widths = checked_width("in1_units", in1_units), checked_width("in2_units", in2_units)
        default = FanInUniformOfWeight(self, axes=(1,))
        self.weight = Parameter((self.units, *widths), weight_init, dtype=dtype, fallback=default)
        bias_init = default if bias_init is None else bias_init
        self.bias = Parameter((self.units,), bias_init, dtype=dtype) if use_bias else None
        share(self, params, weight_init=weight_init)

    def infer_shape(self, x1: Any, x2: Any) -> None:
        """Take the widths from `x1` and `x2`."""
        self.weight.shape = (self.units, size_along(x1, -1), size_along(x2, -1))

    def forward(self, x1: Any, x2: Any) -> Any:
        """`(..., in1_units)` and `(..., in2_units)` to `(..., units)`."""
        if x1.shape[:-1] != x2.shape[:-1]:
            raise ShapeError(
                "the inputs of Bilinear have to agree in all axes but the last, got "
                f"{format_shape(x1.shape)} and {format_shape(x2.shape)}; nothing is broadcast"
            )
        weight, bias = self.weight.value, None if self.bias is None else self.bias.value
        return activated(self.activation, lambda name: _bilinear(x1, x2, weight, bias, name))

    def extra_repr(self) -> str:
        """`in1 × in2 -> out`, and what differs from the defaults."""
        _, first, second = self.weight.shape
        parts = [f"{first} × {second} -> {self.units}"]
        if self.activation is not None and not isinstance(self.activation, Module):
            parts.append(spelled(self.activation))
        if self.bias is None:
            parts.append("use_bias=False")
        return ", ".join(parts)


@functools.partial(jax.jit, static_argnums=4)
def _bilinear(
    x1: jax.Array,
    x2: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    activation: str | None,
) -> jax.Array:
    y = jnp.einsum("...i,kij,...j->...k", x1, weight, x2)
    if bias is not None:
        y = y + bias
    return y if activation is None else by_name(activation)(y)


@functools.partial(jax.jit, static_argnums=(3, 4))
def affine(
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    activation: str | None,
    flatten: bool,
) -> jax.Array:
    """`activation(x Wᵀ + b)`, of `x` with all axes but the first merged if `flatten`."""
    if flatten:
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    leading = x.shape[:-1]
    if len(leading) > 1 and jax.default_backend() == "cpu":
        # XLA's CPU backend multiplies matrices faster than it contracts over several axes, above
        # all for the gradient of the weight. Elsewhere the axes stay apart, for sharding.
        x = x.reshape(math.prod(leading), x.shape[-1])
    y = x @ weight.T
    if bias is not None:
        y = y + bias
    y = y.reshape(*leading, weight.shape[0])
    return y if activation is None else by_name(activation)(y)
