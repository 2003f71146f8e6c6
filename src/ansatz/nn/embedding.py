"""Embeddings: a row of a table for each integer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import DTypeError
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.init import Normal
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size, size_along

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

    Args:
        num_embeddings: how many integers there are.
        features: the width of a vector.
        weight_init: the table's initialiser; without one, `initialize` may choose.
        params: `other.collect_params()` of a layer whose parameter this one shall hold.
        dtype: the dtype of the table and of the output.

    Attributes:
        weight: shape `(num_embeddings, features)`.

    Raises:
        DTypeError: when called, if the input does not hold integers.
        TieError: `params` does not match in names, shapes or dtypes.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> embed = nn.Embedding(10, 4)
        >>> embed(jnp.array([[1, 2, 3]])).shape
        (1, 3, 4)
        >>> embed.attend(embed(jnp.array([7]))).shape
        (1, 10)
    """

    def __init__(
        self,
        num_embeddings: int,
        features: int,
        *,
        weight_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        shape = checked_size("num_embeddings", num_embeddings), checked_size("features", features)
        self.weight = Parameter(
            shape, weight_init, dtype=dtype, fallback=Normal(1.0), fan_axes=(0, 1)
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
                f"Embedding looks up integers, got {dtype or type(x).__name__}; convert the input:"
                " jnp.asarray(x, 'int32')"
            )
        return _look_up(self.weight.value, x)

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
        """The shape of the table."""
        return f"{self.num_embeddings}, {self.features}"


@jax.jit
def _look_up(table: jax.Array, indices: jax.Array) -> jax.Array:
    return table.at[indices].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


@jax.jit
def _attend(x: jax.Array, table: jax.Array) -> jax.Array:
    return x @ table.T
