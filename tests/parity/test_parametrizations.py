"""Weight norm and spectral norm against `torch.nn.utils.parametrizations`."""

import pytest

from ansatz import nn
from tests.parity import replay

CASES = replay.load("parametrizations")
OURS = {
    "weight norm along 0": lambda layer: nn.weight_norm(layer),
    "weight norm along 1": lambda layer: nn.weight_norm(layer, axis=1),
    "weight norm along None": lambda layer: nn.weight_norm(layer, axis=None),
    "spectral norm in training": lambda layer: nn.spectral_norm(layer),
    "spectral norm with three steps": lambda layer: nn.spectral_norm(
        layer, n_power_iterations=3, axis=1
    ),
    "spectral norm in evaluation": lambda layer: nn.spectral_norm(layer).eval(),
}


@pytest.mark.parametrize("build", [lambda: nn.Linear(5, 3), lambda: nn.Dense(3)])
@pytest.mark.parametrize("name", CASES)
def test_a_parametrised_layer_computes_what_pytorch_computes(name, build):
    replay.check(CASES[name], OURS[name](build()))


@pytest.mark.parametrize("name", CASES)
def test_the_names_are_those_of_pytorch(name):
    assert sorted(OURS[name](nn.Linear(5, 3)).state_dict()) == sorted(CASES[name].state)


def test_power_iteration_moves_on_in_training_only():
    assert sorted(CASES["spectral norm in training"].updated) == [
        "parametrizations.weight.0._u",
        "parametrizations.weight.0._v",
    ]
    assert not CASES["spectral norm in evaluation"].updated
