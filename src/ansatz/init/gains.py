"""Gains: by how much a nonlinearity shrinks its input, to be made up for by the weights."""

from __future__ import annotations

import math

from ansatz.core.errors import InitializationError
from ansatz.init.arguments import finite, one_of

_CONSTANT = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}
_WITHOUT = ("celu", "elu", "gelu", "mish", "silu", "swish")
_KNOWN = (*_CONSTANT, "leaky_relu")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The recommended gain for the layer before a nonlinearity, with PyTorch's constants.

    | nonlinearity | gain |
    | --- | --- |
    | `linear`, `conv1d` … `conv_transpose3d`, `sigmoid` | 1 |
    | `tanh` | 5/3 |
    | `relu` | √2 (He et al., 2015, eq. 10) |
    | `leaky_relu` | √(2 / (1 + param²)) (He et al., 2015, eq. 15), `param` 0.01 by default |
    | `selu` | 3/4 |

    Args:
        nonlinearity: a name from the table.
        param: the slope of `leaky_relu` below zero; the others have none.

    Raises:
        InitializationError: the name is unknown, or `param` is not a number.

    Example:
        >>> from ansatz import init
        >>> init.calculate_gain("leaky_relu", 0.2)
        1.3867504905630728
    """
    if nonlinearity in _WITHOUT:
        raise InitializationError(
            f"nonlinearity of calculate_gain must be one of {', '.join(map(repr, _KNOWN))}; got "
            f"{nonlinearity!r}, for which none is recommended; that of 'relu' comes near"
        )
    name = one_of("calculate_gain", "nonlinearity", nonlinearity, _KNOWN)
    if name == "leaky_relu":
        slope = 0.01 if param is None else finite("calculate_gain", "param", param)
        return math.sqrt(2 / (1 + slope**2))
    return _CONSTANT[name]
