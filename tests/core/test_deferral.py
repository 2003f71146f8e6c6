import contextlib
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ansatz as az
from ansatz.core import random
from tests.core.layers import Affine, Branches, Centre, Chain, Mask, Wrapped, inputs, mean_square

X = inputs()


def two_layers():
    return Chain(Affine(3), Affine(2))


@contextlib.contextmanager
def without_stale_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", az.StaleParameterWarning)
        yield


def in_shard_map(function):
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("i")
    return jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec)


FIRST_CALLS = {
    "eager": lambda net: net(X),
    "az.jit": lambda net: az.jit(lambda net, x: net(x))(net, X),
    "jit": lambda net: jax.jit(lambda x: net(x))(X),
    "vmap": lambda net: jax.vmap(lambda x: net(x))(X),
    "az.vmap": lambda net: az.vmap(lambda net, x: net(x))(net, X),
    "grad": lambda net: jax.grad(lambda x: net(x).sum())(X),
    "az.grad": lambda net: az.grad(mean_square)(net, X),
    "scan": lambda net: jax.lax.scan(lambda c, x: (c, net(x)), 0, X),
    "az.scan": lambda net: az.scan(lambda c, x: (c, net(x)), 0, X),
    "cond": lambda net: jax.lax.cond(True, net, lambda x: x[:, :2], X),
    "checkpoint": lambda net: jax.checkpoint(lambda x: net(x))(X),
    "az.remat": lambda net: az.remat(net)(X),
    "shard_map": lambda net: in_shard_map(net)(X),
    "eval_shape": lambda net: jax.eval_shape(net, X),
    "linearize": lambda net: jax.linearize(net, X),
    "make_jaxpr": lambda net: jax.make_jaxpr(lambda x: net(x))(X),
    "jit(grad)": lambda net: az.jit(az.value_and_grad(mean_square))(net, X),
    "grad(jit)": lambda net: az.value_and_grad(az.jit(mean_square))(net, X),
    "jit(scan)": lambda net: az.jit(lambda net, x: az.scan(lambda c, x: (c, net(x)), 0, x))(net, X),
    "scan(jit)": lambda net: az.scan(lambda c, x: (c, az.jit(net)(x)), 0, X),
    "jit(vmap)": lambda net: az.jit(lambda net, x: az.vmap(net)(x))(net, X),
    "jit(shard_map)": lambda net: az.jit(lambda net, x: in_shard_map(net)(x))(net, X),
    "jit(jit)": lambda net: az.jit(lambda n, x: az.jit(lambda n, x: n(x))(n, x))(net, X),
    "grad(remat)": lambda net: az.grad(lambda n, x: az.remat(n)(x).sum())(net, X),
    "vmap(grad)": lambda net: jax.vmap(jax.grad(lambda x: net(x).sum()))(X),
    "functional_call": lambda net: az.functional_call(
        net,
        {
            "layers.0.weight": jnp.ones((3, 5)),
            "layers.0.bias": jnp.ones(3),
            "layers.1.weight": jnp.ones((2, 3)),
            "layers.1.bias": jnp.ones(2),
        },
        X,
    ),
}


@pytest.mark.parametrize("kind", FIRST_CALLS)
def test_the_first_call_may_be_in_any_transform_and_draws_the_same(kind):
    wanted = two_layers()
    az.seed(0)
    wanted(X)
    net = two_layers()
    az.seed(0)
    with without_stale_warnings():
        FIRST_CALLS[kind](net)
    if kind == "functional_call":
        az.seed(0)
    assert_allclose(net(X), wanted(X), rtol=1e-5)
    for path, value in net.state_dict().items():
        assert isinstance(value, jax.Array)
        assert not isinstance(value, jax.core.Tracer)
        assert_array_equal(value, wanted.state_dict()[path])


def assert_untouched(net):
    assert net.layers[0].weight.shape == (3, None)
    assert net.layers[1].mean.shape == (None,)
    assert int(net.layers[1].calls.value) == 0
    undrawn = [*net.parameters(), net.layers[1].mean, net.layers[2].stream]
    assert not any(cell.has_value for cell in undrawn)


@pytest.mark.parametrize("kind", [kind for kind in FIRST_CALLS if kind != "functional_call"])
def test_a_first_call_that_fails_leaves_everything_as_it_was(kind):
    class Fails(az.Module):
        def forward(self, x):
            raise RuntimeError("no")

    net = Chain(Affine(3), Centre(), Mask(), Fails())
    with pytest.raises(RuntimeError, match="no"), without_stale_warnings():
        FIRST_CALLS[kind](net)
    assert_untouched(net)


@pytest.mark.parametrize("kind", ["eager", "az.jit", "az.grad", "az.scan", "az.remat", "vmap"])
def test_a_compiled_part_of_a_first_call_that_fails_draws_nothing(kind):
    def fails(x):
        raise RuntimeError("no")

    net = Chain(Affine(3), Centre(), Mask())
    with pytest.raises(RuntimeError, match="no"), without_stale_warnings():
        FIRST_CALLS[kind](Chain(Wrapped(az.jit, net), fails))
    assert_untouched(net)
    # The next call draws what a first call would have drawn.
    twin = Chain(Affine(3), Centre(), Mask())
    net.initialize(seed=3)
    twin.initialize(seed=3)
    assert_array_equal(net(X), twin(X))


@pytest.mark.parametrize(
    "kind", ["eager", "az.jit", "az.grad", "az.remat", "jit(grad)", "grad(jit)", "jit(jit)"]
)
def test_the_first_call_moves_states_once(kind):
    net = Chain(Affine(3), Centre(), Mask())
    FIRST_CALLS[kind](net)
    assert int(net.layers[1].calls.value) == 1
    assert int(net.layers[2].stream.value[2]) == 1


# -- dry runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("example", [X, jax.ShapeDtypeStruct((4, 5), "float32"), np.ones((4, 5))])
def test_a_dry_run_settles_shapes_and_nothing_else(example):
    net = Chain(Affine(3), Centre(), Mask(), Affine(1))
    az.seed(0)
    following = random.seeds.next()
    az.seed(0)
    assert net.settle_shapes(example) is net
    assert random.seeds.next() == following
    assert net.layers[0].weight.shape == (3, 5)
    assert net.layers[1].mean.shape == (3,)
    assert not any(p.has_value for p in net.parameters())
    assert int(net.layers[1].calls.value) == 0
    assert not net.layers[2].stream.has_value


def test_a_dry_run_of_a_network_with_values_changes_none():
    net = Chain(Affine(3), Centre(), Mask())
    net(X)
    before = {path: value.tolist() for path, value in net.state_dict().items()}
    net.settle_shapes(X)
    assert {path: value.tolist() for path, value in net.state_dict().items()} == before


def test_initialize_takes_an_example_and_gives_what_a_first_call_gives():
    net, other = two_layers(), two_layers()
    net.initialize(seed=7, example=jax.ShapeDtypeStruct((2, 5), "float32"))
    other.initialize(seed=7)
    other(X)
    for path, value in net.state_dict().items():
        assert_array_equal(value, other.state_dict()[path])


def test_inputs_of_every_kind_pass_through_a_dry_run():
    class Mixed(az.Module):
        def __init__(self):
            self.layer = Affine(3)

        def forward(self, tree, scale, name, nothing, *, key, flags):
            assert name == "text"
            assert nothing is None
            assert flags == (True, 2, None)
            noise = jax.random.normal(key, (5,))
            return self.layer(tree["a"][0] + noise) * scale

    def call(net):
        return net(
            {"a": (X,), "b": [None, 3]},
            2.5,
            "text",
            None,
            key=jax.random.key(0),
            flags=(True, 2, None),
        )

    net = Mixed()
    assert call(net).shape == (4, 3)
    explicit = Mixed()
    explicit.settle_shapes(
        {"a": (jax.ShapeDtypeStruct((4, 5), "float32"),), "b": [None, 3]},
        2.5,
        "text",
        None,
        key=jax.random.key(0),
        flags=(True, 2, None),
    )
    assert explicit.layer.weight.shape == (3, 5)


def test_a_module_may_be_an_input_of_the_first_call():
    class Apply(az.Module):
        def __init__(self):
            self.layer = Affine(3)

        def forward(self, other, x):
            return self.layer(other(x))

    net, other = Apply(), Affine(7)
    assert net(other, X).shape == (4, 3)
    assert net.layer.weight.shape == (3, 7)
    assert other.weight.shape == (7, 5)


def test_a_dry_run_over_abstract_values_explains_control_flow():
    class Choose(az.Module):
        def __init__(self):
            self.layer = Affine(3)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        Choose().settle_shapes(jax.ShapeDtypeStruct((4, 5), "float32"))
    assert "its forward looks at values" in caught.value.__notes__[0]
    net = Choose()
    assert net(jnp.ones((4, 5))).shape == (4, 3)


def test_control_flow_on_values_in_a_first_call_draws_what_a_plain_call_draws():
    class Choose(az.Module):
        def __init__(self):
            self.layer = Affine(3)

        def forward(self, x):
            y = self.layer(x)
            return y if float(y.sum()) > -1e9 else x

    net, plain = Chain(Choose()), Chain(Choose())
    az.seed(3)
    net(X)
    plain.layers[0].layer.weight.shape = (3, 5)
    az.seed(3)
    plain(X)
    assert_array_equal(net.layers[0].layer.weight.value, plain.layers[0].layer.weight.value)


def test_a_failing_first_call_with_control_flow_leaves_everything_as_it_was():
    class Choose(az.Module):
        def __init__(self):
            self.layer = Affine(3)
            self.centre = Centre()

        def forward(self, x):
            y = self.centre(self.layer(x))
            if y.sum() < 1e9:
                raise RuntimeError("no")
            return y

    net = Choose()
    with pytest.raises(RuntimeError, match="no"):
        net(X)
    assert net.layer.weight.shape == (3, None)
    assert not net.layer.weight.has_value
    assert int(net.centre.calls.value) == 0


# -- branches -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda net, x: net(x),
        az.jit(lambda net, x: net(x)),
        lambda net, x: az.value_and_grad(mean_square)(net, x)[0],
        az.jit(lambda net, x: az.value_and_grad(mean_square)(net, x)[0]),
        lambda net, x: az.value_and_grad(az.jit(mean_square))(net, x)[0],
        lambda net, x: az.remat(net)(x),
    ],
    ids=["eager", "jit", "grad", "jit(grad)", "grad(jit)", "remat"],
)
def test_a_branch_settles_when_it_is_reached(call):
    net = Branches(Affine(2), Affine(3))
    call(net, inputs(1))
    assert net.one.weight.shape == (2, 5)
    assert net.many.weight.shape == (3, None)
    call(net, inputs(1))
    call(net, inputs(4))
    assert net.many.weight.shape == (3, 5)
    call(net, inputs(1))


def test_gradients_leave_out_what_no_call_has_reached():
    net = Branches(Affine(2), Affine(3))
    assert set(az.grad(mean_square)(net, inputs(1))) == {"one.weight", "one.bias", "many.bias"}
    assert set(az.grad(mean_square)(net, inputs(4))) == {
        "one.weight",
        "one.bias",
        "many.weight",
        "many.bias",
    }


# -- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["eager", "az.jit", "az.grad", "az.vmap"])
def test_a_layer_without_infer_shape_is_shown_the_one_to_write(kind):
    class Own(az.Module):
        def __init__(self):
            self.scale = az.Parameter((7, None), init="ones")

        def forward(self, x):
            return x @ self.scale.value.T

    net = Chain(Own())
    with pytest.raises(az.DeferredInitializationError) as caught:
        FIRST_CALLS[kind](net)
    message = str(caught.value)
    assert "parameter 'layers.0.scale' has the shape (7, None)" in message
    shown = message[message.index("    def infer_shape") :]
    namespace = {}
    exec("class Mixin:\n" + shown, namespace)  # What is shown is Python that works.
    Own.infer_shape = namespace["Mixin"].infer_shape
    Own._infers = True
    assert Chain(Own())(X).shape == (4, 7)


@pytest.mark.parametrize("kind", ["eager", "az.jit", "az.grad"])
def test_a_wrong_width_is_explained_in_every_transform(kind):
    net = Chain(Affine(3, 5), Affine(2, 9))
    with pytest.raises(az.ShapeError, match=re.escape("layer 'layers.1', Affine(")) as caught:
        FIRST_CALLS[kind](net)
    reason, _, shapes = (
        str(caught.value).partition("parameter 'layers.1.weight' has")[2].partition("(its ")
    )
    assert "does not fit (2, 3)" in reason
    assert shapes.startswith("weight has shape (2, 9)")
    assert "float32[4, 3]" in str(caught.value)


# -- sharing ------------------------------------------------------------------------------------


def test_a_shared_deferred_layer_settles_once():
    shared = Affine(5)
    net = Chain(shared, shared)
    assert net(X).shape == (4, 5)
    assert list(net.collect_params()) == ["layers.0.weight", "layers.0.bias"]


def test_a_shared_deferred_layer_that_would_need_two_widths_says_so():
    shared = Affine(3)
    with pytest.raises(az.ShapeError, match=r"\(3, 5\).*does not fit \(3, 3\)"):
        Chain(shared, shared)(X)
    assert shared.weight.shape == (3, None)


def test_a_deferred_tie_settles_from_either_side():
    net = Chain(Affine(5), Affine(5))
    net.layers[1].weight = net.layers[0].weight
    net.layers[1](X)
    assert net.layers[0].weight.shape == (5, 5)
    assert net.layers[0].weight is net.layers[1].weight


def test_a_transposed_deferred_tie_settles_from_either_side():
    for first in (0, 1):
        net = Chain(Affine(3), Affine(5))
        az.tie(net, "layers.0.weight", "layers.1.weight", transpose=True)
        assert net.layers[1].weight.shape == (5, 3)
        net.layers[first](inputs(width=5 if first == 0 else 3))
        assert net.layers[0].weight.shape == (3, 5)
        assert_array_equal(net.layers[1].weight.value, net.layers[0].weight.value.T)


def test_a_layer_added_after_the_first_call_settles_too():
    net = Chain(Affine(3))
    run = az.jit(lambda net, x: net(x))
    run(net, X)
    net.layers.append(Affine(7))
    assert run(net, X).shape == (4, 7)
    net.layers.append(Affine(2))
    assert net(X).shape == (4, 2)
    assert_allclose(run(net, X), net(X), rtol=1e-5)
