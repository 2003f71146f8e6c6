"""Dense layers against PyTorch."""

import pytest

from ansatz import nn
from tests.parity import replay

CASES = replay.load("linear")
OURS = {
    "linear": lambda: nn.Linear(5, 3),
    "linear without bias": lambda: nn.Dense(3, use_bias=False),
    "linear over three axes": lambda: nn.Dense(3),
}


@pytest.mark.parametrize("name", CASES)
def test_a_dense_layer_computes_what_pytorch_computes(name):
    replay.check(CASES[name], OURS[name]())
