"""Initialisers: objects that fill a parameter with its first values, and in-place functions.

An initialiser is given where a parameter is declared (`init.Xavier()`, or by its name, `"xavier"`),
or to `net.initialize`. The functions that end in `_` act on one parameter at once, as in
`torch.nn.init`.
"""

from typing import TYPE_CHECKING

from ansatz.core.initializer import FanInUniform, FromFunction, Initializer, Spec
from ansatz.init.bilinear import Bilinear
from ansatz.init.constants import Constant, Ones, Zeros
from ansatz.init.distributions import Normal, Uniform
from ansatz.init.gains import calculate_gain
from ansatz.init.gates import LSTMBias
from ansatz.init.identity import Dirac, Identity
from ansatz.init.inplace import (
    constant_,
    dirac_,
    eye_,
    kaiming_normal_,
    kaiming_uniform_,
    normal_,
    ones_,
    orthogonal_,
    sparse_,
    trunc_normal_,
    uniform_,
    xavier_normal_,
    xavier_uniform_,
    zeros_,
)
from ansatz.init.load import Load
from ansatz.init.orthogonal import Orthogonal
from ansatz.init.scaled import Kaiming, LeCun, MSRAPrelu, VarianceScaling, Xavier
from ansatz.init.sparse import Sparse
from ansatz.init.spelling import no_such_name
from ansatz.init.truncated import TruncatedNormal

if not TYPE_CHECKING:  # To a type checker, every name would be there.

    def __getattr__(name: str) -> None:
        """Say what a name of another library is called here."""
        raise no_such_name(name, __all__)


__all__ = [
    "Bilinear",
    "Constant",
    "Dirac",
    "FanInUniform",
    "FromFunction",
    "Identity",
    "Initializer",
    "Kaiming",
    "LSTMBias",
    "LeCun",
    "Load",
    "MSRAPrelu",
    "Normal",
    "Ones",
    "Orthogonal",
    "Sparse",
    "Spec",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "Xavier",
    "Zeros",
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]
