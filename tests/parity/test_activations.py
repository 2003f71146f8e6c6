"""Activations against PyTorch, as layers and by name, also where they have a kink."""

import jax.numpy as jnp
import pytest

from ansatz import nn
from ansatz.nn.activation_functions import by_name
from tests.nn.reference import close
from tests.parity import replay

CASES = replay.load("activations")
OURS = {
    "CELU": nn.CELU(),
    "CELU 2": nn.CELU(2.0),
    "ELU": nn.ELU(),
    "ELU 0.5": nn.ELU(0.5),
    "GELU": nn.GELU(),
    "GELU tanh": nn.GELU(approximate=True),
    "GLU": nn.GLU(),
    "GLU 0": nn.GLU(axis=0),
    "GeGLU": nn.GeGLU(),
    "HardShrink": nn.HardShrink(),
    "HardShrink 1": nn.HardShrink(1),
    "HardSigmoid": nn.HardSigmoid(),
    "HardSwish": nn.HardSwish(),
    "HardTanh": nn.HardTanh(),
    "HardTanh -2 0.5": nn.HardTanh(-2, 0.5),
    "LeakyReLU": nn.LeakyReLU(),
    "LeakyReLU 0.2": nn.LeakyReLU(0.2),
    "LogSigmoid": nn.LogSigmoid(),
    "LogSoftmax": nn.LogSoftmax(),
    "LogSoftmax 0": nn.LogSoftmax(axis=0),
    "Mish": nn.Mish(),
    "PReLU": nn.PReLU(),
    "PReLU 3 in the second axis": nn.PReLU(None, axis=1),
    "PReLU 8": nn.PReLU(8),
    "RReLU": nn.RReLU(0.1, 0.4).eval(),
    "ReGLU": nn.ReGLU(),
    "ReLU": nn.ReLU(),
    "ReLU6": nn.ReLU6(),
    "SELU": nn.SELU(),
    "SiLU": nn.SiLU(),
    "Sigmoid": nn.Sigmoid(),
    "SoftShrink": nn.SoftShrink(),
    "SoftShrink 1": nn.SoftShrink(1),
    "Softmax": nn.Softmax(),
    "Softmax 0": nn.Softmax(axis=0),
    "Softmin": nn.Softmin(),
    "Softplus": nn.Softplus(),
    "Softplus 2": nn.Softplus(beta=2),
    "Softsign": nn.Softsign(),
    "SwiGLU": nn.SwiGLU(),
    "Swish 1.5": nn.Swish(1.5),
    "Tanh": nn.Tanh(),
    "TanhShrink": nn.TanhShrink(),
    "Threshold": nn.Threshold(0.5, -2),
}
NAMES = {
    "celu": "CELU",
    "elu": "ELU",
    "geglu": "GeGLU",
    "gelu": "GELU",
    "gelu_tanh": "GELU tanh",
    "glu": "GLU",
    "hard_shrink": "HardShrink",
    "hard_sigmoid": "HardSigmoid",
    "hard_swish": "HardSwish",
    "hard_tanh": "HardTanh",
    "leaky_relu": "LeakyReLU",
    "log_sigmoid": "LogSigmoid",
    "log_softmax": "LogSoftmax",
    "mish": "Mish",
    "reglu": "ReGLU",
    "relu": "ReLU",
    "relu6": "ReLU6",
    "selu": "SELU",
    "sigmoid": "Sigmoid",
    "silu": "SiLU",
    "soft_shrink": "SoftShrink",
    "softmax": "Softmax",
    "softmin": "Softmin",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "swiglu": "SwiGLU",
    "swish": "SiLU",
    "tanh": "Tanh",
    "tanh_shrink": "TanhShrink",
    "threshold": "ReLU",
}


@pytest.mark.parametrize("name", CASES)
def test_an_activation_computes_what_pytorch_computes(name):
    layer = OURS[name.removesuffix(" at kinks")]
    replay.check(CASES[name], layer, rtol=3e-5, atol=5e-6)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_the_function_of_pytorch(name):
    case = CASES[NAMES[name]]
    close(by_name(name)(jnp.asarray(case.inputs[0])), case.outputs[0], rtol=3e-5, atol=5e-6)
