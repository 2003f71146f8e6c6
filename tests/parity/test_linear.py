"""Dense and bilinear layers against PyTorch."""

import pytest

from ansatz import nn
from tests.parity import replay

CASES = replay.load("linear")
OURS = {
    "linear": [lambda: nn.Linear(5, 3), lambda: nn.Dense(3)],
    "linear without bias": [
        lambda: nn.Dense(3, use_bias=False),
        lambda: nn.Linear(5, 3, bias=False),
    ],
    "linear over three axes": [lambda: nn.Dense(3), lambda: nn.Linear(None, 3)],
    "linear of one example": [lambda: nn.Dense(3, 5)],
    "bilinear": [lambda: nn.Bilinear(3), lambda: nn.Bilinear(3, 5, 2)],
    "bilinear without bias": [lambda: nn.Bilinear(3, use_bias=False)],
}


@pytest.mark.parametrize("name", CASES)
def test_a_layer_computes_what_pytorch_computes(name):
    for build in OURS[name]:
        replay.check(CASES[name], build())
