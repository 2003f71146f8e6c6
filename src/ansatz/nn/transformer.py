"""Transformers: attention and two dense layers, with a way around each, many times over.

The parameters have PyTorch's names, so its state dicts load as they are. Inputs are batch-major.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from ansatz.core.errors import StructureError
from ansatz.core.module import Module
from ansatz.core.node import declared_in
from ansatz.nn.activation_functions import Activation, checked_activation, spelled
from ansatz.nn.dropout import Dropout
from ansatz.nn.layer_norm import LayerNorm
from ansatz.nn.packed_attention import MultiheadAttention
from ansatz.nn.projection import Projection
from ansatz.nn.sizes import checked_size, checked_width, size_along
from ansatz.nn.stack import Stack

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class _Layer(Module):
    """What encoder and decoder layers have in common: the two dense layers, and ways around."""

    norm_first: bool
    batch_first: bool

    def _declare(
        self,
        d_model: int | None,
        dim_feedforward: int,
        dropout: float,
        activation: Activation,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        dtype: DTypeLike,
    ) -> None:
        """Declare the dense layers, which stand behind the attention."""
        self.batch_first = batch_first
        self.norm_first = norm_first
        checked_activation(activation)
        self.activation = activation
        # A function of the user's may look at values or cells, so it is not compiled along.
        name = activation if isinstance(activation, str) else None
        self.linear1 = Projection(
            checked_size("dim_feedforward", dim_feedforward),
            d_model,
            activation=name,
            use_bias=bias,
            bias_init=None,
            dtype=dtype,
        )
        self.dropout = Dropout(dropout)
        self.linear2 = Projection(
            d_model, dim_feedforward, use_bias=bias, bias_init=None, dtype=dtype
        )

    def infer_shape(self, x: Any, *args: Any, **kwargs: Any) -> None:
        """Take the width from `x`."""
        width, hidden = size_along(x, -1), self.linear1.weight.shape[0]
        assert hidden is not None
        self.linear1.settle(hidden, width)
        self.linear2.settle(width, hidden)

    def _around(self, x: Any, norm: Module, dropout: Module, inner: Callable[[Any], Any]) -> Any:
        """`x` plus what `inner` makes of it, with the norm before `inner` or at the end."""
        if self.norm_first:
            return x + dropout(inner(norm(x)))
        return norm(x + dropout(inner(x)))

    def _attended(
        self, attention: MultiheadAttention, x: Any, memory: Any, mask: Any, key_mask: Any
    ) -> Any:
        if mask is not None:
            mask = jnp.asarray(mask)
            mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        y, _ = attention(
            x,
            memory,
            memory,
            key_padding_mask=_left_out(key_mask),
            need_weights=False,
            attn_mask=_left_out(mask),
        )
        return y

    def _feed_forward(self, x: Any) -> Any:
        x = self.linear1(x)
        if not isinstance(self.activation, str):
            x = self.activation(x)
        return self.linear2(self.dropout(x))

    def extra_repr(self) -> str:
        """What differs from the defaults."""
        parts = [] if self.activation == "relu" else [f"activation={spelled(self.activation)}"]
        parts += ["norm_first=True"] if self.norm_first else []
        parts += [] if self.batch_first else ["batch_first=False"]
        return ", ".join(parts)


class TransformerEncoderLayer(_Layer):
    """Self-attention and two dense layers, each with a way around it.

    With `norm_first` (pre-norm) `x + f(norm(x))` for each of the two, else (post-norm, as in the
    paper) `norm(x + f(x))`. With `causal` it is the layer of GPT.

    The arguments are PyTorch's, except that the batch is the first axis unless `batch_first` is
    false, and that masks are true where a query may attend to a key, and are given by name.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.1. Pre-norm: Xiong et al.
    2020, "On layer normalization in the transformer architecture".

    Args:
        d_model: the width of input and output; `None` if the first input shall tell it.
        nhead: the number of attention heads, which divides `d_model`.
        dim_feedforward: the width between the two dense layers.
        dropout: the probability of dropping attention weights, hidden units, and outputs of the
            two parts, in training.
        activation: what stands between the dense layers: a name, a function, or a layer.
        layer_norm_eps: what the norms add to the variance.
        batch_first: whether inputs are `(batch, length, width)`, not `(length, batch, width)`.
        norm_first: whether the norms stand before the two parts.
        bias: whether dense layers, projections and norms have a bias.
        causal: whether a position sees only itself and what came before.
        dtype: the dtype of the parameters.

    Attributes:
        self_attn: a `MultiheadAttention`, with its parameters and initial values.
        linear1: a dense layer, weight `(dim_feedforward, d_model)`; weight and bias start in
            U(±1/√d_model), as PyTorch's do.
        linear2: a dense layer, weight `(d_model, dim_feedforward)`, likewise.
        norm1: the `LayerNorm` of the attention.
        norm2: the `LayerNorm` of the dense layers.

    Raises:
        ValueError: `nhead` does not divide `d_model`, or no activation has that name.
        ShapeError: when called, if the width differs or a mask does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> layer = nn.TransformerEncoderLayer(None, nhead=2, dim_feedforward=16, norm_first=True)
        >>> layer(jnp.ones((2, 5, 8))).shape
        (2, 5, 8)
        >>> [path for path in layer.collect_params() if path.startswith("self_attn")]
        ['self_attn.in_proj_weight', 'self_attn.in_proj_bias', 'self_attn.out_proj.weight', \
'self_attn.out_proj.bias']
    """

    def __init__(
        self,
        d_model: int | None,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = True,
        norm_first: bool = False,
        bias: bool = True,
        *,
        causal: bool = False,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        width = checked_width("d_model", d_model)
        self.self_attn = MultiheadAttention(
            width, nhead, dropout, bias, batch_first=batch_first, causal=causal, dtype=dtype
        )
        self._declare(
            width, dim_feedforward, dropout, activation, batch_first, norm_first, bias, dtype
        )
        self.norm1 = LayerNorm(width, eps=layer_norm_eps, use_bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(width, eps=layer_norm_eps, use_bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)

    def forward(self, x: Any, *, mask: Any = None, key_mask: Any = None) -> Any:
        """`(batch, length, d_model)` to the same shape.

        Args:
            x: the sequences.
            mask: booleans, true where a query may attend to a key, or numbers that are added to
                the scores; broadcasts to `(batch, nhead, length, length)`.
            key_mask: likewise for whole keys, shape `(batch, length)`: false for padding.
        """

        def attended(x: Any) -> Any:
            return self._attended(self.self_attn, x, x, mask, key_mask)

        x = self._around(x, self.norm1, self.dropout1, attended)
        return self._around(x, self.norm2, self.dropout2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Causal self-attention, attention to a memory, and two dense layers, each with a way around.

    It is what `TransformerEncoderLayer` is, with attention to the output of an encoder between its
    two parts. Self-attention is causal from the start, as in the paper; PyTorch leaves that to a
    mask, which its users have to give with each call (`causal=False` does so here).

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.1.

    Args:
        d_model: the width of input, memory and output; `None` if the first input shall tell it.
        nhead: the number of attention heads, which divides `d_model`.
        dim_feedforward: the width between the two dense layers.
        dropout: the probability of dropping, as in the encoder layer.
        activation: what stands between the dense layers: a name, a function, or a layer.
        layer_norm_eps: what the norms add to the variance.
        batch_first: whether inputs are `(batch, length, width)`, not `(length, batch, width)`.
        norm_first: whether the norms stand before the three parts.
        bias: whether dense layers, projections and norms have a bias.
        causal: whether in self-attention a position sees only itself and what came before.
        dtype: the dtype of the parameters.

    Attributes:
        self_attn: a `MultiheadAttention` within the sequence.
        multihead_attn: a `MultiheadAttention` to the memory.
        linear1: a dense layer, weight `(dim_feedforward, d_model)`.
        linear2: a dense layer, weight `(d_model, dim_feedforward)`.
        norm1: the `LayerNorm` of the self-attention.
        norm2: the `LayerNorm` of the attention to the memory.
        norm3: the `LayerNorm` of the dense layers.

    Raises:
        ValueError: `nhead` does not divide `d_model`, or no activation has that name.
        ShapeError: when called, if widths differ or a mask does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> layer = nn.TransformerDecoderLayer(8, nhead=2, dim_feedforward=16)
        >>> layer(jnp.ones((2, 5, 8)), jnp.ones((2, 7, 8))).shape
        (2, 5, 8)
    """

    def __init__(
        self,
        d_model: int | None,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = True,
        norm_first: bool = False,
        bias: bool = True,
        *,
        causal: bool = True,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        width = checked_width("d_model", d_model)
        self.self_attn = MultiheadAttention(
            width, nhead, dropout, bias, batch_first=batch_first, causal=causal, dtype=dtype
        )
        self.multihead_attn = MultiheadAttention(
            width, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
        )
        self._declare(
            width, dim_feedforward, dropout, activation, batch_first, norm_first, bias, dtype
        )
        self.norm1 = LayerNorm(width, eps=layer_norm_eps, use_bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(width, eps=layer_norm_eps, use_bias=bias, dtype=dtype)
        self.norm3 = LayerNorm(width, eps=layer_norm_eps, use_bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)

    def forward(
        self,
        x: Any,
        memory: Any,
        *,
        mask: Any = None,
        key_mask: Any = None,
        memory_mask: Any = None,
        memory_key_mask: Any = None,
    ) -> Any:
        """`(batch, length, d_model)` to the same shape.

        Args:
            x: the sequences.
            memory: what the encoder gave, shape `(batch, memory length, d_model)`.
            mask: which positions of `x` attend to which; see `TransformerEncoderLayer`.
            key_mask: which positions of `x` are no padding, shape `(batch, length)`.
            memory_mask: which positions of `x` attend to which of `memory`.
            memory_key_mask: which positions of `memory` are no padding.
        """

        def within(x: Any) -> Any:
            return self._attended(self.self_attn, x, x, mask, key_mask)

        def across(x: Any) -> Any:
            return self._attended(self.multihead_attn, x, memory, memory_mask, memory_key_mask)

        x = self._around(x, self.norm1, self.dropout1, within)
        x = self._around(x, self.norm2, self.dropout2, across)
        return self._around(x, self.norm3, self.dropout3, self._feed_forward)


class _Layers(Module):
    """Alike layers one after the other, and a norm at the end."""

    def __init__(
        self,
        layer: Module,
        num_layers: int,
        norm: Module | None,
        *,
        remat: bool,
        unroll: bool | int,
    ) -> None:
        super().__init__()
        if not isinstance(layer, Module):
            raise TypeError(
                f"{type(self).__name__} takes a layer, of which it makes copies, got "
                f"{type(layer).__name__}; for a function that makes layers use nn.Stack"
            )
        valued = [path for cell, path in declared_in(layer).items() if cell.has_value]
        if valued:
            raise StructureError(
                f"{type(self).__name__} makes {num_layers} copies of a layer, each with initial "
                f"values of its own, but this one has values already: {', '.join(valued)}. Give a "
                "layer that was neither called nor initialised nor loaded."
            )
        self.layers = Stack(lambda: copy.deepcopy(layer), num_layers, remat=remat, unroll=unroll)
        self.norm = norm

    def _run(self, x: Any, *args: Any, **masks: Any) -> Any:
        x = self.layers(x, *args, **masks)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Layers):
    """Encoder layers one after the other, and perhaps a norm at the end.

    The layers are copies of one that is given, and each has initial values of its own; those of
    PyTorch's `TransformerEncoder` all start equal. They stand in an `nn.Stack`, which with
    `unroll=False` compiles one of them only, however many there are.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.1.

    Args:
        layer: a `TransformerEncoderLayer`, or any layer that keeps the shape of its input, which
            has no values yet.
        num_layers: how many copies of it there shall be.
        norm: applied to the output of the last layer; pre-norm layers want one.
        remat: whether each layer's results are computed again in the backward pass.
        unroll: true to compile layer after layer, false to compile one and scan it, or how many to
            compile as one step of the scan; as of `nn.Stack`, where false is the default.

    Attributes:
        layers: the `nn.Stack` of the layers, whose paths are `layers.0.…`, as in PyTorch.
        norm: the norm, or `None`.

    Raises:
        StructureError: `layer` has values already, so that its copies would start equal.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> layer = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16)
        >>> encoder = nn.TransformerEncoder(layer, 3)
        >>> encoder(jnp.ones((2, 5, 8))).shape
        (2, 5, 8)
        >>> first, second = (encoder.layers[i].linear1.weight.value for i in (0, 1))
        >>> bool((first == second).any())
        False
    """

    def __init__(
        self,
        layer: Module,
        num_layers: int,
        norm: Module | None = None,
        *,
        remat: bool = False,
        unroll: bool | int = True,
    ) -> None:
        super().__init__(layer, num_layers, norm, remat=remat, unroll=unroll)

    def forward(self, x: Any, *, mask: Any = None, key_mask: Any = None) -> Any:
        """`(batch, length, width)` to the same shape; see `TransformerEncoderLayer`."""
        return self._run(x, mask=mask, key_mask=key_mask)


class TransformerDecoder(_Layers):
    """Decoder layers one after the other, and perhaps a norm at the end.

    See `TransformerEncoder`.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.1.

    Args:
        layer: a `TransformerDecoderLayer` that has no values yet.
        num_layers: how many copies of it there shall be.
        norm: applied to the output of the last layer; pre-norm layers want one.
        remat: whether each layer's results are computed again in the backward pass.
        unroll: true to compile layer after layer, false to compile one and scan it, or how many to
            compile as one step of the scan; as of `nn.Stack`, where false is the default.

    Attributes:
        layers: the `nn.Stack` of the layers.
        norm: the norm, or `None`.

    Raises:
        StructureError: `layer` has values already, so that its copies would start equal.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> layer = nn.TransformerDecoderLayer(8, nhead=2, dim_feedforward=16)
        >>> decoder = nn.TransformerDecoder(layer, 2, nn.LayerNorm())
        >>> decoder(jnp.ones((2, 5, 8)), jnp.ones((2, 7, 8))).shape
        (2, 5, 8)
    """

    def __init__(
        self,
        layer: Module,
        num_layers: int,
        norm: Module | None = None,
        *,
        remat: bool = False,
        unroll: bool | int = True,
    ) -> None:
        super().__init__(layer, num_layers, norm, remat=remat, unroll=unroll)

    def forward(
        self,
        x: Any,
        memory: Any,
        *,
        mask: Any = None,
        key_mask: Any = None,
        memory_mask: Any = None,
        memory_key_mask: Any = None,
    ) -> Any:
        """`(batch, length, width)` to the same shape; see `TransformerDecoderLayer`."""
        return self._run(
            x,
            memory,
            mask=mask,
            key_mask=key_mask,
            memory_mask=memory_mask,
            memory_key_mask=memory_key_mask,
        )


def _left_out(mask: Any) -> Any:
    """A mask that is true for what is kept, as PyTorch's, true for what is left out."""
    if mask is None:
        return None
    mask = jnp.asarray(mask)
    return ~mask if mask.dtype == bool else mask
