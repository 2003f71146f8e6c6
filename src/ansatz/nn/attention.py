"""Attention: each position of a sequence takes what it needs from the positions of another.

`MultiHeadAttention` has a dense layer each for queries, keys, values and the output. In
`packed_attention.py` stands the same computation in PyTorch's spelling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import jax.numpy as jnp

from ansatz.core.errors import ShapeError
from ansatz.init import Xavier
from ansatz.nn.attention_heads import DotProductAttention, check_sequences
from ansatz.nn.positions import RotaryPositions
from ansatz.nn.projection import Projection
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_width, size_along

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class MultiHeadAttention(DotProductAttention):
    """Attention with several heads: self-attention of `x`, or of one sequence to another.

    `out(concat(head₁, …))` with `headᵢ = softmax(qᵢ kᵢᵀ / √d) vᵢ`, where `q`, `k` and `v` are
    dense layers of the inputs. All inputs are batch-major: `(batch, length, width)`, or
    `(length, width)` for a single sequence. Any of the widths may be left open.

    A mask is true where a query may attend to a key, as in JAX, Flax and Keras; a floating-point
    one is added to the scores. A query that may attend to nothing gets zeros in place of an
    average (PyTorch gives NaN).

    Without any choice the three input weights are drawn from U(±√(6 / (width + units))) (Glorot &
    Bengio 2010, eq. 16), the weight of the output from U(±1/√units); biases are zero.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.2. Shared key heads:
    Ainslie et al. 2023, "GQA: training generalized multi-query transformer models".

    Args:
        units: the width of the output; `None` for that of the query's input.
        num_heads: the number of query heads.
        kv_heads: the number of key and value heads, which divides `num_heads`: 1 is multi-query,
            more is grouped-query attention; without a choice, `num_heads`.
        head_units: the width of a head; without a choice, `units / num_heads`.
        causal: whether a position sees only itself and what came before. Causal attention decodes
            with a cache; see `nn.decoding`.
        rotary: `nn.RotaryPositions(…)` to rotate queries and keys by their positions.
        dropout: the probability with which an attention weight is dropped in training.
        use_bias: whether the four dense layers have a bias.
        weight_init: the initialiser of the four weights; without one, `initialize` may choose.
        bias_init: the initialiser of the biases.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        query: a dense layer; its weight has the shape `(num_heads · head_units, width)`.
        key: a dense layer; its weight has the shape `(kv_heads · head_units, width)`.
        value: likewise.
        out: a dense layer; its weight has the shape `(units, num_heads · head_units)`.

    Raises:
        ValueError: the numbers of heads or units do not divide.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if widths, batch sizes or masks do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> attention = nn.MultiHeadAttention(8, num_heads=4, kv_heads=2, causal=True)
        >>> x = jnp.ones((2, 5, 3))
        >>> attention(x).shape
        (2, 5, 8)
        >>> {path: p.shape for path, p in attention.collect_params("*.weight").items()}
        {'query.weight': (8, 3), 'key.weight': (4, 3), 'value.weight': (4, 3), 'out.weight': (8, 8)}
        >>> real = jnp.array([[True] * 5, [True, True, True, False, False]])
        >>> attention(x, key_mask=real).shape
        (2, 5, 8)
    """

    def __init__(
        self,
        units: int | None,
        num_heads: int,
        *,
        kv_heads: int | None = None,
        head_units: int | None = None,
        causal: bool = False,
        rotary: RotaryPositions | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        weight_init: Any = None,
        bias_init: Any = "zeros",
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        units = checked_width("units", units)
        self._declare(num_heads, kv_heads, causal, rotary, dropout)
        self.head_units = checked_width("head_units", head_units)
        if self.head_units is None and units is not None:
            if units % self.num_heads:
                raise ValueError(
                    f"MultiHeadAttention cannot split {units} units among {self.num_heads} heads; "
                    "choose a multiple, or give head_units"
                )
            self.head_units = units // self.num_heads
        inner, kv = self._inner_widths(units)

        def projection(units: int | None, in_units: int | None, fallback: Any) -> Projection:
            return Projection(
                units,
                in_units,
                use_bias=use_bias,
                weight_init=weight_init,
                bias_init=bias_init,
                fallback=fallback,
                dtype=dtype,
            )

        self.query = projection(inner, None, Xavier())
        self.key = projection(kv, None, Xavier())
        self.value = projection(kv, None, Xavier())
        self.out = projection(units, inner, None)
        share(self, params, weight_init=weight_init)

    @property
    def units(self) -> int | None:
        """The width of the output; `None` while it is not known."""
        return self.out.units

    def _inner_widths(self, units: int | None) -> tuple[int | None, int | None]:
        """The widths of all query heads, and of all key heads, side by side."""
        size = self.head_units
        if size is None:
            if units is None:
                return None, None
            if units % self.num_heads:
                raise ShapeError(
                    f"the input is {units} wide, which cannot be split among {self.num_heads} "
                    "heads; give units or head_units"
                )
            size = units // self.num_heads
        return self.num_heads * size, self.kv_heads * size

    def _head_units(self) -> tuple[int | None, Any]:
        kv = self.key.units
        return None if kv is None else kv // self.kv_heads, self.key.weight.dtype

    def infer_shape(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        mask: Any = None,
        key_mask: Any = None,
    ) -> None:
        """Take the widths of the inputs, and if it is open that of the output."""
        key = query if key is None else key
        value = key if value is None else value
        check_sequences(query, key, value)
        width = size_along(query, -1)
        units = width if self.units is None else self.units
        inner, kv = cast("tuple[int, int]", self._inner_widths(units))
        self.query.settle(inner, width)
        self.key.settle(kv, size_along(key, -1))
        self.value.settle(kv, size_along(value, -1))
        self.out.settle(units, inner)
        if self.position is not None:
            for cell in (self.cached_key, self.cached_value):
                cell.shape = (*cell.shape[:3], kv // self.kv_heads)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        mask: Any = None,
        key_mask: Any = None,
    ) -> Any:
        """Attention of `query` to `key` and `value`.

        Args:
            query: shape `(batch, queries, width)`.
            key: shape `(batch, keys, width)`; without one, `query`: self-attention.
            value: shape `(batch, keys, width)`; without one, `key`.
            mask: booleans, true where a query may attend to a key, or numbers that are added to
                the scores; broadcasts to `(batch, num_heads, queries, keys)`. While decoding, the
                keys are all positions that there is room for.
            key_mask: likewise for whole keys, shape `(batch, keys)`: false for padding.

        Returns:
            Shape `(batch, queries, units)`.
        """
        cached = self.position is not None and key is None and value is None
        key = query if key is None else key
        value = key if value is None else value
        single = query.ndim == 2
        if single:
            query, key, value = query[None], key[None], value[None]
            key_mask = None if key_mask is None else jnp.asarray(key_mask)[None]
        y, _ = self._attend(
            self.query(query),
            self.key(key),
            self.value(value),
            mask,
            key_mask,
            causal=self.causal,
            cached=cached,
        )
        y = self.out(y)
        return y[0] if single else y

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        parts = [str(self.units), f"num_heads={self.num_heads}"]
        if self.kv_heads != self.num_heads:
            parts.append(f"kv_heads={self.kv_heads}")
        if self.causal:
            parts.append("causal=True")
        return ", ".join(parts)
