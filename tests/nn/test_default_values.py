"""The values with which a layer starts, if nobody chooses, against what its docstring says.

The distributions are PyTorch's; those of ours that have no counterpart there are the docstring's.
"""

import math
import re
from fractions import Fraction

import jax
import numpy as np
import pytest
from scipy import stats

from ansatz import nn
from tests.nn.catalogue import LAYERS, Chooser

REJECT_BELOW = 1e-4


def fan_in(*sizes):
    """PyTorch's `kaiming_uniform_(a=√5)`, by the fan-in."""
    return 1 / math.sqrt(math.prod(sizes))


def glorot(inputs, outputs):
    return math.sqrt(6 / (inputs + outputs))


def array(*shape, dtype="float32"):
    return jax.ShapeDtypeStruct(shape, dtype)


def images(axes, channels, first=False):
    spatial = (4,) * axes
    return array(1, channels, *spatial) if first else array(1, *spatial, channels)


def gates(inputs, hidden):
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return dict.fromkeys(names, hidden**-0.5)


def layers_of(cell):
    return {f"{name}_l0": bound for name, bound in cell.items()}


TRANSFORMER = {
    "linear1.weight": fan_in(30),
    "linear1.bias": fan_in(30),
    "linear2.weight": fan_in(40),
    "linear2.bias": fan_in(40),
    "in_proj_weight": glorot(30, 30),
    "in_proj_bias": 0,
    "out_proj.weight": fan_in(30),
    "out_proj.bias": 0,
}
NORM = {"weight": 1, "bias": 0}


def encoder_layer():
    return nn.TransformerEncoderLayer(None, 2, 40)


def decoder_layer():
    return nn.TransformerDecoderLayer(None, 2, 40)


# A layer, its inputs, and how the parameters start whose names end so: a constant if it is a whole
# number or a fraction, the bound of a uniform distribution if not, or a distribution of scipy.
CASES = {
    "Dense": (nn.Dense(40), [array(1, 50)], {"weight": fan_in(50), "bias": 0}),
    "Linear": (nn.Linear(None, 40), [array(1, 50)], {"weight": fan_in(50), "bias": fan_in(50)}),
    "Bilinear": (
        nn.Bilinear(40),
        [array(1, 9), array(1, 7)],
        {"weight": fan_in(9), "bias": fan_in(9)},
    ),
    "Embedding": (nn.Embedding(50, 40), [array(1, dtype="int32")], {"weight": stats.norm()}),
    "EmbeddingBag": (
        nn.EmbeddingBag(50, 40),
        [array(1, 2, dtype="int32")],
        {"weight": stats.norm()},
    ),
    **{
        f"Conv{n}D": (
            getattr(nn, f"Conv{n}D")(60, 3, groups=2),
            [images(n, 8)],
            {"weight": fan_in(4, 3**n), "bias": 0},
        )
        for n in (1, 2, 3)
    },
    **{
        f"Conv{n}d": (
            getattr(nn, f"Conv{n}d")(None, 60, 3, groups=2),
            [images(n, 8, True)],
            {"weight": fan_in(4, 3**n), "bias": fan_in(4, 3**n)},
        )
        for n in (1, 2, 3)
    },
    **{
        f"ConvTranspose{n}D": (
            getattr(nn, f"ConvTranspose{n}D")(60, 3, groups=2),
            [images(n, 8)],
            {"weight": fan_in(30, 3**n), "bias": 0},
        )
        for n in (1, 2, 3)
    },
    **{
        f"ConvTranspose{n}d": (
            getattr(nn, f"ConvTranspose{n}d")(None, 60, 3, groups=2),
            [images(n, 8, True)],
            {"weight": fan_in(30, 3**n), "bias": fan_in(30, 3**n)},
        )
        for n in (1, 2, 3)
    },
    "DepthwiseConv2D": (
        nn.DepthwiseConv2D(3, multiplier=9),
        [images(2, 8)],
        {"weight": fan_in(9), "bias": 0},
    ),
    "SeparableConv2D": (
        nn.SeparableConv2D(40, 3, multiplier=9),
        [images(2, 8)],
        {"depthwise.weight": fan_in(9), "pointwise.weight": fan_in(72), "bias": 0},
    ),
    "BatchNorm": (nn.BatchNorm(), [array(4, 5)], NORM),
    **{
        f"BatchNorm{n}d": (getattr(nn, f"BatchNorm{n}d")(), [images(n, 5, True)], NORM)
        for n in (1, 2, 3)
    },
    "InstanceNorm": (nn.InstanceNorm(use_weight=True, use_bias=True), [array(2, 3, 5)], NORM),
    **{
        f"InstanceNorm{n}d": (
            getattr(nn, f"InstanceNorm{n}d")(affine=True),
            [images(n, 5, True)],
            NORM,
        )
        for n in (1, 2, 3)
    },
    "GroupNorm": (nn.GroupNorm(2), [array(4, 6)], NORM),
    "LayerNorm": (nn.LayerNorm(), [array(4, 6)], NORM),
    "RMSNorm": (nn.RMSNorm(), [array(4, 6)], {"weight": 1}),
    **{
        name: (getattr(nn, name)(30), [array(1, 2, 20)], layers_of(gates(20, 30)))
        for name in ("RNN", "LSTM", "GRU")
    },
    **{
        name: (getattr(nn, name)(30), [array(1, 20)], gates(20, 30))
        for name in ("RNNCell", "LSTMCell", "GRUCell")
    },
    "ConvLSTMCell": (
        nn.ConvLSTMCell(20, 3),
        [images(2, 8)],
        {"weight_ih": fan_in(8, 9), "weight_hh": fan_in(20, 9), "bias": 0},
    ),
    "MultiHeadAttention": (
        nn.MultiHeadAttention(40, 4),
        [array(1, 3, 50)],
        {
            **{f"{name}.weight": glorot(50, 40) for name in ("query", "key", "value")},
            "out.weight": fan_in(40),
            "bias": 0,
        },
    ),
    "MultiheadAttention": (
        nn.MultiheadAttention(None, 2),
        [array(1, 3, 30)] * 3,
        {name: TRANSFORMER[name] for name in TRANSFORMER if "proj" in name},
    ),
    "LearnedPositions": (
        nn.LearnedPositions(50),
        [array(1, 2, 40)],
        {"weight": stats.norm(0, 0.02)},
    ),
    "TransformerEncoderLayer": (
        encoder_layer(),
        [array(1, 3, 30)],
        TRANSFORMER | {f"norm{n}.{name}": value for n in (1, 2) for name, value in NORM.items()},
    ),
    "TransformerDecoderLayer": (
        decoder_layer(),
        [array(1, 3, 30)] * 2,
        TRANSFORMER | {f"norm{n}.{name}": value for n in (1, 2, 3) for name, value in NORM.items()},
    ),
    "PReLU": (nn.PReLU(None), [array(1, 5)], {"weight": Fraction(1, 4)}),
}
# Their parameters are those of other layers.
OF_OTHERS = {"Sequential", "Concurrent", "Residual", "Stack", "Recurrent"} | {
    "TransformerEncoder",
    "TransformerDecoder",
}


def test_no_layer_with_parameters_is_left_out():
    made = {name: LAYERS[name](Chooser())[0] for name in LAYERS}
    with_parameters = {name for name, layer in made.items() if [*layer.parameters()]}
    assert with_parameters - OF_OTHERS <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_layer_starts_as_its_docstring_says(name):
    layer, inputs, expected = CASES[name]
    layer.settle_shapes(*inputs)
    layer.initialize(seed=0)
    left = dict(layer.named_parameters())
    assert left
    for ending, start in expected.items():
        found = [path for path in left if re.search(rf"(^|\.){re.escape(ending)}$", path)]
        assert found, ending
        for path in found:
            values = np.asarray(left.pop(path).value, "float64").ravel()
            if isinstance(start, Fraction | int):
                assert (values == start).all(), path
            elif isinstance(start, float):
                assert np.abs(values).max() <= start, path
                uniform = stats.uniform(-start, 2 * start)
                assert stats.kstest(values, uniform.cdf).pvalue > REJECT_BELOW, path
            else:
                assert stats.kstest(values, start.cdf).pvalue > REJECT_BELOW, path
    assert not left
