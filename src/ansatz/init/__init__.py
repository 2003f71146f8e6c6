"""Initialisers: objects that fill a parameter with its first values, and in-place functions.

An initialiser is given where a parameter is declared (`init.Xavier()`, or by its name, `"xavier"`),
or to `net.initialize`. The functions that end in `_` act on one parameter at once, as in
`torch.nn.init`.
"""

from ansatz.core.initializer import FanInUniform, FromFunction, Initializer, Spec
from ansatz.init.constants import Constant, Ones, Zeros
from ansatz.init.distributions import Normal, Uniform
from ansatz.init.gains import calculate_gain
from ansatz.init.inplace import (
    constant_,
    kaiming_normal_,
    kaiming_uniform_,
    normal_,
    ones_,
    trunc_normal_,
    uniform_,
    xavier_normal_,
    xavier_uniform_,
    zeros_,
)
from ansatz.init.scaled import Kaiming, Xavier
from ansatz.init.truncated import TruncatedNormal

__all__ = [
    "Constant",
    "FanInUniform",
    "FromFunction",
    "Initializer",
    "Kaiming",
    "Normal",
    "Ones",
    "Spec",
    "TruncatedNormal",
    "Uniform",
    "Xavier",
    "Zeros",
    "calculate_gain",
    "constant_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]
