"""What an initialiser is: specs and fans, subclasses, names, and functions that serve as one."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec

import ansatz as az
from ansatz import init, nn
from ansatz.core.initializer import (
    BoundedUniform,
    FanInUniform,
    FromFunction,
    Initializer,
    Spec,
    as_initializer,
)


def value_of(initializer, shape=(4, 3), dtype="float32", **options):
    parameter = az.Parameter(shape, dtype=dtype, **options)
    parameter.initialize(initializer, seed=0)
    return np.asarray(parameter.value)


# -- fans --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes", "fans"),
    [
        ((30, 300), (1, 0), (300, 30)),  # dense (out, in)
        ((300, 30), (0, 1), (300, 30)),  # dense (in, out)
        ((64, 32, 3, 3), (1, 0), (288, 576)),  # convolution (out, in, *kernel)
        ((64, 8, 3, 3), (1, 0), (72, 576)),  # the same in four groups
        ((3, 3, 32, 64), (2, 3), (288, 576)),  # convolution (*kernel, in, out)
        ((3, 3, 32, 64), (-2, -1), (288, 576)),
        ((64, 32, 5), (0, 1), (320, 160)),  # transposed convolution (in, out, *kernel)
        ((6, 4, 16), (2, (0, 1)), (16, 24)),  # attention: heads and their width
        ((4, 0), (1, 0), (0, 4)),
        ((7,), (0, ()), (7, 1)),
    ],
)
def test_fans_follow_the_declared_axes(shape, axes, fans):
    assert Spec(shape, fan_axes=axes).fans == fans


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.data())
def test_a_transposed_layout_has_the_same_fans(shape, data):
    order = data.draw(st.permutations(range(len(shape))))
    moved = tuple(shape[axis] for axis in order)
    axes = (order.index(1), order.index(0))
    assert Spec(moved, fan_axes=axes).fans == Spec(tuple(shape)).fans


@pytest.mark.parametrize("shape", [(), (5,)])
def test_fans_of_too_few_dimensions_are_refused_by_path(shape):
    message = r"parameter '0.bias' .* at least 2 dim.*select by the type of the layer"
    with pytest.raises(az.InitializationError, match=message):
        _ = Spec(shape, path="0.bias").fans


def test_the_fallback_has_the_bound_of_pytorch_and_zeros_vectors():
    drawn = value_of(FanInUniform(), (500, 16))
    assert 0.249 < np.abs(drawn).max() <= 0.25
    assert (value_of(FanInUniform(), (5,)) == 0).all()
    assert value_of(FanInUniform(), (5, 0)).shape == (5, 0)


def test_a_bounded_uniform_refuses_integers_by_path():
    net = nn.Sequential(nn.Dense(2, in_units=3))
    net[0].extra = az.Parameter((2, 2), dtype="int32", init=BoundedUniform(1.0))
    with pytest.raises(az.InitializationError, match=r"parameter '0.extra' has dtype int32"):
        net.initialize()
    assert not net[0].weight.has_value


# -- subclasses --------------------------------------------------------------------------------


def test_sample_gets_the_whole_shape_however_large_the_parameter():
    seen = []

    class Recording(Initializer):
        def sample(self, rng, shape, dtype):
            seen.append((shape, dtype))
            return rng.standard_normal(shape)

    assert value_of(Recording(), (700, 900)).shape == (700, 900)
    assert seen == [((700, 900), np.float32)]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_sample_returns_is_rounded_to_the_dtype_of_the_parameter(dtype):
    class Thirds(Initializer):
        def sample(self, rng, shape, dtype):
            return np.full(shape, 1 / 3)

    expected = np.array(1 / 3).astype(jnp.dtype(dtype))
    assert (value_of(Thirds(), dtype=dtype) == expected).all()


def test_fill_is_called_once_for_each_block():
    sizes = []

    class Counting(Initializer):
        def fill(self, rng, out):
            sizes.append(out.size)
            out[...] = 0

    value_of(Counting(), (2**18 + 5,))
    assert sorted(sizes) == [5, 2**18]


def test_a_subclass_of_a_distribution_may_look_at_the_whole_array_again():
    class Sorted(init.Normal):
        def draw(self, rng, spec):
            return np.sort(rng.standard_normal(spec.shape))

    assert (np.diff(value_of(Sorted(), (100,))) >= 0).all()


def test_a_user_initialiser_prints_and_masks(capsys):
    class Masked(Initializer):
        def draw(self, rng, spec):
            print("Init", spec.path, spec.shape)
            values = rng.uniform(-10, 10, spec.shape)
            return values * (abs(values) >= 5)

    net = nn.Sequential(nn.Dense(8, in_units=400), nn.Dense(1, in_units=8))
    net.initialize(Masked(), seed=0)
    assert capsys.readouterr().out == "Init 0.weight (8, 400)\nInit 1.weight (1, 8)\n"
    drawn = np.asarray(net[0].weight.value)
    assert (abs(drawn[drawn != 0]) >= 5).all()
    assert abs((drawn == 0).mean() - 0.5) < 4 * (0.25 / drawn.size) ** 0.5
    assert (net[0].bias.value == 0).all()


def test_an_initialiser_that_overrides_nothing_says_what_to_override():
    class Empty(Initializer):
        pass

    with pytest.raises(NotImplementedError, match=r"override sample\(rng, shape, dtype\)"):
        value_of(Empty())


def test_a_wrong_shape_is_refused_and_nothing_changes():
    class Wrong(Initializer):
        def sample(self, rng, shape, dtype):
            return np.zeros((1, 2, 3))

    net = nn.Sequential(nn.Dense(4, in_units=3))
    net.initialize("ones")
    before = np.asarray(net[0].weight.value)
    with pytest.raises(az.InitializationError, match=r"'0.weight'"):
        net.initialize(Wrong(), force_reinit=True)
    np.testing.assert_array_equal(net[0].weight.value, before)


# -- equality and names ------------------------------------------------------------------------


def test_initialisers_are_equal_if_their_arguments_are():
    assert init.Normal(0.1) == init.Normal(sigma=0.1)
    assert init.Normal(0.1) != init.Normal(0.2)
    assert init.Zeros() != init.Ones()
    assert len({init.Normal(0.1), init.Normal(0.1), init.Uniform(0.1)}) == 2


def test_large_array_arguments_are_compared_element_by_element():
    one, other = np.zeros(5000), np.zeros(5000)
    other[2500] = 1
    assert init.Constant(one) == init.Constant(one.copy())
    assert init.Constant(one) != init.Constant(other)


def test_two_lambdas_are_not_equal_because_they_share_a_name():
    a, b = (lambda shape: np.zeros(shape)), (lambda shape: np.ones(shape))
    assert FromFunction(a) == FromFunction(a)
    assert FromFunction(a) != FromFunction(b)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zeros", init.Zeros()),
        ("Zero", init.Zeros()),
        ("ones", init.Ones()),
        ("one", init.Ones()),
        ("uniform", init.Uniform(0.07)),
        ("normal", init.Normal(0.01)),
        ("truncated_normal", init.TruncatedNormal()),
        ("xavier", init.Xavier()),
        ("Xavier", init.Xavier()),
        ("glorot", init.Xavier()),
        ("kaiming", init.Kaiming()),
        ("he", init.Kaiming()),
        ("fan_in_uniform", init.FanInUniform()),
    ],
)
def test_initialisers_have_names(name, expected):
    assert as_initializer(name) == expected


def test_an_unknown_name_is_refused_where_it_is_written_with_a_hint():
    with pytest.raises(ValueError, match=r"did you mean 'xavier'\?.*known names: .*zeros"):
        nn.Dense(3, weight_init="xavir")


def test_a_class_serves_as_an_initialiser_without_arguments():
    assert as_initializer(init.Zeros) == init.Zeros()


@pytest.mark.parametrize("choice", [3, None, np.zeros(3), ["zeros"]])
def test_anything_else_is_refused(choice):
    with pytest.raises(TypeError, match="an initialiser is wanted"):
        as_initializer(choice)


def test_a_subclass_can_be_chosen_by_its_own_name():
    class Fives(Initializer, name="fives_for_a_test"):
        def fill(self, rng, out):
            out[...] = 5

    try:
        assert (value_of("fives_for_a_test") == 5).all()
    finally:
        del Initializer.by_name["fives_for_a_test"]


# -- functions ---------------------------------------------------------------------------------


def with_key(key, shape, dtype):
    return jax.random.normal(key, shape, dtype)


def with_rng(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def with_generator(generator, shape):
    return generator.standard_normal(shape)


def test_a_jax_initialiser_gets_a_key_and_gives_its_own_distribution():
    drawn = value_of(jax.nn.initializers.he_normal(in_axis=1, out_axis=0), (300, 200))
    # JAX cuts at two standard deviations of the wider normal that it rescales: 2 / 0.8796.
    std = (2 / 200) ** 0.5
    assert abs(drawn.std() / std - 1) < 0.02
    assert 2.25 < np.abs(drawn).max() / std < 2.28


@pytest.mark.parametrize(
    "function",
    [
        with_key,
        with_rng,
        with_generator,
        jax.random.normal,
        jax.nn.initializers.normal(),
        jax.nn.initializers.orthogonal(),
        functools.partial(jax.random.uniform, minval=-1, maxval=1),
        lambda key, shape: jax.random.normal(key, shape),
        lambda k, s, d: jax.random.normal(k, s, d),
    ],
)
def test_random_functions_depend_on_seed_and_path(function):
    net = nn.Sequential(nn.Dense(4, in_units=4), nn.Dense(4, in_units=4))
    net.initialize(function, seed=1)
    first, second = (np.asarray(layer.weight.value) for layer in net)
    assert (first != second).any()
    net.initialize(function, seed=2, force_reinit=True)
    assert (first != net[0].weight.value).any()
    net.initialize(function, seed=1, force_reinit=True)
    np.testing.assert_array_equal(first, net[0].weight.value)


@pytest.mark.parametrize(
    "function",
    [
        jnp.ones,
        np.ones,
        lambda shape: np.ones(shape),
        lambda shape: np.ones(shape, np.float32),
        lambda shape, dtype: jnp.ones(shape, dtype),
        lambda shape, dtype=np.float64: np.ones(shape, dtype),
        lambda shape, value=1.0: np.full(shape, value),
        jax.nn.initializers.ones,
    ],
)
def test_functions_without_randomness_are_called_with_the_shape(function):
    assert (value_of(function) == np.ones((4, 3), np.float32)).all()


def test_the_dtype_of_the_parameter_is_passed_on():
    drawn = value_of(lambda key, shape, dtype: jnp.zeros(shape, dtype), dtype="bfloat16")
    assert drawn.dtype == jnp.bfloat16


def test_an_object_with_call_serves_as_a_function():
    class Halves:
        def __call__(self, shape):
            return np.full(shape, 0.5)

    assert (value_of(Halves()) == 0.5).all()


@pytest.mark.parametrize(
    "function",
    [
        lambda: 0,
        lambda *shape: 0,
        lambda key, shape, dtype, scale: 0,
        lambda shape, dtype, scale: 0,
        lambda shape, *, gain: 0,
        lambda rng: 0,
        lambda key: 0,
    ],
)
def test_functions_that_cannot_be_called_are_refused_at_once(function):
    with pytest.raises(TypeError, match=r"cannot serve as an initialiser"):
        az.Parameter((3,), init=function)


def test_a_function_of_the_wrong_kind_is_refused_by_path():
    net = nn.Sequential(nn.Dense(4, in_units=3))
    with pytest.raises(az.InitializationError, match=r"complex64 for parameter '0.weight'"):
        net.initialize(lambda shape: np.zeros(shape, np.complex64))


def test_an_error_in_a_function_names_the_parameter():
    def failing(shape):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        nn.Sequential(nn.Dense(4, in_units=3)).initialize(failing)
    assert any("parameter '0.weight'" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("function", [jax.nn.initializers.he_normal(), with_key, with_rng])
def test_functions_draw_the_same_inside_a_trace(function):
    eager, traced = (nn.Sequential(nn.Dense(4), nn.Dense(2)) for _ in range(2))
    for net in (eager, traced):
        net.initialize(function, seed=3)
    x = jnp.ones((2, 5))
    eager(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", az.StaleParameterWarning)
        jax.jit(lambda x: traced(x))(x)
    for path, value in eager.state_dict().items():
        np.testing.assert_array_equal(value, traced.state_dict()[path])


def test_functions_draw_the_same_inside_shard_map():
    eager, traced = nn.Dense(4, in_units=5), nn.Dense(4)
    for net in (eager, traced):
        net.initialize(jax.nn.initializers.normal(), seed=3)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", az.StaleParameterWarning)
        jax.shard_map(lambda x: traced(x), mesh=mesh, in_specs=spec, out_specs=spec)(
            jnp.ones((2, 5))
        )
    np.testing.assert_array_equal(eager.weight.value, traced.weight.value)


def test_a_numpy_generator_is_rewound_where_the_function_has_to_run_twice():
    def mixed(rng, shape, dtype):
        return jnp.asarray(rng.standard_normal(shape), dtype)

    eager, traced = nn.Dense(4, in_units=5), nn.Dense(4)
    for net in (eager, traced):
        net.initialize(mixed, seed=3)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", az.StaleParameterWarning)
        jax.shard_map(lambda x: traced(x), mesh=mesh, in_specs=spec, out_specs=spec)(
            jnp.ones((2, 5))
        )
    np.testing.assert_array_equal(eager.weight.value, traced.weight.value)
