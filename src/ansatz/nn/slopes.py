"""Rectifiers whose slope below zero is learned or drawn at random."""

from __future__ import annotations

import functools
import numbers
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.core.streams import RandomStream, advance
from ansatz.init import Constant
from ansatz.nn.activation_functions import leaky_relu
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import channels_along, checked_width

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class PReLU(Module):
    """`x` where positive, else `weight · x`, with slopes that are learned.

    The slopes start at 0.25 whatever default is given to `initialize`.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 1.

    Args:
        num_parameters: 1 for one slope in all; or one slope for each channel: how many, or `None`
            if the first input shall tell.
        init: the first slope (a number), or an initialiser.
        axis: where the channels are.
        params: `other.collect_params()` of a layer whose parameter this one shall hold.
        dtype: the dtype of the slopes.

    Attributes:
        weight: shape `(num_parameters,)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.PReLU()(jnp.array([-1.0, 2.0])))
        [-0.25  2.  ]
    """

    def __init__(
        self,
        num_parameters: int | None = 1,
        init: Any = 0.25,
        *,
        axis: int = -1,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        slopes = checked_width("num_parameters", num_parameters)
        chosen = Constant(float(init)) if isinstance(init, numbers.Real) else init
        self.axis = axis
        self.per_channel = slopes != 1
        self.weight = Parameter((slopes,), chosen, dtype=dtype)
        share(self, params)

    def infer_shape(self, x: Any) -> None:
        """Take the number of channels from `x`."""
        if self.per_channel:
            expected = self.weight.shape[0]
            self.weight.shape = (channels_along(x, self.axis, expected),)

    def forward(self, x: Any) -> Any:
        """The same shape as `x`."""
        return _prelu(x, self.weight.value, self.axis if self.per_channel else -1)

    def extra_repr(self) -> str:
        """How many slopes there are."""
        return f"num_parameters={self.weight.shape[0]}"


class RReLU(Module):
    """`x` where positive, else `slope · x`, with a random slope for each element in training.

    Slopes are drawn from U(lower, upper); in evaluation (`net.eval()`) each is the middle,
    `(lower + upper) / 2`.

    Source: Xu et al. 2015, "Empirical evaluation of rectified activations in convolutional
    network", section 3.4.

    Args:
        lower: the least slope.
        upper: the largest slope.

    Attributes:
        stream: the state that gives each call new slopes.

    Raises:
        ValueError: `lower` is above `upper`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.RReLU(0.25, 0.75).eval()(jnp.array([-1.0, 2.0])))
        [-0.5  2. ]
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3) -> None:
        super().__init__()
        if not lower <= upper:
            raise ValueError(f"lower of RReLU cannot be above upper, got {lower} and {upper}")
        self.lower, self.upper = float(lower), float(upper)
        self.stream = RandomStream()

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        if not self.training:
            return leaky_relu(x, negative_slope=(self.lower + self.upper) / 2)
        y, state = _rrelu(x, self.stream.value, self.stream.positions(), self.lower, self.upper)
        self.stream.value = state
        return y

    def extra_repr(self) -> str:
        """The bounds."""
        return f"lower={self.lower}, upper={self.upper}"


@functools.partial(jax.jit, static_argnums=2)
def _prelu(x: jax.Array, slopes: jax.Array, axis: int) -> jax.Array:
    if slopes.size != 1:
        shape = [1] * x.ndim
        shape[axis] = slopes.size
        slopes = slopes.reshape(shape)
    else:
        slopes = slopes.reshape(())
    return jnp.where(x > 0, x, slopes * x)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _rrelu(
    x: jax.Array, state: jax.Array, positions: tuple[jax.Array, ...], lower: float, upper: float
) -> tuple[jax.Array, jax.Array]:
    key, state = advance(state, positions)
    slopes = jax.random.uniform(key, x.shape, x.dtype, lower, upper)
    return jnp.where(x > 0, x, slopes * x), state
