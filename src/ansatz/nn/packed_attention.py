"""Attention in PyTorch's spelling: its arguments, its conventions for masks, its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError
from ansatz.core.initializer import BoundedUniform, Initializer, Spec
from ansatz.core.parameter import Parameter
from ansatz.init import Xavier
from ansatz.nn.attention_heads import DotProductAttention, check_sequences
from ansatz.nn.linear import affine
from ansatz.nn.projection import Projection
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_width, size_along

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class MultiheadAttention(DotProductAttention):
    """Attention in PyTorch's spelling: arguments, masks, results and parameters as there.

    It computes what `MultiHeadAttention` computes. What differs is how it is called:

    * A boolean mask is true where a key is *left out*, and the arguments are called `attn_mask`
      and `key_padding_mask`.
    * It returns a pair: the output, and the attention weights or `None`.
    * Inputs are `(length, batch, width)` unless `batch_first`.

    and two things where PyTorch has a trap: a query that may attend to nothing gets zeros, not NaN,
    and `is_causal=True` needs no `attn_mask`. The three input projections start alike whether they
    are packed or not: from U(±√(6 / (width + embed_dim))) each; PyTorch draws the packed ones from
    a range that is smaller by √2. The output's weight starts as that of `Linear`, biases are zero.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.2.

    Args:
        embed_dim: the width of queries and output; `None` if the first input shall tell it.
        num_heads: the number of heads, which divides `embed_dim`.
        dropout: the probability with which an attention weight is dropped in training.
        bias: whether the projections have a bias.
        kdim: the width of the keys, if it is not `embed_dim`.
        vdim: the width of the values, likewise.
        batch_first: whether the batch is the first axis.
        causal: whether each call is causal. Causal self-attention decodes with a cache.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        in_proj_weight: shape `(3 · embed_dim, embed_dim)`: queries, keys, values, one after the
            other; `None` if `kdim` or `vdim` is given and differs.
        q_proj_weight: in its place, shape `(embed_dim, embed_dim)`; else `None`.
        k_proj_weight: shape `(embed_dim, kdim)`, or `None`.
        v_proj_weight: shape `(embed_dim, vdim)`, or `None`.
        in_proj_bias: shape `(3 · embed_dim,)`, or `None`.
        out_proj: a dense layer from `embed_dim` to `embed_dim`.

    Raises:
        ValueError: `num_heads` does not divide `embed_dim`.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if widths, batch sizes or masks do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> x = jnp.ones((2, 5, 8))
        >>> y, weights = attention(x, x, x)
        >>> y.shape, weights.shape
        ((2, 5, 8), (2, 5, 5))
        >>> list(attention.collect_params())
        ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias']
    """

    def __init__(
        self,
        embed_dim: int | None,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        causal: bool = False,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        width = checked_width("embed_dim", embed_dim)
        kdim, vdim = checked_width("kdim", kdim), checked_width("vdim", vdim)
        self._declare(num_heads, None, causal, None, dropout)
        if width is not None and width % self.num_heads:
            raise ValueError(
                f"MultiheadAttention cannot split embed_dim={width} among {self.num_heads} heads; "
                "choose a multiple"
            )
        self.batch_first = batch_first
        packed = kdim in (None, width) and vdim in (None, width)
        self.in_proj_weight: Parameter | None = None
        self.q_proj_weight: Parameter | None = None
        self.k_proj_weight: Parameter | None = None
        self.v_proj_weight: Parameter | None = None
        if packed:
            shape = (None if width is None else 3 * width, width)
            self.in_proj_weight = Parameter(shape, dtype=dtype, fallback=PackedXavier())
        else:
            key_width = width if kdim is None else kdim
            value_width = width if vdim is None else vdim
            self.q_proj_weight = Parameter((width, width), dtype=dtype, fallback=Xavier())
            self.k_proj_weight = Parameter((width, key_width), dtype=dtype, fallback=Xavier())
            self.v_proj_weight = Parameter((width, value_width), dtype=dtype, fallback=Xavier())
        size = None if width is None else 3 * width
        self.in_proj_bias = Parameter((size,), "zeros", dtype=dtype) if bias else None
        self.out_proj = Projection(width, width, use_bias=bias, dtype=dtype)
        share(self, params)

    @property
    def embed_dim(self) -> int | None:
        """The width of queries and output; `None` while it is not known."""
        return self.out_proj.units

    def _head_units(self) -> tuple[int | None, Any]:
        width = self.embed_dim
        return None if width is None else width // self.num_heads, self.out_proj.weight.dtype

    def infer_shape(self, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> None:
        """Take the widths from the inputs."""
        check_sequences(query, key, value, batch_axis=0 if self.batch_first else 1)
        width = size_along(query, -1)
        if width % self.num_heads:
            raise ShapeError(
                f"the input is {width} wide, which cannot be split among {self.num_heads} heads"
            )
        if self.in_proj_weight is not None:
            for given in (key, value):
                if given.shape[-1] != width:
                    raise ShapeError(
                        f"queries, keys and values have the widths {width}, {key.shape[-1]} and "
                        f"{value.shape[-1]}; give kdim and vdim if they differ from embed_dim"
                    )
            self.in_proj_weight.shape = (3 * width, width)
        widths = {
            "q_proj_weight": width,
            "k_proj_weight": size_along(key, -1),
            "v_proj_weight": size_along(value, -1),
        }
        for name, in_width in widths.items():
            weight = getattr(self, name)
            if weight is not None:
                weight.shape = (width, in_width)
        if self.in_proj_bias is not None:
            self.in_proj_bias.shape = (3 * width,)
        self.out_proj.settle(width, width)
        if self.position is not None:
            for cell in (self.cached_key, self.cached_value):
                cell.shape = (*cell.shape[:3], width // self.num_heads)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """Attention of `query` to `key` and `value`, as PyTorch's module is called.

        Args:
            query: shape `(queries, batch, embed_dim)`, or `(batch, queries, embed_dim)` with
                `batch_first`, or `(queries, embed_dim)` for a single sequence.
            key: likewise, `kdim` wide.
            value: likewise, `vdim` wide.
            key_padding_mask: shape `(batch, keys)`: true for keys to leave out, or numbers that
                are added to the scores.
            need_weights: whether to return the weights; without them it is faster.
            attn_mask: shape `(queries, keys)` or `(batch · num_heads, queries, keys)`: true where
                a query may *not* attend to a key, or numbers that are added to the scores.
            average_attn_weights: whether the weights are averaged over the heads.
            is_causal: whether a position sees only itself and what came before.

        Returns:
            The output, shaped like `query`; the weights, of shape `(batch, queries, keys)` or
            `(batch, num_heads, queries, keys)`, or `None`.
        """
        cached = self.position is not None and query is key and key is value
        q, k, v = map(self._batch_major, self._projected(query, key, value))
        single = query.ndim == 2
        if single and key_padding_mask is not None:
            key_padding_mask = jnp.asarray(key_padding_mask)[None]
        mask = _kept(attn_mask)
        if mask is not None and mask.ndim == 3:
            mask = mask.reshape(q.shape[0], self.num_heads, *mask.shape[1:])
        y, weights = self._attend(
            q,
            k,
            v,
            mask,
            _kept(key_padding_mask),
            causal=self.causal or is_causal,
            cached=cached,
            want_weights=need_weights,
        )
        y = self.out_proj(y)
        if weights is not None and need_weights:
            weights = weights.astype(y.dtype)
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            weights = None
        if single:
            return y[0], None if weights is None else weights[0]
        return y if self.batch_first else jnp.swapaxes(y, 0, 1), weights

    def _batch_major(self, x: jax.Array) -> jax.Array:
        if x.ndim == 2:
            return x[None]
        return x if self.batch_first else jnp.swapaxes(x, 0, 1)

    def _projected(
        self, query: jax.Array, key: jax.Array, value: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        bias = None if self.in_proj_bias is None else self.in_proj_bias.value
        packed = self.in_proj_weight
        if packed is not None and query is key and key is value:
            q, k, v = jnp.split(affine(query, packed.value, bias, None, False), 3, axis=-1)
            return q, k, v
        if packed is not None:
            weights = jnp.split(packed.value, 3)
        else:
            separate = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            weights = [cast("Parameter", weight).value for weight in separate]
        biases = [None] * 3 if bias is None else jnp.split(bias, 3)
        q, k, v = (
            affine(x, weight, own, None, False)
            for x, weight, own in zip((query, key, value), weights, biases, strict=True)
        )
        return q, k, v

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        parts = [str(self.embed_dim), f"num_heads={self.num_heads}"]
        if self.batch_first:
            parts.append("batch_first=True")
        if self.causal:
            parts.append("causal=True")
        return ", ".join(parts)


class PackedXavier(Initializer):
    """Glorot and Bengio's uniform initialiser for each of several weights packed into one.

    Args:
        count: how many weights stand one after the other along the first axis.
    """

    def __init__(self, count: int = 3) -> None:
        self.count = count

    def bind(self, spec: Spec) -> Initializer:
        """The distribution that one of the weights has."""
        fan_in, fan_out = spec.fans
        fans = fan_in + fan_out / self.count
        return BoundedUniform((6 / fans) ** 0.5 if fans else 0.0)


def _kept(mask: Any) -> Any:
    """PyTorch's mask, true for what is left out, as ours, true for what is kept."""
    if mask is None:
        return None
    mask = jnp.asarray(mask)
    return ~mask if mask.dtype == bool else mask
