import jax.numpy as jnp
import pytest

from ansatz import nn
from ansatz.nn.activation_functions import by_name, checked_activation, spelled
from tests.nn.reference import Cases, close

CASES = Cases("activations")


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("celu", "CELU"),
        ("elu", "ELU"),
        ("gelu", "GELU"),
        ("gelu_tanh", "GELU tanh"),
        ("hard_sigmoid", "HardSigmoid"),
        ("hard_swish", "HardSwish"),
        ("hard_tanh", "HardTanh"),
        ("leaky_relu", "LeakyReLU"),
        ("log_sigmoid", "LogSigmoid"),
        ("log_softmax", "LogSoftmax"),
        ("mish", "Mish"),
        ("relu", "ReLU"),
        ("relu6", "ReLU6"),
        ("selu", "SELU"),
        ("sigmoid", "Sigmoid"),
        ("silu", "SiLU"),
        ("softmax", "Softmax"),
        ("softplus", "Softplus"),
        ("softsign", "Softsign"),
        ("swish", "SiLU"),
        ("tanh", "Tanh"),
    ],
)
def test_each_name_is_the_function_of_pytorch(name, case):
    close(by_name(name)(jnp.asarray(CASES[case]["x"])), CASES[case]["y"], rtol=3e-5)


def test_a_near_name_is_suggested():
    with pytest.raises(ValueError, match=r"did you mean .*'gelu'"):
        by_name("gellu")
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        by_name("ReLU")


def test_a_number_is_no_activation():
    with pytest.raises(TypeError, match="3 of type int"):
        checked_activation(3)


def test_names_functions_layers_and_nothing_are_accepted():
    for choice in ("relu", jnp.tanh, nn.ReLU(), None):
        assert checked_activation(choice) is choice


def test_a_function_is_printed_by_its_name():
    assert spelled(jnp.sin) == "sin"
    assert spelled("relu") == "relu"
