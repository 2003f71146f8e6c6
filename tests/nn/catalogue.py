"""Every layer with random options, the inputs that it takes, and the shapes that the docs promise.

`LAYERS[name](choose)` gives `(layer, inputs, outputs)`: a layer that is declared without its input
size, its inputs as `jax.ShapeDtypeStruct`s, and the shapes of what comes out, by the formulas of
the docstrings. `choose` is a `Chooser`.
"""

from __future__ import annotations

import random
from typing import Any

import jax
from hypothesis import strategies as st

from ansatz import nn


class Chooser:
    """Choices that hypothesis makes, or, without its `data`, those of a fixed seed."""

    def __init__(self, data: Any = None) -> None:
        self.data = data
        self.random = random.Random(0)

    def size(self, low: int = 1, high: int = 4) -> int:
        """A number from `low` to `high`."""
        if self.data is None:
            return self.random.randint(low, high)
        return self.data.draw(st.integers(low, high))

    def one_of(self, *values: Any) -> Any:
        """One of these."""
        return values[self.size(0, len(values) - 1)]

    def sizes(self, low: int = 0, high: int = 2) -> tuple[int, ...]:
        """So many sizes."""
        return tuple(self.size() for _ in range(self.size(low, high)))


def array(*shape, dtype="float32"):
    return jax.ShapeDtypeStruct(shape, dtype)


def image(first, batch, channels, lengths):
    """A shape with the channels first or last."""
    return (batch, channels, *lengths) if first else (batch, *lengths, channels)


def windows(length, kernel, stride, padding, dilation=1, ceil_mode=False):
    """The formula of convolutions and poolings for one axis."""
    before, after = {"valid": (0, 0)}.get(padding) or padding
    reach = length + before + after - dilation * (kernel - 1) - 1
    places = -(-reach // stride) + 1 if ceil_mode else reach // stride + 1
    if ceil_mode and (places - 1) * stride >= length + before:
        places -= 1
    return places


def padding_of(choose, kernel, *names):
    """A padding for one axis, and how many cells it adds before and after; `None` for a name."""
    kind = choose.one_of("number", "pair", *names)
    if kind == "number":
        n = choose.size(0, kernel // 2)
        return n, (n, n)
    if kind == "pair":
        pair = choose.size(0, kernel // 2), choose.size(0, kernel // 2)
        return (pair,), pair
    return kind, (0, 0) if kind == "valid" else None


def convolution(kind, axes):
    """`Conv`, `ConvTranspose` or `DepthwiseConv`, `SeparableConv`, in the house's spelling."""

    def build(choose):
        groups, channels = choose.size(1, 2), choose.size(1, 2)
        kernel, stride = choose.size(1, 3), choose.size(1, 2)
        causal = ("causal",) if axes == 1 else ()
        padding, pair = padding_of(choose, kernel, "same", "valid", *causal)
        if isinstance(padding, tuple):
            padding *= axes
        first = choose.one_of(True, False)
        layouts = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}[axes]
        options = {
            "stride": stride,
            "padding": padding,
            "dilation": choose.size(1, 2),
            "layout": layouts[first],
            "use_bias": choose.one_of(True, False),
        }
        dilation = options["dilation"]
        lengths = [choose.size(5, 7) for _ in range(axes)]
        shape = image(first, choose.size(), 2 * groups, lengths)
        transposed = kind == "ConvTranspose"
        if transposed:
            span = dilation * (kernel - 1) + 1
            places = [
                n * stride if pair is None else (n - 1) * stride - sum(pair) + span for n in lengths
            ]
        else:
            places = [
                -(-n // stride) if pair is None else windows(n, kernel, stride, pair, dilation)
                for n in lengths
            ]
        if kind in ("Conv", "ConvTranspose"):
            out = groups * channels
            layer = getattr(nn, f"{kind}{axes}D")(out, kernel, groups=groups, **options)
        elif kind == "DepthwiseConv":
            out = 2 * groups * channels
            layer = nn.DepthwiseConv2D(kernel, multiplier=channels, **options)
        else:
            out = channels
            layer = nn.SeparableConv2D(out, kernel, multiplier=groups, **options)
        return layer, [array(*shape)], [image(first, shape[0], out, places)]

    return build


def spelled_convolution(kind, axes):
    def build(choose):
        groups, kernel = choose.size(1, 2), choose.size(1, 3)
        stride, padding, dilation = choose.size(1, 2), choose.size(0, 1), choose.size(1, 2)
        lengths = [choose.size(5, 7) for _ in range(axes)]
        batch, out = choose.size(), 2 * groups
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        more = choose.size(0, stride - 1) if kind == "ConvTranspose" else 0
        if kind == "ConvTranspose":
            options["output_padding"] = more
            places = [
                (n - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + more for n in lengths
            ]
        else:
            places = [windows(n, kernel, stride, (padding, padding), dilation) for n in lengths]
        layer = getattr(nn, f"{kind}{axes}d")(None, out, kernel, **options)
        return layer, [array(batch, groups, *lengths)], [(batch, out, *places)]

    return build


def pooling(kind, axes, first):
    def build(choose):
        kernel, stride = choose.size(1, 3), choose.size(1, 3)
        padding, pair = padding_of(choose, kernel, "same", "valid")
        if isinstance(padding, tuple):
            padding *= axes
        ceil_mode = choose.one_of(True, False)
        options = {"ceil_mode": ceil_mode}
        dilation = 1
        if kind == "Max":
            dilation = options["dilation"] = choose.size(1, 2)
        else:
            options["count_include_pad"] = choose.one_of(True, False)
        lengths = [choose.size(5, 7) for _ in range(axes)]
        batch, channels = choose.size(), choose.size()
        places = [
            -(-n // stride)
            if pair is None
            else windows(n, kernel, stride, pair, dilation, ceil_mode)
            for n in lengths
        ]
        layer = getattr(nn, f"{kind}Pool{axes}{'d' if first else 'D'}")(
            kernel, stride, padding, **options
        )
        return (
            layer,
            [array(*image(first, batch, channels, lengths))],
            [image(first, batch, channels, places)],
        )

    return build


def adaptive_pooling(kind, axes, first):
    def build(choose):
        counts = [choose.one_of(None, 1, 3) for _ in range(axes)]
        batch, channels, lengths = choose.size(), choose.size(), [choose.size() for _ in counts]
        places = [n if count is None else count for n, count in zip(lengths, counts, strict=True)]
        layer = getattr(nn, f"Adaptive{kind}Pool{axes}{'d' if first else 'D'}")(counts)
        return (
            layer,
            [array(*image(first, batch, channels, lengths))],
            [image(first, batch, channels, places)],
        )

    return build


def global_pooling(kind, axes):
    def build(choose):
        batch, channels, lengths = (
            choose.size(),
            choose.size(),
            [choose.size() for _ in range(axes)],
        )
        keepdims = choose.one_of(True, False)
        places = [1] * axes if keepdims else []
        layer = getattr(nn, f"Global{kind}Pool{axes}D")(keepdims=keepdims)
        return layer, [array(batch, *lengths, channels)], [(batch, *places, channels)]

    return build


def channel_norm(name):
    def build(choose):
        axis = choose.one_of(1, -1)
        spatial = (choose.size(2, 4), *choose.sizes(0, 1))
        channels = choose.one_of(2, 4)
        shape = image(axis == 1, choose.size(2, 3), channels, spatial)
        options = {"axis": axis, "use_weight": choose.one_of(True, False), "use_bias": True}
        groups = (2,) if name == "GroupNorm" else ()
        if not groups:
            options["track_running_stats"] = choose.one_of(True, False)
        return getattr(nn, name)(*groups, **options), [array(*shape)], [shape]

    return build


def spelled_norm(name, axes):
    def build(choose):
        shape = (choose.size(2, 3), choose.size(), *(choose.size(2, 3) for _ in range(axes)))
        affine = choose.one_of(True, False)
        layer = getattr(nn, name)(affine=affine, track_running_stats=choose.one_of(True, False))
        return layer, [array(*shape)], [shape]

    return build


def last_axes_norm(name):
    def build(choose):
        shape = choose.sizes(1, 3)
        axes = choose.size(1, len(shape))
        layer = getattr(nn, name)((None,) * axes, use_weight=choose.one_of(True, False))
        return layer, [array(*shape)], [shape]

    return build


def kept(make, low=1, high=3):
    """A layer that keeps the shape of an input of `low` to `high` axes."""

    def build(choose):
        shape = choose.sizes(low, high)
        return make(choose, shape), [array(*shape)], [shape]

    return build


def recurrent(name):
    def build(choose):
        batch, steps, width, hidden, layers = (choose.size(1, 3) for _ in range(5))
        both, batch_first = choose.one_of(True, False), choose.one_of(True, False)
        layer = getattr(nn, name)(
            hidden, num_layers=layers, bidirectional=both, batch_first=batch_first
        )
        lead = (batch, steps) if batch_first else (steps, batch)
        states = [(layers * (1 + both), batch, hidden)] * (1 + (name == "LSTM"))
        return layer, [array(*lead, width)], [(*lead, hidden * (1 + both)), *states]

    return build


def cell(name):
    def build(choose):
        lead, hidden = choose.sizes(0, 2), choose.size()
        layer = getattr(nn, name)(hidden, use_bias=choose.one_of(True, False))
        return layer, [array(*lead, choose.size())], [(*lead, hidden)] * (1 + (name == "LSTMCell"))

    return build


def over_cell(choose):
    batch, steps, width, hidden = (choose.size(1, 3) for _ in range(4))
    name, batch_first = choose.one_of("RNNCell", "LSTMCell"), choose.one_of(True, False)
    layer = nn.Recurrent(
        getattr(nn, name)(hidden), reverse=choose.one_of(True, False), batch_first=batch_first
    )
    lead = (batch, steps) if batch_first else (steps, batch)
    states = [(batch, hidden)] * (1 + (name == "LSTMCell"))
    return layer, [array(*lead, width)], [(*lead, hidden), *states]


def conv_lstm_cell(choose):
    axes, batch, inputs, channels = (choose.size(1, n) for n in (3, 2, 2, 2))
    first, lengths = choose.one_of(True, False), [choose.size(1, 3) for _ in range(axes)]
    layout = "".join(image(first, "N", "C", "DHW"[-axes:]))
    layer = nn.ConvLSTMCell(channels, [choose.size(1, 3) for _ in lengths], layout=layout)
    state = image(first, batch, channels, lengths)
    return layer, [array(*image(first, batch, inputs, lengths))], [state, state]


def multi_head_attention(choose):
    kv_heads, group, size = choose.size(1, 2), choose.size(1, 2), choose.one_of(2, 4)
    heads = kv_heads * group
    units, batch, queries, keys = heads * size, choose.size(), choose.size(), choose.size()
    layer = nn.MultiHeadAttention(
        units,
        heads,
        kv_heads=kv_heads,
        rotary=choose.one_of(None, nn.RotaryPositions()),
        causal=choose.one_of(True, False),
    )
    inputs = [array(batch, queries, units), array(batch, keys, choose.size())]
    return layer, inputs, [(batch, queries, units)]


def multihead_attention(choose):
    heads, batch, queries, keys = (choose.size() for _ in range(4))
    units, first = 2 * heads, choose.one_of(True, False)
    layer = nn.MultiheadAttention(None, heads, batch_first=first, bias=choose.one_of(True, False))
    ask, look = ((batch, queries), (batch, keys)) if first else ((queries, batch), (keys, batch))
    inputs = [array(*ask, units), array(*look, units), array(*look, units)]
    return layer, inputs, [(*ask, units), (batch, queries, keys)]


def transformer(name):
    def build(choose):
        heads, batch, length, memory = (
            choose.size(1, 2),
            choose.size(),
            choose.size(),
            choose.size(),
        )
        width = 2 * heads
        coder = "TransformerDecoder" if "Decoder" in name else "TransformerEncoder"
        layer = getattr(nn, f"{coder}Layer")(
            None, heads, 3, norm_first=choose.one_of(True, False), bias=choose.one_of(True, False)
        )
        if not name.endswith("Layer"):
            layer = getattr(nn, coder)(layer, choose.size(1, 2))
        inputs = [array(batch, length, width)]
        if "Decoder" in name:
            inputs.append(array(batch, memory, width))
        return layer, inputs, [(batch, length, width)]

    return build


def bilinear(choose):
    lead, units = choose.sizes(), choose.size()
    inputs = [array(*lead, choose.size()), array(*lead, choose.size())]
    return nn.Bilinear(units, use_bias=choose.one_of(True, False)), inputs, [(*lead, units)]


def embedding(choose):
    lead, features = choose.sizes(), choose.size()
    layer = nn.Embedding(choose.size(2, 5), features, padding_index=choose.one_of(None, 0, -1))
    return layer, [array(*lead, dtype="int32")], [(*lead, features)]


def embedding_bag(choose):
    lead, features = choose.sizes(), choose.size()
    layer = nn.EmbeddingBag(
        choose.size(2, 5),
        features,
        mode=choose.one_of("mean", "sum", "max"),
        padding_index=choose.one_of(None, 0),
    )
    return layer, [array(*lead, choose.size(), dtype="int32")], [(*lead, features)]


def dense(choose):
    lead, units = (choose.size(), *choose.sizes()), choose.size()
    flatten = choose.one_of(True, False)
    layer = nn.Dense(units, activation=choose.one_of(None, "relu"), flatten=flatten)
    return layer, [array(*lead, choose.size())], [(*(lead[:1] if flatten else lead), units)]


def linear(choose):
    lead, units = choose.sizes(), choose.size()
    layer = nn.Linear(None, units, choose.one_of(True, False))
    return layer, [array(*lead, choose.size())], [(*lead, units)]


def gated(name):
    def build(choose):
        shape = [2 * n for n in choose.sizes(1, 3)]
        axis = choose.size(0, len(shape) - 1)
        halved = tuple(n // 2 if i == axis else n for i, n in enumerate(shape))
        return getattr(nn, name)(axis), [array(*shape)], [halved]

    return build


def prelu(choose):
    shape = choose.sizes(1, 3)
    one, axis = choose.one_of(True, False), choose.size(0, len(shape) - 1)
    return nn.PReLU(1 if one else None, axis=axis), [array(*shape)], [shape]


def flatten(choose):
    shape = choose.sizes(1, 4)
    start = choose.size(0, len(shape) - 1)
    merged = 1
    for n in shape[start:]:
        merged *= n
    return nn.Flatten(start), [array(*shape)], [(*shape[:start], merged)]


LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def spatial(choose, least=1):
    """Whether the channels are first, the layout, and a shape."""
    first, axes = choose.one_of(True, False), choose.size(1, 3)
    layout = f"NC{LETTERS[axes]}" if first else choose.one_of(None, f"N{LETTERS[axes]}C")
    return first, layout, choose.size(), choose.size(), [choose.size(least) for _ in range(axes)]


def upsample(choose):
    first, layout, batch, channels, lengths = spatial(choose)
    mode = choose.one_of("nearest", "nearest-exact", "linear", "cubic")
    options = {"mode": mode, "layout": layout}
    if mode in ("linear", "cubic"):
        options[choose.one_of("align_corners", "antialias")] = choose.one_of(True, False)
    if choose.one_of(True, False):
        sizes = options["size"] = [choose.size() for _ in lengths]
    else:
        factors = options["scale"] = [choose.one_of(1, 1.5, 2, 2.7, 3) for _ in lengths]
        sizes = [int(n * factor) for n, factor in zip(lengths, factors, strict=True)]
    x, y = image(first, batch, channels, lengths), image(first, batch, channels, sizes)
    return nn.Upsample(**options), [array(*x)], [y]


def shuffle(name):
    def build(choose):
        first, layout, batch, channels, lengths = spatial(choose)
        factors = [choose.size(1, 3) for _ in lengths]
        parts = 1
        for factor in factors:
            parts *= factor
        many = image(first, batch, channels * parts, lengths)
        large = image(
            first, batch, channels, [n * r for n, r in zip(lengths, factors, strict=True)]
        )
        x, y = (many, large) if name == "PixelShuffle" else (large, many)
        return getattr(nn, name)(factors, layout=layout), [array(*x)], [y]

    return build


def pad(choose):
    first, layout, batch, channels, lengths = spatial(choose, 3)
    pads = [(choose.size(-1, 2), choose.size(-1, 2)) for _ in lengths]
    mode = choose.one_of("zeros", "reflect")
    x = image(first, batch, channels, lengths)
    y = image(first, batch, channels, [n + sum(p) for n, p in zip(lengths, pads, strict=True)])
    return nn.Pad(pads, mode, layout=layout), [array(*x)], [y]


def spelled_pad(name, axes):
    def build(choose):
        pads = [choose.size(0, 2) for _ in range(2 * axes)]
        lengths = [choose.size(3) for _ in range(axes)]
        batch, channels = choose.size(), choose.size()
        value = (0.5,) if name == "ConstantPad" else ()
        places = [n + a + b for n, a, b in zip(lengths, pads[-2::-2], pads[::-2], strict=True)]
        layer = getattr(nn, f"{name}{axes}d")(pads, *value)
        return layer, [array(batch, channels, *lengths)], [(batch, channels, *places)]

    return build


def channel_shuffle(choose):
    groups, lead = choose.size(1, 3), choose.sizes()
    shape = (*lead, groups * choose.size())
    return nn.ChannelShuffle(groups), [array(*shape)], [shape]


def unflatten(choose):
    shape, several = choose.sizes(1, 3), choose.sizes(1, 3)
    axis = choose.size(0, len(shape) - 1)
    whole = 1
    for n in several:
        whole *= n
    layer = nn.Unflatten(axis, choose.one_of(several, (-1, *several[1:])))
    x = (*shape[:axis], whole, *shape[axis + 1 :])
    return layer, [array(*x)], [(*shape[:axis], *several, *shape[axis + 1 :])]


def concurrent(choose):
    shape, widths = choose.sizes(), choose.sizes(1, 3)
    layer = nn.Concurrent(*(nn.Dense(n) for n in widths))
    return layer, [array(*shape, choose.size())], [(*shape, sum(widths))]


def sinusoidal(choose):
    shape = (*choose.sizes(0, 1), choose.size(), 2 * choose.size())
    return nn.SinusoidalPositions(), [array(*shape)], [shape]


def rotary(choose):
    shape = (choose.size(), choose.size(), choose.size(), 2 * choose.size())
    return nn.RotaryPositions(interleaved=choose.one_of(True, False)), [array(*shape)], [shape]


def sequential(choose):
    shape, units = choose.sizes(), choose.size()
    layer = nn.Sequential(nn.Dense(choose.size()), nn.ReLU(), nn.Dense(units))
    return layer, [array(*shape, choose.size())], [(*shape, units)]


LAYERS = {
    "Dense": dense,
    "Linear": linear,
    "Bilinear": bilinear,
    "Embedding": embedding,
    "EmbeddingBag": embedding_bag,
    **{f"Conv{n}D": convolution("Conv", n) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}D": convolution("ConvTranspose", n) for n in (1, 2, 3)},
    "DepthwiseConv2D": convolution("DepthwiseConv", 2),
    "SeparableConv2D": convolution("SeparableConv", 2),
    **{f"Conv{n}d": spelled_convolution("Conv", n) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": spelled_convolution("ConvTranspose", n) for n in (1, 2, 3)},
    **{
        f"{kind}Pool{n}{letter}": pooling(kind, n, letter == "d")
        for kind in ("Max", "Avg")
        for n in (1, 2, 3)
        for letter in "Dd"
    },
    **{
        f"Adaptive{kind}Pool{n}{letter}": adaptive_pooling(kind, n, letter == "d")
        for kind in ("Max", "Avg")
        for n in (1, 2, 3)
        for letter in "Dd"
    },
    **{
        f"Global{kind}Pool{n}D": global_pooling(kind, n)
        for kind in ("Max", "Avg")
        for n in (1, 2, 3)
    },
    **{name: channel_norm(name) for name in ("BatchNorm", "InstanceNorm", "GroupNorm")},
    **{
        f"{kind}Norm{n}d": spelled_norm(f"{kind}Norm{n}d", n)
        for kind in ("Batch", "Instance")
        for n in (1, 2, 3)
    },
    **{name: last_axes_norm(name) for name in ("LayerNorm", "RMSNorm")},
    "LocalResponseNorm": kept(
        lambda choose, shape: nn.LocalResponseNorm(choose.size(), axis=choose.one_of(0, -1))
    ),
    "Dropout": kept(lambda choose, shape: nn.Dropout(0.5, axes=choose.one_of((), 0, -1))),
    **{
        name: kept(lambda choose, shape, name=name: getattr(nn, name)(choose.one_of(0.0, 0.5)))
        for name in ("AlphaDropout", "GaussianDropout", "GaussianNoise", "DropPath")
    },
    **{name: recurrent(name) for name in ("RNN", "LSTM", "GRU")},
    **{name: cell(name) for name in ("RNNCell", "LSTMCell", "GRUCell")},
    "Recurrent": over_cell,
    "ConvLSTMCell": conv_lstm_cell,
    "MultiHeadAttention": multi_head_attention,
    "MultiheadAttention": multihead_attention,
    "SinusoidalPositions": sinusoidal,
    "LearnedPositions": kept(lambda choose, shape: nn.LearnedPositions(5), 2),
    "RotaryPositions": rotary,
    **{
        f"Transformer{kind}": transformer(f"Transformer{kind}")
        for kind in ("EncoderLayer", "DecoderLayer", "Encoder", "Decoder")
    },
    **{
        name: kept(lambda choose, shape, name=name: getattr(nn, name)())
        for name in (
            *("CELU", "ELU", "GELU", "SELU", "ReLU", "ReLU6", "LeakyReLU", "RReLU", "SiLU"),
            *("Swish", "HardSwish", "Mish", "Softplus", "Sigmoid", "HardSigmoid", "LogSigmoid"),
            *("Tanh", "HardTanh", "Softsign", "HardShrink", "SoftShrink", "TanhShrink"),
            "Identity",
        )
    },
    "Threshold": kept(lambda choose, shape: nn.Threshold(0.5, 2.0)),
    **{
        name: kept(lambda choose, shape, name=name: getattr(nn, name)(choose.one_of(0, -1)))
        for name in ("Softmax", "Softmin", "LogSoftmax")
    },
    **{name: gated(name) for name in ("GLU", "ReGLU", "GeGLU", "SwiGLU")},
    "PReLU": prelu,
    "Flatten": flatten,
    "Unflatten": unflatten,
    "Upsample": upsample,
    **{name: shuffle(name) for name in ("PixelShuffle", "PixelUnshuffle")},
    "ChannelShuffle": channel_shuffle,
    "Pad": pad,
    **{
        f"{name}Pad{n}d": spelled_pad(f"{name}Pad", n)
        for name in ("Zero", "Constant", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
    },
    "Lambda": kept(lambda choose, shape: nn.Lambda(lambda x: 2 * x)),
    "Sequential": sequential,
    "Concurrent": concurrent,
    "Residual": kept(lambda choose, shape: nn.Residual(nn.Dense(shape[-1]))),
    "Stack": kept(lambda choose, shape: nn.Stack(lambda: nn.Dense(shape[-1]), choose.size(1, 3))),
}
