import copy

import jax
import jax.numpy as jnp
import pytest

import ansatz as az
from ansatz import init, nn


def test_two_layers_hold_one_parameter_after_sharing():
    donor = nn.Dense(8, activation="relu")
    twin = nn.Dense(8, params=donor.collect_params())
    assert twin.weight is donor.weight
    assert twin.bias is donor.bias


def test_sharing_works_while_the_donor_is_deferred():
    shared = nn.Dense(8, activation="relu")
    net = nn.Sequential(
        nn.Dense(8, activation="relu"),
        shared,
        nn.Dense(8, activation="relu", params=shared.collect_params()),
        nn.Dense(10),
    )
    assert net(jnp.ones((2, 20))).shape == (2, 10)
    shapes = [parameter.shape for parameter in net.parameters()]
    assert shapes == [(8, 20), (8,), (8, 8), (8,), (10, 8), (10,)]


def test_the_gradient_of_a_shared_parameter_is_the_sum_over_its_uses():
    # The numbers were computed with Gluon: two uses of W = [[100, 1], [1, 1]] on [1, 1].
    first = nn.Dense(2, 2)
    net = nn.Sequential(first, nn.Dense(2, params=first.collect_params()))
    first.weight.value = jnp.array([[100.0, 1.0], [1.0, 1.0]])
    grads = az.grad(lambda net: net(jnp.ones((1, 2))).sum())(net)
    assert grads["0.weight"].tolist() == [[202, 103], [103, 4]]
    assert grads["0.bias"].tolist() == [102, 3]


def test_what_one_of_two_layers_knows_the_other_learns():
    donor = nn.Dense(8)
    nn.Dense(8, 5, params=donor.collect_params())
    assert donor.in_units == 5
    late = nn.Dense(8, params=donor.collect_params())
    assert late.in_units == 5


def test_a_mapping_from_local_names_can_be_shared():
    donor = nn.Dense(8, 4)
    twin = nn.Dense(8, params={"weight": donor.weight, "bias": donor.bias})
    assert twin.weight is donor.weight


def test_another_shape_is_refused_and_changes_nothing():
    donor = nn.Dense(9)
    with pytest.raises(az.TieError, match=r"\(9, None\).*\(8, 3\)"):
        nn.Dense(8, 3, params=donor.collect_params())
    assert donor.weight.shape == (9, None)


def test_a_bias_that_does_not_fit_leaves_the_weight_alone():
    donor = nn.Dense(8)
    misfit = {"weight": donor.weight, "bias": az.Parameter((9,))}
    with pytest.raises(az.TieError, match="bias"):
        nn.Dense(8, 3, params=misfit)
    assert donor.weight.shape == (8, None)


def test_another_dtype_is_refused():
    with pytest.raises(az.TieError, match="bfloat16"):
        nn.Dense(8, params=nn.Dense(8, dtype="bfloat16").collect_params())


def test_a_partial_match_is_refused_with_what_is_left_over():
    with pytest.raises(az.TieError, match=r"nothing was given for 'bias'.*layer.weight ="):
        nn.Dense(8, params=nn.Dense(8, use_bias=False).collect_params())
    with pytest.raises(az.TieError, match="Dense has no parameter for 'bias'"):
        nn.Dense(8, use_bias=False, params=nn.Dense(8).collect_params())


def test_names_of_a_container_do_not_match_and_are_all_listed():
    net = nn.Sequential(nn.Dense(8))
    with pytest.raises(az.TieError, match=r"'0.weight'.*'0.bias'"):
        nn.Dense(8, params=net.collect_params())


def test_a_near_name_is_suggested():
    with pytest.raises(az.TieError, match="'wieght'; did you mean 'weight'"):
        nn.Dense(8, use_bias=False, params={"wieght": az.Parameter((8, 2))})


def test_a_layer_in_the_place_of_its_parameters_is_refused():
    with pytest.raises(TypeError, match=r"params=layer.collect_params\(\)"):
        nn.Dense(8, params=nn.Dense(8))


def test_a_plain_array_is_refused():
    with pytest.raises(az.TieError, match="not a parameter"):
        nn.Dense(2, use_bias=False, params={"weight": jnp.ones((2, 2))})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: nn.Dense(2, params=x), "to parameters, got float32[2, 3]"),
        (
            lambda x: nn.Dense(2, params={"weight": x, "bias": x}),
            "params['weight'] is float32[2, 3], not a parameter",
        ),
        (lambda x: nn.Dense(x), "units is a whole number, got float32[2, 3]"),
    ],
)
@pytest.mark.parametrize("transform", [lambda f: f, jax.grad, jax.jit])
def test_an_array_is_told_by_dtype_and_shape_whether_or_not_it_is_traced(build, message, transform):
    with pytest.raises((TypeError, az.TieError)) as caught:
        transform(build)(jnp.ones((2, 3)))
    assert message in str(caught.value)


def test_an_initialiser_for_a_shared_parameter_is_refused():
    with pytest.raises(az.TieError, match="weight_init"):
        nn.Dense(8, weight_init=init.Zeros(), params=nn.Dense(8).collect_params())


def test_a_parameter_that_the_donor_sees_transposed_is_shared_transposed():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    twin = nn.Linear(3, 3, bias=False, params=net[1].collect_params())
    assert (twin.weight.value == net[0].weight.value.T).all()


def test_a_copy_keeps_what_is_shared():
    donor = nn.Dense(8)
    net = copy.deepcopy(nn.Sequential(donor, nn.Dense(8, params=donor.collect_params())))
    assert net[0].weight is net[1].weight


@pytest.mark.parametrize(
    "build",
    [
        lambda **given: nn.Linear(4, 4, **given),
        lambda **given: nn.Linear(None, 4, **given),
        lambda **given: nn.Embedding(4, 4, **given),
        lambda **given: nn.PReLU(**given),
        lambda **given: nn.BatchNorm(**given),
        lambda **given: nn.LayerNorm(**given),
    ],
)
def test_every_layer_with_parameters_can_share_them(build):
    donor = build()
    twin = build(params=donor.collect_params())
    assert all(a is b for a, b in zip(twin.parameters(), donor.parameters(), strict=True))
    x = jnp.ones((2, 4), "int32" if isinstance(donor, nn.Embedding) else "float32")
    assert twin(x).shape == donor(x).shape


def test_batch_norms_that_share_parameters_keep_statistics_of_their_own():
    donor = nn.BatchNorm()
    twin = nn.BatchNorm(params=donor.collect_params())
    twin(jnp.array([[1.0, 2.0], [3.0, 6.0]]))
    donor(jnp.zeros((2, 2)))
    assert donor.running_mean.value.tolist() == [0, 0]
    assert twin.running_mean.value[0] > 0
