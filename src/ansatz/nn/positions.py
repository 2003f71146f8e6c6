"""Positions: how a network that treats all positions alike is told which one is which.

Sinusoidal and learned positions are added to the input of a network; rotary positions turn the
queries and keys inside of each attention layer. While decoding (`nn.decoding`) all of them count
on from call to call.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.init import Normal
from ansatz.nn.decoding import Positioned
from ansatz.nn.precision import at_least_float32, floating_dtype_of
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size, checked_width, size_along

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class SinusoidalPositions(Positioned):
    """Adds a wave of another length to each pair of features.

    `y[p, 2i] = x[p, 2i] + sin(p / base^(2i / width))`, and `cos` in the features `2i + 1`. There
    are no parameters, and no bound on the length.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.5.

    Args:
        base: the longest wave has the length `2π · base`.

    Raises:
        ShapeError: when called, if the width is odd.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.SinusoidalPositions()(jnp.zeros((1, 2, 4))).round(3))
        [[[0.    1.    0.    1.   ]
          [0.841 0.54  0.01  1.   ]]]
    """

    def __init__(self, base: float = 10_000.0) -> None:
        super().__init__()
        self.base = float(base)

    def forward(self, x: Any) -> Any:
        """`(batch, length, width)`, or `(length, width)`, to the same shape and dtype."""
        width, length = size_along(x, -1), size_along(x, -2)
        if width % 2:
            raise ShapeError(
                f"sinusoidal positions come in pairs of features, but the input is {width} wide"
            )
        start = self.take(length)
        return self.marked(_add_waves(x, start, self.base), start, -2)

    def extra_repr(self) -> str:
        """The base, if it is not the usual one."""
        return "" if self.base == 10_000.0 else f"base={self.base}"


class LearnedPositions(Positioned):
    """Adds a learned vector for each position.

    Without any choice the table is drawn from N(0, 0.02²), as those of BERT and GPT-2 are.

    Source: Gehring et al. 2017, "Convolutional sequence to sequence learning", section 3.1.

    Args:
        max_length: how many positions there are.
        units: the width; without one, the first input tells it.
        weight_init: the table's initialiser; without one, `initialize` may choose.
        params: `other.collect_params()` of a layer whose parameter this one shall hold.
        dtype: the dtype of the table.

    Attributes:
        weight: shape `(max_length, units)`.

    Raises:
        ShapeError: when called, if the input is longer than `max_length`.
        TieError: `params` does not match in names, shapes or dtypes.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> positions = nn.LearnedPositions(16)
        >>> positions(jnp.zeros((2, 5, 8))).shape
        (2, 5, 8)
        >>> positions.weight.shape
        (16, 8)
    """

    def __init__(
        self,
        max_length: int,
        units: int | None = None,
        *,
        weight_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        shape = checked_size("max_length", max_length), checked_width("units", units)
        self.weight = Parameter(
            shape, weight_init, dtype=dtype, fallback=Normal(0.02), fan_axes=(0, 1)
        )
        share(self, params, weight_init=weight_init)

    @property
    def max_length(self) -> int | None:
        """How many positions there are."""
        return self.weight.shape[0]

    def infer_shape(self, x: Any) -> None:
        """Take the width from `x`."""
        self.weight.shape = (self.weight.shape[0], size_along(x, -1))

    def open_cache(self, batch: int, length: int, dtype: DTypeLike | None) -> None:
        """Begin to count positions, up to `length` of them.

        Raises:
            ShapeError: there are not so many vectors.
        """
        if length > self.weight.shape[0]:  # type: ignore[operator]
            raise ShapeError(
                f"there are {self.weight.shape[0]} learned positions, too few to decode {length}"
            )
        super().open_cache(batch, length, dtype)

    def forward(self, x: Any) -> Any:
        """`(batch, length, units)`, or `(length, units)`, to the same shape."""
        length, room = size_along(x, -2), self.weight.shape[0]
        if length > room:  # type: ignore[operator]
            raise ShapeError(
                f"the input has {length} positions (shape {format_shape(x.shape)}), but only "
                f"{room} were declared; cut it, or build the layer with max_length={length}"
            )
        start = self.take(length)
        return self.marked(_add_rows(x, self.weight.value, start), start, -2)

    def extra_repr(self) -> str:
        """The shape of the table."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


class RotaryPositions(Module):
    """Turns pairs of features of queries and keys by angles that grow with the position.

    So the product of a query and a key depends on their distance alone. Pair `i` of `d` features
    turns by `p / base^(2i / d)` at position `p`. Two conventions say which features are a pair:
    `i` and `i + d/2` (half-split: Llama, GPT-NeoX, Hugging Face), or `2i` and `2i + 1`
    (`interleaved`: the paper, GPT-J). Weights trained with one do not fit the other.

    Give it to attention layers: `nn.MultiHeadAttention(64, 4, rotary=nn.RotaryPositions())`.

    Source: Su et al. 2021, "RoFormer: Enhanced transformer with rotary position embedding",
    equation 34.

    Args:
        base: how slowly the last pair turns.
        interleaved: whether neighbours are a pair.
        features: how many of a head's features are turned, the first ones; without one, all.

    Raises:
        ValueError: `features` is odd.
        ShapeError: when called, if a head has fewer features, or an odd number of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> rotary = nn.RotaryPositions(interleaved=True)
        >>> x = jnp.tile(jnp.array([1.0, 0.0]), (1, 2, 1, 1))
        >>> print(rotary(x)[0, :, 0].round(3))
        [[1.    0.   ]
         [0.54  0.841]]
    """

    def __init__(
        self,
        base: float = 10_000.0,
        *,
        interleaved: bool = False,
        features: int | None = None,
    ) -> None:
        super().__init__()
        self.base = float(base)
        self.interleaved = interleaved
        self.features = checked_width("features", features)
        if self.features is not None and self.features % 2:
            raise ValueError(f"rotary positions turn pairs, so features is even; got {features}")

    def forward(self, x: Any, start: Any = 0) -> Any:
        """`(batch, length, heads, units)` to the same shape and dtype.

        Args:
            x: queries or keys.
            start: the position of the first one.
        """
        if x.ndim != 4:
            raise ShapeError(
                f"rotary positions take (batch, length, heads, units), got "
                f"{format_shape(x.shape)}; give them to an attention layer: rotary=…"
            )
        units = x.shape[-1]
        turned = units if self.features is None else self.features
        if turned > units or turned % 2:
            raise ShapeError(
                f"rotary positions turn pairs of {turned} features, but a head has {units}"
            )
        return _rotate(x, start, self.base, self.interleaved, turned)

    def extra_repr(self) -> str:
        """What differs from the defaults."""
        parts = [] if self.base == 10_000.0 else [f"base={self.base}"]
        parts += ["interleaved=True"] if self.interleaved else []
        parts += [] if self.features is None else [f"features={self.features}"]
        return ", ".join(parts)


def _angles(start: Any, length: int, width: int, base: float) -> jax.Array:
    """`p / base^(2i / width)`, of shape `(length, width / 2)`, in float32."""
    speeds = base ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / max(width, 1))
    positions = jnp.asarray(start + jnp.arange(length), jnp.float32)
    return positions[:, None] * speeds


@functools.partial(jax.jit, static_argnums=2)
def _add_waves(x: jax.Array, start: Any, base: float) -> jax.Array:
    length, width = x.shape[-2:]
    angles = _angles(start, length, width, base)
    waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1).reshape(length, width)
    return (at_least_float32(x) + waves).astype(floating_dtype_of(x))


@jax.jit
def _add_rows(x: jax.Array, table: jax.Array, start: Any) -> jax.Array:
    return x + jax.lax.dynamic_slice_in_dim(table, start, x.shape[-2])


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _rotate(x: jax.Array, start: Any, base: float, interleaved: bool, turned: int) -> jax.Array:
    angles = _angles(start, x.shape[1], turned, base)[:, None, :]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    wide = at_least_float32(x)
    head, tail = wide[..., :turned], wide[..., turned:]
    if interleaved:
        a, b = head[..., 0::2], head[..., 1::2]
    else:
        a, b = head[..., : turned // 2], head[..., turned // 2 :]
    pair = [a * cos - b * sin, b * cos + a * sin]
    head = jnp.stack(pair, -1).reshape(head.shape) if interleaved else jnp.concatenate(pair, -1)
    return jnp.concatenate([head, tail], -1).astype(floating_dtype_of(x))
