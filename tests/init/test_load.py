import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn


def network():
    return nn.Sequential(nn.Dense(4, in_units=3), nn.Dense(2, in_units=4))


def arrays_of(net):
    return {path: np.asarray(value) for path, value in net.state_dict().items()}


def test_parameters_are_taken_by_path_and_the_others_from_the_default():
    donor, net = network(), network()
    donor.initialize(init.Normal(1.0), seed=1)
    part = {path: value for path, value in arrays_of(donor).items() if path.startswith("0.")}
    report = net.initialize({"*": init.Load(part, default=init.Constant(3))})
    for path, value in part.items():
        np.testing.assert_array_equal(net.state_dict()[path], value)
    assert (net[1].weight.value == 3).all()
    assert report["1.bias"].reason == "rule '*'"


def test_a_default_draws_what_it_draws_alone():
    loaded, alone = network(), network()
    loaded.initialize({"*.weight": init.Load({}, default="xavier")}, seed=5)
    alone.initialize({"*.weight": "xavier"}, seed=5)
    np.testing.assert_array_equal(loaded[0].weight.value, alone[0].weight.value)


def test_a_network_without_sizes_is_filled_at_its_first_call():
    donor, net = network(), nn.Sequential(nn.Dense(4), nn.Dense(2))
    donor.initialize(seed=1)
    net.initialize({"*": init.Load(arrays_of(donor))})
    x = jnp.ones((2, 3))
    np.testing.assert_array_equal(net(x), donor(x))


def test_the_path_is_seen_from_the_module_that_is_initialised():
    donor, net = nn.Dense(4, in_units=3), network()
    net[0].initialize({"*": init.Load(arrays_of(donor))})
    np.testing.assert_array_equal(net[0].weight.value, donor.weight.value)


def test_a_missing_parameter_is_an_error_with_a_hint_and_nothing_changes():
    net = network()
    arrays = {"0.weigth": np.ones((4, 3))}
    with pytest.raises(
        az.InitializationError,
        match=r"parameter '0.weight' is not in the mapping given to Load; did you mean '0.weigth'",
    ):
        net.initialize({"*": init.Load(arrays)})
    assert not any(p.has_value for p in net.parameters())


def test_a_wrong_shape_names_both_and_nothing_changes():
    net = network()
    arrays = {"0.weight": np.ones((4, 3)), "1.weight": np.ones((4, 2))}
    with pytest.raises(
        az.InitializationError,
        match=r"parameter '1.weight' has shape \(2, 4\), but the array '1.weight' .* \(4, 2\)",
    ):
        net.initialize({"*.weight": init.Load(arrays)})
    assert not any(p.has_value for p in net.parameters())


def test_floats_take_the_dtype_of_the_parameter_and_other_kinds_are_refused():
    net = nn.Dense(2, in_units=2, dtype="bfloat16", use_bias=False)
    net.initialize({"*": init.Load({"weight": np.full((2, 2), 1 / 3)})})
    assert (net.weight.value == jnp.bfloat16(1 / 3)).all()
    whole = az.Parameter((2,), dtype="int32")
    with pytest.raises(az.InitializationError, match=r"float64 for a parameter.* is int32"):
        whole.initialize(init.Load({"": np.ones(2)}))


def test_the_arrays_that_were_given_stay_apart_from_the_network():
    array = np.ones((2, 2), np.float32)
    net = nn.Dense(2, in_units=2, use_bias=False)
    net.initialize({"*": init.Load({"weight": array})})
    array[:] = 7
    assert (net.weight.value == 1).all()


def test_parameters_stand_for_their_values_at_that_time():
    donor, net = network(), network()
    donor.initialize("ones")
    load = init.Load(donor.collect_params())
    donor[0].weight.data[:] = 7
    net.initialize({"*.weight": load})
    assert (net[0].weight.value == 1).all()


def test_what_numpy_cannot_read_is_refused_by_path():
    class Tensor:
        def __array__(self, *_, **__):
            raise RuntimeError("detach it first")

    net = nn.Dense(2, in_units=2)
    with pytest.raises(
        az.InitializationError, match=r"'weight' given to Load is a Tensor, .*: detach it first"
    ):
        net.initialize(init.Load({"weight": Tensor()}))


def test_what_is_no_mapping_or_no_initialiser_is_refused_at_construction():
    with pytest.raises(TypeError, match=r"Load takes arrays by path.*got a str.*net\.load\(path\)"):
        init.Load("net.safetensors")
    with pytest.raises(ValueError, match="did you mean 'xavier'"):
        init.Load({}, default="xavir")


def test_it_prints_how_much_it_holds_and_not_the_numbers():
    assert repr(init.Load({"a": np.ones(3)})) == "Load(1 arrays)"
    assert repr(init.Load({}, "zeros")) == "Load(0 arrays, default=Zeros())"
