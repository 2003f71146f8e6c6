"""Bags of embeddings: the sum, mean or maximum of the vectors of several integers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core.errors import DTypeError, ShapeError, format_shape, format_value
from ansatz.nn.embedding import Embedding
from ansatz.nn.precision import at_least_float32
from ansatz.nn.sharing import Params

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

_MODES = ("sum", "mean", "max")


class EmbeddingBag(Embedding):
    """An `Embedding` whose vectors are summed, averaged or maximised over each bag of integers.

    A bag is the last axis of the input. Or all bags stand one behind the other on one axis, and
    `offsets` says where each begins. What is padding does not count, also not in the mean; a bag
    with nothing in it gives zeros. Otherwise as `Embedding`: the table is drawn from N(0, 1), and
    an integer out of range gives NaN.

    Source: Joulin et al. 2016, "Bag of tricks for efficient text classification", section 2; as
    `torch.nn.EmbeddingBag`.

    Args:
        num_embeddings: how many integers there are.
        features: the width of a vector.
        mode: `"mean"`, `"sum"` or `"max"`, the largest of each feature.
        padding_index: the integer of what is no word, negative ones count from the end. Its row
            starts at zero.
        max_norm: vectors that are longer are scaled down to this length, as in `Embedding`.
        norm_type: which norm is meant by their length.
        weight_init: the table's initialiser; without one, `initialize` may choose.
        params: `other.collect_params()` of a layer whose parameter this one shall hold.
        dtype: the dtype of the table and of the output.

    Attributes:
        weight: shape `(num_embeddings, features)`.

    Raises:
        ValueError: there is no such mode or row; when called, if weights are given and the mode is
            not `"sum"`, or if the offsets do not rise from 0.
        DTypeError: when called, if input or offsets do not hold integers.
        ShapeError: when called, if input, offsets or weights do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> bag = nn.EmbeddingBag(10, 4, mode="sum", padding_index=0)
        >>> bag(jnp.array([[1, 2, 3], [5, 0, 0]])).shape
        (2, 4)
        >>> bag(jnp.array([1, 2, 3, 5]), jnp.array([0, 3])).shape
        (2, 4)
    """

    def __init__(
        self,
        num_embeddings: int,
        features: int,
        *,
        mode: str = "mean",
        padding_index: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        weight_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        if mode not in _MODES:
            raise ValueError(f"mode of EmbeddingBag is 'sum', 'mean' or 'max', got {mode!r}")
        super().__init__(
            num_embeddings,
            features,
            padding_index=padding_index,
            max_norm=max_norm,
            norm_type=norm_type,
            weight_init=weight_init,
            params=params,
            dtype=dtype,
        )
        self.mode = mode

    def forward(self, x: Any, offsets: Any = None, *, weights: Any = None) -> Any:
        """One vector for each bag.

        Args:
            x: integers, shape `(..., bag)`; with offsets, `(integers of all bags,)`.
            offsets: where each bag begins in `x`, rising integers of shape `(bags,)`, the first of
                which is 0.
            weights: the factor of each vector, shape of `x`; only with `mode="sum"`.

        Returns:
            Shape `(..., features)`; with offsets, `(bags, features)`.
        """
        rows = super().forward(x)
        if x.ndim == 0 or (offsets is not None and x.ndim != 1):
            wanted = "(..., bag)" if offsets is None else "(integers of all bags,) with offsets"
            raise ShapeError(
                f"EmbeddingBag takes integers of shape {wanted}, got shape {format_shape(x.shape)}"
            )
        if offsets is not None:
            offsets = _checked_offsets(offsets, len(x))
        if weights is not None:
            weights = self._checked_weights(weights, x)
        return _pooled(rows, x, offsets, weights, self.mode, self.padding_index)

    def _checked_weights(self, weights: Any, x: Any) -> jax.Array:
        if self.mode != "sum":
            raise ValueError(
                f"weights of EmbeddingBag are factors of a sum, but its mode is {self.mode!r}; "
                "build it with mode='sum'"
            )
        if jnp.shape(weights) != x.shape:
            raise ShapeError(
                f"weights of EmbeddingBag has one factor for each integer, shape "
                f"{format_shape(x.shape)}; got {format_value(weights)}"
            )
        return jnp.asarray(weights)

    def extra_repr(self) -> str:
        """The shape of the table, what differs from the defaults, and the mode."""
        return f"{super().extra_repr()}, mode={self.mode!r}"


def _checked_offsets(offsets: Any, count: int) -> jax.Array:
    """Where bags begin among `count` integers."""
    traced = isinstance(offsets, jax.core.Tracer)
    offsets = offsets if traced else np.asarray(offsets)
    if offsets.ndim != 1:
        raise ShapeError(
            f"offsets of EmbeddingBag is one number for each bag, shape (bags,); got shape "
            f"{format_shape(offsets.shape)}"
        )
    if not jnp.issubdtype(offsets.dtype, jnp.integer):
        raise DTypeError(f"offsets of EmbeddingBag are integers, got {offsets.dtype}")
    if not traced and (np.diff(offsets, prepend=0, append=count) < 0).any():
        raise ValueError(
            f"offsets of EmbeddingBag rise from 0 to at most the {count} integers of the input; "
            f"got {offsets.tolist()}"
        )
    if not traced and offsets.size and offsets[0] != 0:
        raise ValueError(
            f"the first of the offsets of EmbeddingBag is 0, where the first bag begins; got "
            f"{offsets.tolist()}"
        )
    return jnp.asarray(offsets)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _pooled(
    rows: jax.Array,
    indices: jax.Array,
    offsets: jax.Array | None,
    weights: jax.Array | None,
    mode: str,
    padding: int | None,
) -> jax.Array:
    dtype = rows.dtype if weights is None else jnp.result_type(rows, weights)
    rows = at_least_float32(rows)
    if weights is not None:
        rows = rows * weights[..., None]
    counts = jnp.ones(indices.shape, bool) if padding is None else indices != padding
    none = jnp.zeros((), rows.dtype)
    neutral = none if mode != "max" else jnp.asarray(-jnp.inf, rows.dtype)
    rows = jnp.where(counts[..., None], rows, neutral)
    if offsets is None:
        total = _largest(rows) if mode == "max" else rows.sum(-2)
        size = counts.sum(-1)
    else:
        bag = jnp.searchsorted(offsets, jnp.arange(len(indices)), side="right") - 1
        reduce = jax.ops.segment_max if mode == "max" else jax.ops.segment_sum
        total = reduce(rows, bag, len(offsets), indices_are_sorted=True)
        size = jax.ops.segment_sum(counts.astype(jnp.int32), bag, len(offsets))
    if mode == "mean":
        total = total / jnp.maximum(size, 1)[..., None]
    return jnp.where(size[..., None] > 0, total, none).astype(dtype)


def _largest(rows: jax.Array) -> jax.Array:
    """The maximum over the axis before the last; the gradient goes to the first, as in PyTorch."""
    if rows.shape[-2] == 0:
        return jnp.zeros((*rows.shape[:-2], rows.shape[-1]), rows.dtype)
    where = jnp.argmax(rows, -2, keepdims=True)
    return jnp.take_along_axis(rows, where, -2)[..., 0, :]
