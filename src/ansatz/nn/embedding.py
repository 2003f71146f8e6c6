"""Embeddings: a row of a table for each integer."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import DTypeError
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.init import Normal
from ansatz.nn.precision import at_least_float32
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_positive, checked_size, size_along

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Embedding(Module):
    """Looks up a learned vector for each integer.

    An integer outside of `0 … num_embeddings - 1`, also a negative one, gives a row of NaN: a
    compiled program cannot raise, and a wrong row would go unnoticed (`jax_debug_nans` finds the
    place). Its gradient is dropped.

    Without any choice the table is drawn from N(0, 1), as `torch.nn.Embedding` does. An output is
    fed by one input for each row (a one-hot vector stands behind the integer), so the fan-in is
    `num_embeddings`.

    Source: Bengio et al. 2003, "A neural probabilistic language model", section 2.

    Args:
        num_embeddings: how many integers there are.
        features: the width of a vector.
        padding_index: the integer of what is no word, negative ones count from the end. Its row
            starts at zero, whatever the initialiser, and being looked up gives it no gradient.
        max_norm: vectors that are longer come out scaled down to this length. The gradient goes
            to the row as if it had not been scaled, as in PyTorch, which also writes what it
            scaled back to the table; here a call changes nothing, and `attend` sees the table as
            it is.
        norm_type: which norm is meant by their length; 2 for the Euclidean one, `inf` for the
            largest entry.
        weight_init: the table's initialiser; without one, `initialize` may choose.
        params: `other.collect_params()` of a layer whose parameter this one shall hold.
        dtype: the dtype of the table and of the output.

    Attributes:
        weight: shape `(num_embeddings, features)`.

    Raises:
        DTypeError: when called, if the input does not hold integers.
        ValueError: there is no row `padding_index`, or a norm is not positive.
        TieError: `params` does not match in names, shapes or dtypes.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> embed = nn.Embedding(10, 4)
        >>> embed(jnp.array([[1, 2, 3]])).shape
        (1, 3, 4)
        >>> embed.attend(embed(jnp.array([7]))).shape
        (1, 10)
        >>> print(nn.Embedding(10, 4, padding_index=0)(jnp.array([0])))
        [[0. 0. 0. 0.]]
    """

    def __init__(
        self,
        num_embeddings: int,
        features: int,
        *,
        padding_index: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        weight_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        shape = checked_size("num_embeddings", num_embeddings), checked_size("features", features)
        self.padding_index = _checked_row(type(self).__name__, padding_index, shape[0])
        kind = type(self).__name__
        self.max_norm = None if max_norm is None else checked_positive(kind, "max_norm", max_norm)
        self.norm_type = checked_positive(kind, "norm_type", norm_type)
        self.weight = Parameter(
            shape,
            weight_init,
            dtype=dtype,
            fallback=Normal(1.0),
            fan_axes=(0, 1),
            zero_at=self.padding_index,
        )
        share(self, params, weight_init=weight_init)

    @property
    def num_embeddings(self) -> int | None:
        """How many integers there are."""
        return self.weight.shape[0]

    @property
    def features(self) -> int | None:
        """The width of a vector."""
        return self.weight.shape[1]

    def forward(self, x: Any) -> Any:
        """Integers of any shape to vectors: `(...)` to `(..., features)`."""
        dtype = getattr(x, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.integer):
            raise DTypeError(
                f"{type(self).__name__} looks up integers, got {dtype or type(x).__name__}; "
                "convert the input: jnp.asarray(x, 'int32')"
            )
        return _look_up(self.weight.value, x, self.padding_index, self.max_norm, self.norm_type)

    def attend(self, x: Any) -> Any:
        """`x Wᵀ`: how well each vector of the table fits, `(..., features)` to logits.

        This is the output layer that shares its weight with the input layer (Press & Wolf 2016,
        "Using the output embedding to improve language models").

        Args:
            x: shape `(..., features)`.

        Returns:
            Shape `(..., num_embeddings)`.

        Raises:
            ShapeError: the last axis of `x` is not `features` long.
        """
        self.weight.shape = (self.weight.shape[0], size_along(x, -1))
        return _attend(x, self.weight.value)

    def extra_repr(self) -> str:
        """The shape of the table, and what differs from the defaults."""
        parts = [f"{self.num_embeddings}, {self.features}"]
        if self.padding_index is not None:
            parts.append(f"padding_index={self.padding_index}")
        if self.max_norm is not None:
            parts.append(f"max_norm={self.max_norm}")
            if self.norm_type != 2:
                parts.append(f"norm_type={self.norm_type}")
        return ", ".join(parts)


def _checked_row(kind: str, padding_index: Any, rows: int) -> int | None:
    if padding_index is None:
        return None
    index = operator.index(padding_index)
    if not -rows <= index < rows:
        raise ValueError(
            f"padding_index of {kind} is one of {rows} rows, from {-rows} to {rows - 1}; got "
            f"{index}"
        )
    return index % rows


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _look_up(
    table: jax.Array,
    indices: jax.Array,
    padding: int | None,
    max_norm: float | None,
    norm_type: float,
) -> jax.Array:
    rows = table.at[indices].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    if max_norm is not None:
        rows = _shortened(rows, max_norm, norm_type)
    if padding is None:
        return rows
    return jnp.where((indices == padding)[..., None], jax.lax.stop_gradient(rows), rows)


def _shortened(rows: jax.Array, max_norm: float, norm_type: float) -> jax.Array:
    fixed = at_least_float32(jax.lax.stop_gradient(rows))
    norms = jnp.linalg.norm(fixed, norm_type, axis=-1, keepdims=True)
    # The small number is PyTorch's.
    shorter = jnp.where(norms > max_norm, fixed * (max_norm / (norms + 1e-7)), fixed)
    # What is added is zero, and has the derivative of the rows.
    return shorter.astype(rows.dtype) + (rows - jax.lax.stop_gradient(rows))


@jax.jit
def _attend(x: jax.Array, table: jax.Array) -> jax.Array:
    return x @ table.T
