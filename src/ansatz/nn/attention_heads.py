"""What the attention layers have in common: heads, masks, dropout, and the cache for decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.parameter import State
from ansatz.nn.attention_functions import Masks, attend, combined, mix, weights_of
from ansatz.nn.decoding import Positioned
from ansatz.nn.dropout import Dropout
from ansatz.nn.positions import RotaryPositions
from ansatz.nn.sizes import checked_size

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class DotProductAttention(Positioned):
    """Attention between projected queries, keys and values.

    Attributes:
        num_heads: the number of query heads.
        kv_heads: the number of key and value heads.
        causal: whether a position sees only itself and what came before.
        rotary: what rotates queries and keys, or `None`.
        dropout: a `Dropout` layer for the attention weights, or `None`.
        cached_key: while decoding, a state of shape `(batch, length, kv_heads, units)`.
        cached_value: likewise.
    """

    def _declare(
        self,
        num_heads: int,
        kv_heads: int | None,
        causal: bool,
        rotary: RotaryPositions | None,
        dropout: float,
    ) -> None:
        kind = type(self).__name__
        self.num_heads = checked_size("num_heads", num_heads)
        self.kv_heads = self.num_heads if kv_heads is None else checked_size("kv_heads", kv_heads)
        if not self.kv_heads or self.num_heads % self.kv_heads:
            raise ValueError(
                f"{kind} has {self.num_heads} query heads and {self.kv_heads} key heads; each key "
                "head serves a whole number of query heads, at least one"
            )
        if rotary is not None and not isinstance(rotary, RotaryPositions):
            raise TypeError(
                f"rotary of {kind} is nn.RotaryPositions(…) or None, got {rotary!r} of type "
                f"{type(rotary).__name__}"
            )
        self.causal = causal
        self.rotary = rotary
        self.dropout = Dropout(dropout) if dropout else None

    def open_cache(self, batch: int, length: int, dtype: DTypeLike | None) -> None:
        """Keep keys and values of up to `length` positions of `batch` sequences."""
        super().open_cache(batch, length, dtype)
        units, own = self._head_units()
        shape = (batch, length, self.kv_heads, units)
        for name in ("cached_key", "cached_value"):
            setattr(self, name, State(shape=shape, dtype=dtype or own, optional=True))

    def close_cache(self) -> None:
        """Forget keys and values."""
        super().close_cache()
        del self.cached_key, self.cached_value

    def _head_units(self) -> tuple[int | None, Any]:
        """The width of a head, if it is known, and the dtype of the parameters."""
        raise NotImplementedError

    def _split(self, x: jax.Array, heads: int) -> jax.Array:
        """`(batch, length, heads · units)` to `(batch, length, heads, units)`."""
        return x.reshape(*x.shape[:2], heads, x.shape[2] // heads)

    def _attend(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        mask: Any,
        key_mask: Any,
        *,
        causal: bool,
        cached: bool,
        want_weights: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """From projected queries, keys and values, with their heads side by side.

        Args:
            query: shape `(batch, queries, num_heads · units)`.
            key: shape `(batch, keys, kv_heads · units)`.
            value: likewise.
            mask: what `combined` takes.
            key_mask: likewise.
            causal: whether to look only backwards.
            cached: whether this call continues the sequence that is being decoded.
            want_weights: whether the weights are returned too.

        Returns:
            Shape `(batch, queries, num_heads · units)`; the weights, or `None`.
        """
        query = self._split(query, self.num_heads)
        key, value = self._split(key, self.kv_heads), self._split(value, self.kv_heads)
        keys = self._room_for(key.shape[0]) if cached else key.shape[1]
        masks = combined((query.shape[0], self.num_heads, query.shape[1], keys), mask, key_mask)
        start = self.take(query.shape[1]) if cached else 0  # Behind what can be refused.
        if self.rotary is not None:
            query, key = self.rotary(query, start), self.rotary(key, start)
        if cached:
            key, value = self._remembered(key, value, start)
        y, weights = self._mixed(query, key, value, masks, start, causal, want_weights)
        if cached:
            y = self.marked(y, start, axis=1)
        return y.reshape(*y.shape[:2], y.shape[2] * y.shape[3]), weights

    def _mixed(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        masks: Masks,
        start: jax.Array | int,
        causal: bool,
        want_weights: bool,
    ) -> tuple[jax.Array, jax.Array | None]:
        dropping = self.dropout is not None and self.training
        if not dropping and not want_weights:
            return attend(query, key, value, masks, start, causal=causal), None
        weights = weights_of(query, key, masks, start, causal=causal)
        if self.dropout is not None:
            weights = self.dropout(weights)
        return mix(weights, value), weights

    def _room_for(self, batch: int) -> int:
        """How many positions the cache has room for.

        Raises:
            ShapeError: it was opened for another number of sequences.
        """
        opened, length = self.cached_key.shape[:2]
        if opened != batch:
            raise ShapeError(
                f"decoding was opened for {opened} sequences, got {batch}; open it for as many: "
                f"nn.decoding(net, {batch}, {length})"
            )
        assert length is not None
        return int(length)

    def _remembered(
        self, key: jax.Array, value: jax.Array, start: jax.Array | int
    ) -> tuple[jax.Array, jax.Array]:
        """Keys and values of the whole sequence so far, with room for more behind it."""
        whole = []
        for new, cell in ((key, self.cached_key), (value, self.cached_value)):
            new = new.astype(cell.dtype)
            updated = jax.lax.dynamic_update_slice_in_dim(cell.value, new, start, axis=1)
            cell.value = updated
            whole.append(updated)
        return whole[0], whole[1]


def check_sequences(query: Any, key: Any, value: Any, batch_axis: int = 0) -> None:
    """Refuse inputs that are no batches of sequences, or of different ones.

    Raises:
        ShapeError: the ranks, the batch sizes or the numbers of keys differ.
    """
    shapes = [format_shape(x.shape) for x in (query, key, value)]
    found = f"the query has shape {shapes[0]}, the key {shapes[1]}, the value {shapes[2]}"
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        raise ShapeError(f"{found}; expected three axes each: batch, length and width")
    if query.ndim == 3 and not (
        query.shape[batch_axis] == key.shape[batch_axis] == value.shape[batch_axis]
    ):
        raise ShapeError(f"{found}; the batch, axis {batch_axis}, differs")
    length_axis = 0 if query.ndim == 2 else 1 - batch_axis
    if key.shape[length_axis] != value.shape[length_axis]:
        raise ShapeError(f"{found}; there has to be one value for each key")
