import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ansatz as az
from tests.core.layers import Affine, Centre, Chain, Mask, inputs, mean_square

X = inputs()


def network(*more):
    net = Chain(Affine(3, 5), *more, Affine(1, 3))
    net.initialize(seed=0, example=X)
    return net


def by_hand(weights, x):
    hidden = x @ weights["layers.0.weight"].T + weights["layers.0.bias"]
    return hidden @ weights["layers.1.weight"].T + weights["layers.1.bias"]


def loss_by_hand(weights, x):
    return (by_hand(weights, x) ** 2).mean()


def assert_trees_close(one, other, rtol=1e-5):
    assert set(one) == set(other)
    for path, value in other.items():
        assert_allclose(one[path], value, rtol=rtol, atol=1e-6)


# -- gradients ----------------------------------------------------------------------------------

GRADIENTS = {
    "grad": lambda f: az.grad(f),
    "jit(grad)": lambda f: az.jit(az.grad(f)),
    "grad(jit)": lambda f: az.grad(az.jit(f)),
    "jit(grad(jit))": lambda f: az.jit(az.grad(az.jit(f))),
    "jit(jit(grad))": lambda f: az.jit(lambda n, x: az.jit(az.grad(f))(n, x)),
    "grad(remat)": lambda f: az.grad(az.remat(f)),
    "jit(grad(remat(jit)))": lambda f: az.jit(az.grad(az.remat(az.jit(f)))),
    "grad(jit(remat))": lambda f: az.grad(az.jit(az.remat(f))),
    "value_and_grad": lambda f: lambda n, x: az.value_and_grad(f)(n, x)[1],
    "scan(grad)": lambda f: (
        lambda n, x: {
            path: value[0]
            for path, value in az.scan(lambda c, x: (c, az.grad(f)(n, x)), 0, x[None])[1].items()
        }
    ),
    "vmap(grad)": lambda f: (
        lambda n, x: {
            path: value.mean(0) for path, value in az.vmap(az.grad(f))(n, x[:, None]).items()
        }
    ),
    "jit(vmap(grad))": lambda f: (
        lambda n, x: {
            path: value.mean(0)
            for path, value in az.jit(az.vmap(az.grad(f)))(n, x[:, None]).items()
        }
    ),
    "grad(vmap)": lambda f: az.grad(lambda n, x: (az.vmap(lambda n, x: n(x))(n, x) ** 2).mean()),
    "grad(scan)": lambda f: az.grad(
        lambda n, x: (az.scan(lambda c, x: (c, n(x)), 0, x)[1] ** 2).mean()
    ),
}


@pytest.mark.parametrize("nesting", GRADIENTS)
def test_gradients_nest_in_any_order(nesting):
    net = network()
    wanted = jax.grad(loss_by_hand)(net.state_dict(), X)
    grads = GRADIENTS[nesting](mean_square)(net, X)
    assert_trees_close(grads, wanted)


def test_second_derivatives():
    net = network()

    def penalty(net, x):
        return sum((g**2).sum() for g in az.grad(mean_square)(net, x).values())

    def penalty_by_hand(weights):
        return sum((g**2).sum() for g in jax.grad(loss_by_hand)(weights, X).values())

    wanted = jax.grad(penalty_by_hand)(net.state_dict())
    assert_trees_close(az.grad(penalty)(net, X), wanted, rtol=1e-4)
    assert_trees_close(az.jit(az.grad(penalty))(net, X), wanted, rtol=1e-4)


def test_gradients_of_modules_arrays_and_containers_have_their_structure():
    net, other = network(), Affine(2, 1)
    other.initialize(seed=1)

    def loss(pair, x, scale):
        return (pair["b"][0](pair["a"](x)) * scale["s"]).sum()

    scale = {"s": jnp.float32(2)}
    grads = az.grad(loss, argnums=(0, 1, 2))({"a": net, "b": (other, None)}, X, scale)
    assert list(grads[0]["a"]) == list(net.collect_params())
    assert list(grads[0]["b"][0]) == ["weight", "bias"]
    assert grads[0]["b"][1] is None
    assert grads[1].shape == X.shape
    assert_allclose(grads[2]["s"], loss({"a": net, "b": (other,)}, X, {"s": 1.0}), rtol=1e-5)
    last = az.grad(lambda x, net: net(x).sum(), argnums=-1)(X, net)
    assert list(last) == list(net.collect_params())


def test_has_aux_and_values():
    net = network()

    def loss(net, x):
        out = net(x)
        return (out**2).mean(), {"out": out, "name": None}

    (value, aux), grads = az.value_and_grad(loss, has_aux=True)(net, X)
    assert_allclose(value, (aux["out"] ** 2).mean(), rtol=1e-6)
    grads_only, aux = az.grad(loss, has_aux=True)(net, X)
    assert_trees_close(grads_only, grads)
    assert aux["out"].shape == (4, 1)


def test_frozen_parameters_have_no_gradient_but_the_rest_flows_through_them():
    net = network()
    wanted = az.grad(mean_square)(net, X)
    net.freeze("layers.1.*")
    grads = az.grad(mean_square)(net, X)
    assert list(grads) == ["layers.0.weight", "layers.0.bias"]
    assert_allclose(grads["layers.0.weight"], wanted["layers.0.weight"], rtol=1e-6)


def test_a_network_that_is_closed_over_is_a_constant_of_the_gradient():
    net = network()
    assert_allclose(
        az.grad(lambda x: net(x).sum())(X),
        jax.grad(lambda x: by_hand(net.state_dict(), x).sum())(X),
        rtol=1e-5,
    )


def test_a_lone_parameter_can_be_differentiated():
    p = az.Parameter(jnp.array([1.0, 2.0]))
    assert az.grad(lambda p: (p.value**2).sum())(p).tolist() == [2, 4]


def test_a_position_that_the_call_lacks_is_explained():
    net = network()
    with pytest.raises(TypeError, match=r"argument 0 is asked for.*0 positional.*pass that one by"):
        az.grad(lambda net: net(X).sum())(net=net)


@pytest.mark.parametrize("jitted", [False, True])
def test_states_written_in_a_loss_move_once(jitted):
    net = network(Centre(), Mask())
    grad = az.value_and_grad(mean_square)
    grad = az.jit(grad) if jitted else grad
    grad(net, X)
    grad(net, X)
    assert int(net.layers[1].calls.value) == 2
    assert int(net.layers[2].stream.value[2]) == 2


def test_a_loss_that_fails_writes_nothing():
    net = network(Centre())

    def fails(net, x):
        net(x)
        raise RuntimeError("no")

    for transform in (
        az.grad(fails),
        az.remat(fails),
        az.vmap(fails, in_axes=(None, None), axis_size=2),
        lambda net, x: az.scan(lambda c, x: fails(net, x), 0, x[None]),
    ):
        with pytest.raises(RuntimeError, match="no"):
            transform(net, X)
    assert int(net.layers[1].calls.value) == 0


def test_what_the_loss_does_not_depend_on_is_named():
    net = network()
    net.spare = Affine(2, 2)
    assert az.without_gradient(mean_square, net, X) == ["spare.weight", "spare.bias"]


# -- remat --------------------------------------------------------------------------------------


def test_remat_computes_the_same_and_keeps_less():
    net = network(Centre())
    net.eval()
    assert_allclose(az.remat(net)(X), net(X), rtol=1e-6)
    everything = az.remat(net, policy=jax.checkpoint_policies.everything_saveable)
    assert_allclose(everything(X), net(X), rtol=1e-6)
    sines = az.remat(lambda x: jnp.sin(jnp.sin(x)).sum())
    # Without the forward pass repeated, its two sines would be there once.
    assert str(jax.make_jaxpr(jax.grad(sines))(X)).count(" sin ") > 2


@pytest.mark.parametrize("wrap", [lambda f: f, az.jit], ids=["eager", "jit"])
def test_remat_carries_states_and_static_values(wrap):
    net = network(Centre(), Mask())

    def block(x, double, *, name):
        assert name == "text"
        return net(x) * (2 if double else 1)

    out = wrap(lambda x: az.remat(block)(x, True, name="text"))(X)
    assert out.shape == (4, 1)
    assert int(net.layers[1].calls.value) == 1


# -- scan ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, az.jit, az.remat], ids=["plain", "jit", "remat"])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_carries_what_is_written_from_step_to_step(wrap, reverse):
    net, other = network(Centre(), Mask()), network(Centre(), Mask())
    batches = jnp.stack([inputs(seed=seed) for seed in range(3)])

    def body(carry, x):
        return carry + 1, net(x)

    count, ys = wrap(lambda xs: az.scan(body, 0, xs, reverse=reverse))(batches)
    order = range(2, -1, -1) if reverse else range(3)
    wanted = {index: other(batches[index]) for index in order}
    assert int(count) == 3
    for index in range(3):
        assert_allclose(ys[index], wanted[index], rtol=1e-4, atol=1e-5)
    for path, value in other.state_dict().items():
        assert_allclose(net.state_dict()[path], value, rtol=1e-4, atol=1e-6)


def test_scan_runs_its_body_once_for_each_step():
    state, calls = az.State(0), []

    def body(carry, x):
        jax.debug.callback(lambda: calls.append(1))
        state.value += 1
        return carry, x

    az.scan(body, 0, jnp.arange(3))
    jax.effects_barrier()
    assert len(calls) == 3
    assert int(state.value) == 3


def test_scan_over_a_length_and_over_nothing():
    state = az.State(1.0)

    def double(carry, _):
        state.value = state.value * 2
        return carry, None

    az.scan(double, 0, length=5)
    assert float(state.value) == 32
    az.scan(double, 0, length=0)
    assert float(state.value) == 32


def test_a_training_loop_may_be_a_scan():
    net, other = network(), network()
    batches = jnp.stack([inputs(seed=seed) for seed in range(4)])

    def step(carry, x):
        loss, grads = az.value_and_grad(mean_square)(net, x)
        for path, parameter in net.collect_params().items():
            parameter.value -= 0.1 * grads[path]
        return carry, loss

    losses = az.jit(lambda xs: az.scan(step, 0, xs)[1])(batches)
    weights = other.state_dict()
    for index, x in enumerate(batches):
        value, grads = jax.value_and_grad(loss_by_hand)(weights, x)
        weights = {path: w - 0.1 * grads[path] for path, w in weights.items()}
        assert_allclose(losses[index], value, rtol=1e-4)
    assert_trees_close(net.state_dict(), weights, rtol=1e-4)


def test_scans_nest():
    count = az.State(0)

    def inner(carry, _):
        count.value += 1
        return carry, None

    def outer(carry, _):
        az.scan(inner, 0, length=3)
        return carry, None

    az.jit(lambda: az.scan(outer, 0, length=4))()
    assert int(count.value) == 12


# -- vmap ---------------------------------------------------------------------------------------


def test_vmap_maps_arrays_and_not_modules_wherever_they_stand():
    net = network()
    wanted = net(X)
    assert_allclose(az.vmap(net)(X), wanted, rtol=1e-5)
    assert_allclose(az.vmap(lambda net, x: net(x))(net, X), wanted, rtol=1e-5)
    assert_allclose(az.vmap(lambda x, net: net(x))(X, net=net), wanted, rtol=1e-5)
    nested = az.vmap(lambda d: d["nets"][0](d["x"]))
    assert_allclose(nested({"nets": [net], "x": X}), wanted, rtol=1e-5)
    axes = az.vmap(
        lambda d, s: d["nets"][0](d["x"]) * s, in_axes=({"nets": None, "x": 1}, None), out_axes=1
    )
    assert_allclose(axes({"nets": [net], "x": X.T}, 2.0), 2 * wanted.T, rtol=1e-5)


def test_vmap_of_too_few_axes_is_explained():
    with pytest.raises(ValueError, match=r"axes for 1 positional arguments, but the call has 2"):
        az.vmap(lambda a, b: a, in_axes=(0,))(X, X)


def test_vmap_has_names_for_collectives():
    out = az.vmap(lambda x: x - jax.lax.pmean(x, "batch"), axis_name="batch")(X)
    assert_allclose(out, X - X.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrap", [lambda f: f, az.jit], ids=["plain", "jit"])
def test_vmap_refuses_statistics_that_differ_and_keeps_what_is_equal(wrap):
    net = network(Centre())
    batches = jnp.stack([inputs(seed=seed) for seed in range(3)])
    with pytest.raises(az.TraceError, match=r"'layers.1.mean'.*differ between the mapped inst"):
        wrap(lambda xs: az.vmap(net)(xs))(batches)
    assert int(net.layers[1].calls.value) == 0
    count = az.State(0)

    def counted(x):
        count.value += 1
        return x

    wrap(lambda x: az.vmap(counted)(x))(X)
    assert int(count.value) == 1


def test_vmap_with_pmean_may_write_statistics():
    mean = az.State(jnp.zeros(5))

    def centred(x):
        mean.value = jax.lax.pmean(x, "batch")
        return x - mean.value

    az.vmap(centred, axis_name="batch")(X)
    assert_allclose(mean.value, X.mean(0), rtol=1e-5, atol=1e-6)


# -- modules as results -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [az.jit, az.remat, az.vmap, lambda f: lambda x: az.scan(lambda c, x: (c, f(x)), 0, x)],
)
@pytest.mark.parametrize("pick", [lambda net: net, lambda net: {"p": net.layers[0].weight}])
def test_a_module_or_parameter_cannot_be_returned(transform, pick):
    net = network()
    with pytest.raises(az.TraceError, match=r"Chain was passed|parameter 'layers.0.weight'"):
        transform(lambda x: pick(net))(X)


def test_gradients_of_states_are_not_taken():
    net = network(Centre())
    assert all("mean" not in path for path in az.grad(mean_square)(net, X))


def test_backward_leaves_gradients_and_returns_what_the_function_returns():
    net = network()
    value, aux = az.backward(lambda net, x: (mean_square(net, x), "aux"), net, X, has_aux=True)
    wanted = jax.grad(loss_by_hand)(net.state_dict(), X)
    assert aux == "aux"
    assert_allclose(value, loss_by_hand(net.state_dict(), X), rtol=1e-6)
    for path, parameter in net.named_parameters():
        assert_allclose(parameter.grad, wanted[path], rtol=1e-5)


def test_backward_under_jit_with_a_deferred_network():
    net = Chain(Affine(3), Affine(1))
    step = az.jit(lambda net, x: az.backward(mean_square, net, x))
    step(net, X)
    wanted = jax.grad(loss_by_hand)(net.state_dict(), X)
    for path, parameter in net.named_parameters():
        assert_allclose(parameter.grad, wanted[path], rtol=1e-5)
    before = np.asarray(net.layers[0].weight.grad)
    step(net, inputs(seed=1))
    assert (np.asarray(net.layers[0].weight.grad) != before).any()
    assert_array_equal(np.asarray(before), before)


@pytest.mark.parametrize(
    ("returned", "options", "error", "told"),
    [
        (lambda x: x, {}, az.ShapeError, "returned float32[2]; take the mean, loss.mean()"),
        (lambda x: None, {}, TypeError, "returned None; end it with: return loss"),
        (lambda x: (x.sum(), 1), {}, TypeError, "if it is (loss, aux), pass has_aux=True"),
        (lambda x: x.sum(), {"has_aux": True}, TypeError, "returns a pair (loss, aux), but"),
        (lambda x: 3, {}, az.DTypeError, "returned 3 of type int, which has no gradient"),
        (lambda x: "loss", {}, TypeError, "return the loss, a scalar array"),
        (lambda x: az.State(1.0), {}, TypeError, "return its value"),
    ],
)
def test_what_has_no_gradient_is_told_with_what_to_return(returned, options, error, told):
    with pytest.raises(error) as caught:
        az.grad(returned, **options)(jnp.ones(2))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: az.grad(None), "a gradient is that of a function: az.grad(loss_fn)(net, x, y)"),
        (lambda: az.grad(), "grad needs function"),
        (lambda: az.grad(abs, wrt=1), "it is called 'argnums' here"),
        (lambda: az.grad(abs, "x"), "argnums is the position of an argument, 0, 1, …"),
        (lambda: az.grad(abs, None), "or a tuple of positions, got None"),
        (
            lambda: az.backward(jnp.ones(())),
            "backward needs net; it takes function, net, has_aux",
        ),
    ],
)
def test_gradients_that_are_asked_for_wrongly_say_how_to_ask(call, told):
    with pytest.raises(TypeError) as caught:
        call()
    assert told in str(caught.value)
