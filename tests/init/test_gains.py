import math

import pytest

import ansatz as az
from ansatz import init


@pytest.mark.parametrize(
    ("nonlinearity", "gain"),
    [
        ("linear", 1),
        ("conv1d", 1),
        ("conv2d", 1),
        ("conv3d", 1),
        ("conv_transpose1d", 1),
        ("conv_transpose2d", 1),
        ("conv_transpose3d", 1),
        ("sigmoid", 1),
        ("tanh", 5 / 3),
        ("relu", math.sqrt(2)),
        ("selu", 3 / 4),
    ],
)
def test_gains_have_the_constants_of_pytorch(nonlinearity, gain):
    assert init.calculate_gain(nonlinearity) == gain


@pytest.mark.parametrize("slope", [0.01, 0, 0.2, 10, 1])
def test_the_gain_of_a_leaky_relu_follows_from_its_slope(slope):
    assert init.calculate_gain("leaky_relu", slope) == math.sqrt(2 / (1 + slope**2))


def test_the_default_slope_of_a_leaky_relu_is_a_hundredth():
    assert init.calculate_gain("leaky_relu") == init.calculate_gain("leaky_relu", 0.01)
    assert round(init.calculate_gain("leaky_relu"), 5) == 1.41414


@pytest.mark.parametrize("slope", [True, [0.1], "0.1", math.nan, math.inf])
def test_a_slope_that_is_no_number_is_refused(slope):
    with pytest.raises(az.InitializationError, match="param of calculate_gain"):
        init.calculate_gain("leaky_relu", slope)


@pytest.mark.parametrize("name", ["gelu", "silu", "swish", "elu", "mish", "softplus", "", 3, None])
def test_unknown_names_are_refused_with_a_list_of_the_known_ones(name):
    with pytest.raises(az.InitializationError, match=r"'tanh', 'relu', 'selu', 'leaky_relu'; got"):
        init.calculate_gain(name)


def test_a_mistyped_name_gets_a_hint():
    with pytest.raises(az.InitializationError, match=r"did you mean 'leaky_relu'"):
        init.calculate_gain("leakyrelu")
