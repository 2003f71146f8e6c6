import math

import numpy as np
import pytest
from scipy import stats

import ansatz as az
from ansatz import init, nn

REJECT_BELOW = 1e-4


def draw(initializer, shape, *, seed=0, fan_axes=(1, 0)):
    parameter = az.Parameter(shape, fan_axes=fan_axes)
    parameter.initialize(initializer, seed=seed)
    return np.asarray(parameter.value, np.float64).reshape(-1)


def assert_uniform(drawn, bound):
    assert np.abs(drawn).max() <= bound * (1 + 1e-7)
    assert stats.kstest(drawn, "uniform", (-bound, 2 * bound)).pvalue > REJECT_BELOW


def assert_normal(drawn, std):
    assert stats.kstest(drawn / std, "norm").pvalue > REJECT_BELOW
    assert abs(drawn.var() / std**2 - 1) < 4 * (2 / drawn.size) ** 0.5


# Bounds and spreads that MXNet gave for these shapes (table in the reference on Gluon).
@pytest.mark.parametrize(
    ("initializer", "shape", "bound"),
    [
        (init.Xavier(), (400, 300), 0.0926),
        (init.Xavier(factor_type="in", magnitude=2.34), (400, 300), 0.0883),
        (init.Xavier(factor_type="out"), (400, 300), 0.0866),
        (init.Xavier(factor_type="in"), (64, 32, 3, 3), 0.1021),
        (init.Xavier(factor_type="out"), (64, 32, 3, 3), 0.0722),
    ],
)
def test_uniform_xavier_has_the_bounds_of_gluon(initializer, shape, bound):
    drawn = draw(initializer, shape)
    assert abs(np.abs(drawn).max() - bound) < 6e-5
    assert stats.kstest(drawn / np.abs(drawn).max(), "uniform", (-1, 2)).pvalue > REJECT_BELOW


def test_gaussian_xavier_has_the_spread_of_gluon():
    drawn = draw(init.Xavier("gaussian", "in", 2), (400, 300))
    assert abs(drawn.std() - 0.0818) < 4 * 0.0818 / (2 * drawn.size) ** 0.5
    assert_normal(drawn, math.sqrt(2 / 300))


def test_glorot_normal_is_gaussian_with_magnitude_one():
    assert_normal(draw(init.Xavier("gaussian", magnitude=1), (400, 300)), math.sqrt(2 / 700))


@pytest.mark.parametrize(
    ("factor_type", "fan"), [("in", 8 * 9), ("out", 30 * 9), ("avg", (8 + 30) * 9 / 2)]
)
@pytest.mark.parametrize("rnd_type", ["uniform", "gaussian"])
def test_every_form_of_xavier_has_its_distribution(rnd_type, factor_type, fan):
    drawn = draw(init.Xavier(rnd_type, factor_type, 2.5), (30, 8, 3, 3))
    scale = math.sqrt(2.5 / fan)
    if rnd_type == "uniform":
        assert_uniform(drawn, scale)
    else:
        assert_normal(drawn, scale)


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 8 * 9), ("fan_out", 30 * 9)])
@pytest.mark.parametrize(
    ("options", "gain"),
    [
        ({}, math.sqrt(2)),
        ({"nonlinearity": "tanh"}, 5 / 3),
        ({"nonlinearity": "leaky_relu", "param": 0.5}, math.sqrt(2 / 1.25)),
        ({"gain": 0.5}, 0.5),
    ],
)
def test_every_form_of_kaiming_has_its_distribution(mode, fan, options, gain):
    std = gain / math.sqrt(fan)
    shape = (30, 8, 3, 3)
    assert_normal(draw(init.Kaiming(mode, **options), shape), std)
    uniform = init.Kaiming(mode, distribution="uniform", **options)
    assert_uniform(draw(uniform, shape), math.sqrt(3) * std)


def assert_cut_normal(drawn, std):
    # The standard deviation of N(0, 1) between -2 and 2, so that what is cut has variance std².
    uncut = std / stats.truncnorm(-2, 2).std()
    assert stats.kstest(drawn / uncut, stats.truncnorm(-2, 2).cdf).pvalue > REJECT_BELOW
    # Of this distribution: E x⁴ - (E x²)² = 1.3704 - 0.5987 in units of `uncut`.
    fourth = stats.truncnorm(-2, 2).moment(4) * uncut**4
    assert abs(drawn.var() - std**2) < 4 * math.sqrt((fourth - std**4) / drawn.size)


ASSERT = {"normal": assert_normal, "truncated_normal": assert_cut_normal}
FANS = {"fan_in": 8 * 9, "fan_out": 30 * 9, "fan_avg": (8 + 30) * 9 / 2}


@pytest.mark.parametrize("mode", FANS)
@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
def test_every_form_of_variance_scaling_has_its_distribution(mode, distribution):
    drawn = draw(init.VarianceScaling(1.7, mode, distribution), (30, 8, 3, 3))
    std = math.sqrt(1.7 / FANS[mode])
    if distribution == "uniform":
        assert_uniform(drawn, math.sqrt(3) * std)
    else:
        ASSERT[distribution](drawn, std)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
def test_lecun_has_the_variance_of_one_input(distribution):
    drawn = draw(init.LeCun(distribution), (300, 100))
    if distribution == "uniform":
        assert_uniform(drawn, math.sqrt(3 / 100))
    else:
        ASSERT[distribution](drawn, 0.1)


def test_truncated_kaiming_is_the_he_normal_of_jax():
    assert_cut_normal(draw(init.Kaiming(distribution="truncated_normal"), (300, 200)), 0.1)


# The spreads that MXNet gave for (400, 300); see the reference on Gluon.
@pytest.mark.parametrize(
    ("initializer", "std", "exact"),
    [
        (init.MSRAPrelu(), 0.0735, math.sqrt(2 / (1 + 0.25**2) / 350)),
        (init.MSRAPrelu("in", 0), 0.0820, math.sqrt(2 / 300)),
        (init.MSRAPrelu("out", 0.5), None, math.sqrt(2 / 1.25 / 400)),
    ],
)
def test_msraprelu_has_the_spread_of_gluon(initializer, std, exact):
    drawn = draw(initializer, (400, 300))
    assert_normal(drawn, exact)
    if std is not None:
        assert abs(drawn.std() - std) < 4 * 0.08 / math.sqrt(drawn.size)


@pytest.mark.parametrize(
    ("special", "general"),
    [
        (init.Kaiming(), init.VarianceScaling(2)),
        (init.Xavier(), init.VarianceScaling(1, "fan_avg", "uniform")),
        (init.Xavier("gaussian", magnitude=1), init.VarianceScaling(1, "fan_avg")),
        (init.LeCun(), init.VarianceScaling()),
        (init.FanInUniform(), init.VarianceScaling(1 / 3, "fan_in", "uniform")),
        (init.MSRAPrelu("in", 0), init.VarianceScaling(2)),
    ],
)
def test_the_table_of_variance_scaling_tells_the_truth(special, general):
    np.testing.assert_allclose(draw(special, (30, 8, 3)), draw(general, (30, 8, 3)), rtol=1e-6)


def test_kaiming_normal_is_not_truncated_like_the_one_of_jax():
    drawn = draw(init.Kaiming(), (400, 300))
    assert np.abs(drawn).max() > 3.5 * math.sqrt(2 / 300)


def test_declared_fan_axes_are_followed():
    # 300 inputs and 30 outputs stored as (in, out): √(6 / 300), not √(6 / 30).
    drawn = draw(init.Kaiming(distribution="uniform"), (300, 30), fan_axes=(0, 1))
    assert_uniform(drawn, math.sqrt(6 / 300))


@pytest.mark.parametrize(
    "initializer",
    [init.Xavier(), init.Kaiming(), init.LeCun(), init.MSRAPrelu(), init.VarianceScaling()],
)
@pytest.mark.parametrize("shape", [(), (5,)])
def test_vectors_are_refused_by_path(initializer, shape):
    net = nn.Sequential(nn.Dense(2, in_units=2))
    net[0].scale = az.Parameter(shape)
    with pytest.raises(az.InitializationError, match=r"parameter '0.scale' .*at least 2 dim"):
        net.initialize(initializer)
    assert not net[0].weight.has_value


@pytest.mark.parametrize(
    "initializer",
    [
        init.Xavier(),
        init.Xavier("gaussian"),
        init.Kaiming(),
        init.LeCun("truncated_normal"),
        init.MSRAPrelu(),
        init.VarianceScaling(mode="fan_avg", distribution="truncated_normal"),
    ],
)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (3, 2, 0)])
def test_empty_arrays_are_drawn(initializer, shape):
    assert draw(initializer, shape).size == 0


@pytest.mark.parametrize(
    "initializer", [init.Xavier(), init.Kaiming(), init.LeCun(), init.VarianceScaling(0)]
)
def test_integers_are_refused_by_path(initializer):
    with pytest.raises(az.InitializationError, match="dtype int32"):
        az.Parameter((3, 3), dtype="int32").initialize(initializer)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: init.Xavier("normal"),
            r"rnd_type of Xavier .*'uniform', 'gaussian'; got 'normal'",
        ),
        (lambda: init.Xavier(factor_type="average"), "factor_type of Xavier .*'avg', 'in', 'out'"),
        (lambda: init.Xavier(factor_type=None), "factor_type of Xavier"),
        (lambda: init.Xavier(magnitude=-1), "magnitude of Xavier must not be negative"),
        (lambda: init.Xavier(magnitude=math.nan), "magnitude of Xavier"),
        (lambda: init.Kaiming("fan_avg"), "mode of Kaiming .*'fan_in', 'fan_out'; got 'fan_avg'"),
        (lambda: init.Kaiming(nonlinearity="gelu"), "nonlinearity of calculate_gain"),
        (lambda: init.Kaiming(distribution="gaussian"), "distribution of Kaiming"),
        (lambda: init.MSRAPrelu("fan_in"), "factor_type of MSRAPrelu .*'avg', 'in', 'out'"),
        (lambda: init.MSRAPrelu(slope=math.nan), "slope of MSRAPrelu"),
        (lambda: init.LeCun("gaussian"), "distribution of LeCun .*'truncated_normal'"),
        (lambda: init.VarianceScaling(-1), "scale of VarianceScaling must not be negative"),
        (lambda: init.VarianceScaling(mode="avg"), "mode of VarianceScaling .*did you mean"),
        (lambda: init.VarianceScaling(distribution="trunc_normal"), "did you mean 'truncated_nor"),
        (lambda: init.Kaiming(gain=-1), "gain of Kaiming"),
        (lambda: init.Kaiming(gain=math.inf), "gain of Kaiming"),
        (lambda: init.Kaiming(nonlinearity="leaky_relu", param=True), "param of calculate_gain"),
    ],
)
def test_bad_arguments_are_refused_at_construction(build, message):
    with pytest.raises(az.InitializationError, match=message):
        build()


def second_moments(initializer, function, layers=20, width=512, seed=0):
    """Of the pre-activations of square layers, from a standard normal input."""
    x = np.random.default_rng(seed).standard_normal((width, 64))
    moments = []
    for layer in range(layers):
        x = draw(initializer, (width, width), seed=1000 * seed + layer).reshape(width, width) @ x
        moments.append((x**2).mean())
        x = function(x)
    return np.array(moments)


def test_he_normal_keeps_the_signal_through_twenty_relu_layers():
    def relu(x):
        return np.maximum(x, 0)

    moments = np.mean([second_moments(init.Kaiming(), relu, seed=s) for s in range(8)], axis=0)
    assert abs(moments[0] - 2) < 0.1
    assert 1 < moments[-1] < 3


def test_glorot_keeps_the_signal_through_twenty_linear_layers():
    moments = np.mean([second_moments(init.Xavier(), lambda x: x, seed=s) for s in range(8)], 0)
    assert abs(moments[-1] - 1) < 0.2


def test_a_tanh_with_its_gain_settles_and_without_it_decays():
    assert 1.0 < second_moments(init.Kaiming(nonlinearity="tanh"), np.tanh)[-1] < 1.35
    assert second_moments(init.Kaiming(gain=1), np.tanh)[-1] < 0.1
