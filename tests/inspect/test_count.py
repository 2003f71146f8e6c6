"""Counting parameters."""

import pytest

import ansatz as az
from ansatz import nn
from ansatz.inspect import count


def test_weights_and_biases_are_counted() -> None:
    # 20·256 + 256 + 256·10 + 10
    assert count(nn.Sequential(nn.Linear(20, 256), nn.Linear(256, 10))) == 7946


@pytest.mark.parametrize("transpose", [False, True])
def test_a_tied_parameter_counts_once(transpose: bool) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    az.tie(net, "0.weight", "1.weight", transpose=transpose)
    assert count(net) == 16 + 4 + 4


def test_the_tie_that_torchinfo_counts_twice_is_counted_once() -> None:
    # formats.md, section 6: torchinfo 1.8.0 says 144 for 80.
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    az.tie(net, "0.weight", "1.weight")
    assert count(net) == 80


def test_trained_and_frozen_parameters_are_told_apart() -> None:
    net = nn.Linear(3, 2)
    net.freeze("bias")
    assert (count(net, trainable=True), count(net, trainable=False)) == (6, 2)


def test_a_selection_is_counted() -> None:
    assert count(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)), "*.bias") == 3


def test_states_are_not_parameters() -> None:
    assert count(nn.BatchNorm(3)) == 6


def test_every_parameter_of_unknown_shape_is_named() -> None:
    net = nn.Sequential(nn.Dense(2), nn.Linear(2, 2), nn.Dense(1))
    with pytest.raises(az.DeferredInitializationError, match=r"'0\.weight', '2\.weight'"):
        count(net)
