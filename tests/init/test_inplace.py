"""The functions of `torch.nn.init`, with its names, defaults and numbers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ansatz as az
from ansatz import init, nn

REJECT_BELOW = 1e-4
FUNCTIONS = [
    init.normal_,
    init.uniform_,
    init.zeros_,
    init.ones_,
    init.xavier_uniform_,
    init.xavier_normal_,
    init.kaiming_uniform_,
    init.kaiming_normal_,
    init.trunc_normal_,
    init.orthogonal_,
    init.eye_,
    functools.partial(init.sparse_, sparsity=0.3),
]
EXACT = (init.zeros_, init.ones_, init.eye_)


def weight(shape=(200, 300)):
    return az.Parameter(shape)


def values(parameter):
    return np.asarray(parameter.value, np.float64).reshape(-1)


def truncnorm(mean, std, a, b):
    return stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std).cdf


def uniform(bound):
    return stats.uniform(-bound, 2 * bound).cdf


def normal(std, mean=0):
    return stats.norm(mean, std).cdf


@pytest.mark.parametrize(
    ("fill", "cdf"),
    [
        (lambda p: init.normal_(p), normal(1)),
        (lambda p: init.normal_(p, mean=3, std=0.01), normal(0.01, 3)),
        (lambda p: init.normal_(p, 3, 0.01), normal(0.01, 3)),
        (lambda p: init.uniform_(p), stats.uniform(0, 1).cdf),
        (lambda p: init.uniform_(p, -10, 10), uniform(10)),
        (lambda p: init.uniform_(p, a=1, b=4), stats.uniform(1, 3).cdf),
        (lambda p: init.xavier_uniform_(p), uniform(math.sqrt(6 / 500))),
        (lambda p: init.xavier_uniform_(p, gain=5 / 3), uniform(5 / 3 * math.sqrt(6 / 500))),
        (lambda p: init.xavier_normal_(p), normal(math.sqrt(2 / 500))),
        (lambda p: init.xavier_normal_(p, 0.5), normal(0.5 * math.sqrt(2 / 500))),
        (lambda p: init.kaiming_uniform_(p), uniform(math.sqrt(6 / 300))),
        (lambda p: init.kaiming_uniform_(p, a=math.sqrt(5)), uniform(1 / math.sqrt(300))),
        (lambda p: init.kaiming_uniform_(p, mode="fan_out"), uniform(math.sqrt(6 / 200))),
        (lambda p: init.kaiming_normal_(p), normal(math.sqrt(2 / 300))),
        (
            lambda p: init.kaiming_normal_(p, mode="fan_out", nonlinearity="relu"),
            normal(math.sqrt(2 / 200)),
        ),
        (lambda p: init.kaiming_normal_(p, nonlinearity="linear"), normal(1 / math.sqrt(300))),
        (lambda p: init.trunc_normal_(p), truncnorm(0, 1, -2, 2)),
        (
            lambda p: init.trunc_normal_(p, std=0.02, a=-0.03, b=0.01),
            truncnorm(0, 0.02, -0.03, 0.01),
        ),
    ],
)
def test_each_function_draws_from_the_distribution_that_pytorch_documents(fill, cdf):
    az.seed(1)
    p = weight()
    assert fill(p) is p
    assert stats.kstest(values(p), cdf).pvalue > REJECT_BELOW


@pytest.mark.parametrize(
    ("fill", "initializer", "shape"),
    [
        (lambda p: init.orthogonal_(p, gain=2, seed=3), init.Orthogonal(2), (6, 2, 2)),
        (lambda p: init.orthogonal_(p, seed=3), init.Orthogonal(), (6, 5)),
        (lambda p: init.sparse_(p, 0.3, seed=3), init.Sparse(0.3, 0.01), (6, 5)),
        (lambda p: init.sparse_(p, 0.3, std=1, seed=3), init.Sparse(0.3, 1), (6, 5)),
        (lambda p: init.eye_(p), init.Identity(), (6, 5)),
        (lambda p: init.dirac_(p), init.Dirac(), (6, 5, 3)),
        (lambda p: init.dirac_(p, groups=2), init.Dirac(2), (6, 5, 3)),
    ],
)
def test_each_function_does_what_the_initialiser_behind_it_does(fill, initializer, shape):
    filled, expected = weight(shape), weight(shape)
    assert fill(filled) is filled
    expected.initialize(initializer, seed=3)
    np.testing.assert_array_equal(filled.value, expected.value)


def test_there_is_a_function_for_each_of_pytorch():
    # Those of torch 2.13, `[name for name in dir(torch.nn.init) if name.endswith("_")]`.
    names = """constant_ dirac_ eye_ kaiming_normal_ kaiming_uniform_ normal_ ones_ orthogonal_
        sparse_ trunc_normal_ uniform_ xavier_normal_ xavier_uniform_ zeros_"""
    assert set(names.split()) == {name for name in init.__all__ if name.endswith("_")}


def test_constants_are_exact():
    assert (values(init.constant_(weight(), 42)) == 42).all()
    assert (values(init.zeros_(weight())) == 0).all()
    assert (values(init.ones_(weight())) == 1).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_none_is_left_alone(function):
    assert function(None) is None
    assert init.constant_(None, 1) is None


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_view_is_filled_and_returned(function):
    layer = nn.Dense(4, in_units=3)
    before = np.asarray(layer.weight.value)
    view = layer.weight.data
    assert function(view, seed=0) is view
    assert (np.asarray(layer.weight.value) != before).any()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_same_seed_gives_the_same_values_and_the_global_stream_others(function):
    layer = nn.Dense(4, in_units=3)
    first = values(function(layer.weight, seed=3))
    np.testing.assert_array_equal(values(function(layer.weight, seed=3)), first)
    if function not in EXACT:
        assert (values(function(layer.weight)) != first).any()
        assert (values(function(layer.weight)) != values(function(layer.weight))).any()


def test_an_initialised_parameter_is_overwritten_without_a_warning():
    layer = nn.Dense(4, in_units=3)
    layer.initialize("ones")
    init.zeros_(layer.weight)
    assert (layer.weight.value == 0).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_deferred_parameter_is_filled_as_soon_as_its_shape_is_known(function):
    deferred, known = nn.Sequential(nn.Dense(4)), nn.Sequential(nn.Dense(4, in_units=3))
    for net in (deferred, known):
        assert function(net[0].weight, seed=3) is net[0].weight
    assert deferred[0].weight.is_deferred
    deferred(jnp.ones((2, 3)))
    np.testing.assert_array_equal(deferred[0].weight.value, known[0].weight.value)


def test_a_function_over_all_modules_initialises_a_network(capsys):
    def my_init(module):
        if type(module) is nn.Linear:
            print("Init", *next((name, p.shape) for name, p in module.named_parameters()))
            init.uniform_(module.weight, -10, 10)
            module.weight.data *= abs(module.weight.data) >= 5

    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    net.apply(my_init)
    assert capsys.readouterr().out == "Init weight (8, 4)\nInit weight (1, 8)\n"
    drawn = np.asarray(net[0].weight.value)
    assert ((drawn == 0) | (abs(drawn) >= 5)).all()


def test_a_tied_parameter_is_filled_once_for_both_places():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    init.normal_(net[1].weight)
    np.testing.assert_array_equal(net[1].weight.value, net[0].weight.value.T)


def test_a_state_can_be_filled_as_well():
    state = az.State(shape=(3,))
    init.ones_(state)
    assert (state.value == 1).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda p: init.normal_(p, std=-1),
        lambda p: init.uniform_(p, 2, 1),
        lambda p: init.constant_(p, math.nan),
        lambda p: init.xavier_uniform_(p, gain=-1),
        lambda p: init.xavier_normal_(p, gain=math.nan),
        lambda p: init.kaiming_uniform_(p, a=True),
        lambda p: init.kaiming_normal_(p, mode="fan_avg"),
        lambda p: init.kaiming_normal_(p, nonlinearity="gelu"),
        lambda p: init.trunc_normal_(p, a=2, b=-2),
        lambda p: init.orthogonal_(p, gain=math.nan),
        lambda p: init.sparse_(p, 1.5),
        lambda p: init.dirac_(p),
        lambda p: init.dirac_(p, groups=0),
    ],
)
def test_bad_arguments_are_refused_and_nothing_changes(call):
    p = weight((3, 4))
    before = values(p)
    with pytest.raises(az.InitializationError):
        call(p)
    np.testing.assert_array_equal(values(p), before)


def test_vectors_have_no_fans():
    layer = nn.Sequential(nn.Dense(4, in_units=3))
    with pytest.raises(az.InitializationError, match=r"parameter '0.bias' has shape \(4,\)"):
        init.xavier_uniform_(layer[0].bias)


@pytest.mark.parametrize("given", [np.zeros(3), jnp.zeros(3), 1.0, nn.Dense])
def test_what_cannot_be_changed_in_place_is_refused(given):
    with pytest.raises(TypeError, match="pass the parameter, not its value"):
        init.zeros_(given)


@pytest.mark.parametrize("transform", [jax.jit, az.jit, jax.vmap])
def test_initialising_inside_a_transform_is_refused(transform):
    layer = nn.Sequential(nn.Dense(4, in_units=3))
    layer.initialize("ones")

    def fill(x):
        init.zeros_(layer[0].weight)
        return x

    with pytest.raises(az.TraceError, match=r"0\.weight.* initialised inside a transformation"):
        transform(fill)(jnp.ones(2))
    assert (layer[0].weight.value == 1).all()
