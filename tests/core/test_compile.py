import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import ansatz as az
from tests.core.layers import Affine, Branches, Call, Centre, Chain, Mask, inputs, mean_square, sgd

X = inputs()


def run(net, x):
    return net(x)


# -- equal to hand-written JAX ------------------------------------------------------------------


def test_a_training_step_is_what_hand_written_jax_computes():
    net = Chain(Affine(3, 5), Affine(1, 3))
    net.initialize(seed=0)
    weights = net.state_dict()

    def loss(weights, x):
        hidden = x @ weights["layers.0.weight"].T + weights["layers.0.bias"]
        return ((hidden @ weights["layers.1.weight"].T + weights["layers.1.bias"]) ** 2).mean()

    @jax.jit
    def by_hand(weights, x):
        value, grads = jax.value_and_grad(loss)(weights, x)
        return value, jax.tree.map(lambda w, g: w - 0.1 * g, weights, grads)

    step = az.jit(sgd)
    for seed in range(3):
        value, weights = by_hand(weights, inputs(seed=seed))
        assert_allclose(step(net, inputs(seed=seed)), value, rtol=1e-6)
    for path, value in net.state_dict().items():
        assert_allclose(value, weights[path], rtol=1e-5, atol=1e-7)
    assert step.traces == 1


def test_states_and_streams_move_as_in_eager_code():
    net, eager = Chain(Affine(3), Centre(), Mask()), Chain(Affine(3), Centre(), Mask())
    net.initialize(seed=0)
    eager.initialize(seed=0)
    step = az.jit(run)
    for seed in range(3):
        x = inputs(seed=seed)
        assert_allclose(step(net, x), eager(x), rtol=1e-5, atol=1e-6)
    for path, value in eager.state_dict().items():
        assert_allclose(net.state_dict()[path], value, rtol=1e-6)
    assert (step(net, X) != step(net, X)).any()


# -- arguments ----------------------------------------------------------------------------------


def test_modules_may_stand_anywhere_among_the_arguments():
    net, other = Affine(3, 5), Affine(2, 5)
    wanted = net(X).sum() + other(X).sum()

    def both(x, nets, *, more):
        return nets["a"][0](x).sum() + more(x).sum()

    call = az.jit(both)
    for _ in range(2):
        assert_allclose(call(X, {"a": (net, None)}, more=other), wanted, rtol=1e-5)
        assert_allclose(call(X, more=other, nets={"a": (net, None)}), wanted, rtol=1e-5)
    assert call.traces == 2  # Once with `nets` by position and once by keyword.


def test_cells_may_be_arguments():
    p, s = az.Parameter((2,), init="ones"), az.State(jnp.zeros(2))

    @az.jit
    def add(p, s):
        s.value = s.value + p.value

    add(p, s)
    add(p, s=s)
    assert s.value.tolist() == [2, 2]


def test_a_module_that_is_passed_and_closed_over_is_one_module():
    net = Chain(Affine(3, 5), Centre())
    step = az.jit(lambda other, x: other(x) + net(x))
    step(net, X)
    assert int(net.layers[1].calls.value) == 2
    other = Chain(Affine(3, 5), Centre())
    step(other, X)
    assert int(net.layers[1].calls.value) == 3
    assert int(other.layers[1].calls.value) == 1


def test_pytrees_go_in_and_come_out():
    net = Affine(3, 5)
    call = az.jit(lambda net, batch: {"y": net(batch["x"]), "n": (batch["n"] + 1, None)})
    out = call(net, {"x": X, "n": 3})
    assert out["y"].shape == (4, 3)
    assert int(out["n"][0]) == 4
    assert out["n"][1] is None


def test_static_arguments_by_position_and_by_keyword():
    def power(net, x, k, *, root=False):
        return net(x) ** k if not root else jnp.sqrt(abs(net(x) ** k))

    net = Affine(3, 5)
    call = az.jit(power, static_argnames=("k", "root"))
    assert_allclose(call(net, X, 2), net(X) ** 2, rtol=1e-5)
    assert_allclose(call(net, X, k=3), net(X) ** 3, rtol=1e-5)
    assert_allclose(call(net, X, 2, root=True), abs(net(X)), rtol=1e-5)
    traces = call.traces
    call(net, X, 2)
    call(net, X, k=3)
    call(net, X, root=True, k=2)
    assert call.traces <= traces + 1
    assert_allclose(call(net, X, 2.0), net(X) ** 2, rtol=1e-5)


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0), ("1", 1)])
def test_static_arguments_of_different_types_are_different(one, other):
    call = az.jit(
        lambda k: jnp.zeros(()) if type(k) is type(one) else jnp.ones(()), static_argnames="k"
    )
    assert float(call(one)) == 0
    assert float(call(other)) == 1
    assert float(call(one)) == 0


def test_a_static_argument_after_variable_positions_is_found_by_name_only():
    call = az.jit(lambda *xs, k=1: sum(xs) * k, static_argnames="k")
    assert float(call(jnp.ones(()), jnp.ones(()), k=3)) == 6
    assert float(call(jnp.ones(()), jnp.ones(()))) == 2


def test_an_unhashable_static_argument_is_explained():
    call = az.jit(lambda x, k: x, static_argnames="k")
    with pytest.raises(TypeError, match=r"not hashable.*use a tuple for a list"):
        call(X, [1])


def test_a_static_name_that_the_function_lacks_is_refused_at_once():
    with pytest.raises(ValueError, match=r"static_argnames names \['kk'\].*takes \['x', 'k'\]"):
        az.jit(lambda x, k: x, static_argnames="kk")


def test_a_string_that_is_not_static_is_explained():
    with pytest.raises(TypeError, match=r"static_argnames"):
        az.jit(lambda x, k: x)(X, "text")


def test_static_arguments_of_a_module_are_those_of_its_forward():
    class Net(az.Module):
        def __init__(self):
            self.layer = Affine(3, 5)

        def forward(self, x, double=False):
            return self.layer(x) * 2 if double else self.layer(x)

    net = Net()
    call = az.jit(net, static_argnames="double")
    assert_allclose(call(X, double=True), 2 * net(X), rtol=1e-5)
    assert_allclose(call(X), net(X), rtol=1e-5)


def test_a_list_or_numpy_batch_is_an_argument_like_any():
    net = Affine(3, 5)
    call = az.jit(run)
    assert_allclose(call(net, np.asarray(X)), net(X), rtol=1e-5)


# -- what is compiled ---------------------------------------------------------------------------


class Encoder(az.Module):
    def __init__(self):
        self.layer = Affine(3, 5)
        self.calls = az.State(0)

    def encode(self, x, scale=1.0):
        self.calls.value += 1
        return self.layer(x) * scale

    @az.jit
    def compiled(self, x):
        self.calls.value += 1
        return self.layer(x)

    @az.jit(static_argnames="k")
    def power(self, x, k):
        return self.layer(x) ** k


def test_a_method_may_be_compiled():
    net = Encoder()
    encode = az.jit(net.encode)
    for _ in range(2):
        assert_allclose(encode(X, scale=2.0), 2 * net.layer(X), rtol=1e-5)
    assert int(net.calls.value) == 2
    assert encode.traces == 1
    assert "stablehlo" in encode.lower(X, scale=2.0).as_text()


def test_a_method_may_be_compiled_in_the_class_body():
    net, other = Encoder(), Encoder()
    for _ in range(2):
        assert_allclose(net.compiled(X), net.layer(X), rtol=1e-5)
        assert_allclose(other.compiled(X), other.layer(X), rtol=1e-5)
    assert (int(net.calls.value), int(other.calls.value)) == (2, 2)
    assert Encoder.compiled.traces == 1
    assert net.compiled.traces == 1
    assert_allclose(net.power(X, 2), net.layer(X) ** 2, rtol=1e-5)
    assert_allclose(net.power(X, k=3), net.layer(X) ** 3, rtol=1e-5)


def test_a_module_may_be_compiled_itself():
    net = Chain(Affine(3, 5), Centre())
    net.settle_shapes(X)
    call = az.jit(net)
    call(X)
    call(X)
    assert int(net.layers[1].calls.value) == 2
    assert call.traces == 1


def test_the_program_can_be_looked_at():
    net = Chain(Affine(3), Centre())
    step = az.jit(sgd)
    lowered = step.lower(net, X)
    assert "stablehlo.dot_general" in lowered.as_text()
    assert "HloModule" in lowered.compile().as_text()
    assert net.layers[0].weight.shape == (3, 5)
    assert int(net.layers[1].calls.value) == 0
    assert "sgd" in lowered.as_text()


def test_a_compiled_function_keeps_its_name_and_doc():
    @az.jit
    def step():
        """Do it."""

    assert step.__name__ == "step"
    assert step.__doc__ == "Do it."
    assert "step" in repr(step)


# -- shapes -------------------------------------------------------------------------------------


def test_other_shapes_and_dtypes_are_traced_once_each():
    net = Affine(3, 5)
    call = az.jit(run)
    for _ in range(2):
        for batch in (1, 4, 7):
            assert call(net, inputs(batch)).shape == (batch, 3)
        assert call(net, X.astype("float16")).shape == (4, 3)
    assert call.traces == 4


class Scale(az.Module):
    def __init__(self, factor):
        self.factor = az.Parameter((5,), init=lambda shape: np.full(shape, factor, np.float32))
        self.calls = az.State(0)

    def forward(self, x):
        self.calls.value += 1
        return x * self.factor.value


ORDERS = pytest.mark.parametrize("batches", [(1, 4, 1, 4), (4, 1, 4, 1), (1, 1, 4, 4)])
NESTINGS = pytest.mark.parametrize(
    "nest",
    [
        lambda f: f,
        lambda f: az.jit(lambda net, x: f(net, x)),
        lambda f: lambda net, x: az.value_and_grad(f)(net, x)[0],
        lambda f: az.jit(lambda net, x: az.value_and_grad(f)(net, x)[0]),
        lambda f: lambda net, x: az.scan(lambda c, x: (c, f(net, x)), 0, x[None])[1][0],
    ],
    ids=["plain", "jit(jit)", "grad(jit)", "jit(grad(jit))", "scan(jit)"],
)


@ORDERS
@NESTINGS
def test_a_shape_that_takes_another_branch_reads_and_writes_that_branch(batches, nest):
    net = Branches(Scale(2), Scale(3))
    inner = az.jit(lambda net, x: net(x).sum())
    call = nest(inner)
    for batch in batches:
        assert float(call(net, jnp.ones((batch, 5)))) == (10 if batch == 1 else 15 * batch)
    assert int(net.one.calls.value) == batches.count(1)
    assert int(net.many.calls.value) == batches.count(4)
    for batch in batches:
        call(net, jnp.ones((batch, 5)))
    traces = inner.traces
    for batch in batches:
        call(net, jnp.ones((batch, 5)))
    assert inner.traces == traces


@NESTINGS
def test_a_branch_that_only_reads_is_not_given_zeros(nest):
    class Read(az.Module):
        def __init__(self, factor):
            self.factor = az.Parameter((5,), init=lambda shape: np.full(shape, factor, np.float32))

        def forward(self, x):
            return x * self.factor.value

    net = Branches(Read(2), Read(3))
    call = nest(az.jit(lambda net, x: net(x).sum()))
    assert float(call(net, jnp.ones((1, 5)))) == 10
    assert float(call(net, jnp.ones((2, 5)))) == 30
    assert float(call(net, jnp.ones((1, 5)))) == 10


# -- cells made in a trace ----------------------------------------------------------------------


def test_a_parameter_that_is_made_anew_in_each_trace_is_refused():
    @az.jit
    def make(x):
        return x * az.Parameter((5,), init="ones").value

    with pytest.raises(az.TraceError, match="create states, parameters and modules outside"):
        make(X)


def test_a_state_may_live_within_one_trace():
    @az.jit
    def total(x):
        held = az.State(jnp.zeros(5))
        for row in x:
            held.value = held.value + row
        return held.value

    assert_allclose(total(X), X.sum(0), rtol=1e-5)
    assert_allclose(total(X[:2]), X[:2].sum(0), rtol=1e-5)


# -- control flow -------------------------------------------------------------------------------


def test_cond_and_custom_vjp_may_read_parameters():
    net = Affine(3, 5)
    net.initialize(seed=0)

    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, g: (7 * g,))

    @az.jit
    def f(net, x):
        return jax.lax.cond(x.sum() > 0, net, lambda x: 2 * net(x), double(x)).sum()

    assert_allclose(f(net, abs(X)), net(2 * abs(X)).sum(), rtol=1e-5)
    grad = az.jit(az.grad(lambda net, x: double(net(x)).sum()))(net, X)
    assert_allclose(grad["bias"], np.full(3, 7.0 * 4), rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "copy", "scale", "swap", "param", "read"]),
            st.integers(0, 2),
            st.integers(0, 2),
        ),
        max_size=8,
    )
)
def test_a_compiled_program_of_reads_and_writes_equals_the_eager_one(program):
    def build():
        net = az.Module()
        net.cells = [az.State(jnp.full((2,), float(i))) for i in range(2)]
        net.cells.append(az.Parameter(jnp.full((2,), 5.0)))
        return net

    def execute(net, x):
        seen = jnp.zeros(2)
        for name, i, j in program:
            a, b = net.cells[i], net.cells[j]
            if name == "add":
                a.value = a.value + b.value
            elif name == "copy":
                a.value = b.value
            elif name == "scale":
                a.value = a.value * x
            elif name == "swap":
                a.value, b.value = b.value, a.value
            elif name == "param":
                a *= 0.5
            else:
                seen = seen + a.value
        return seen

    eager, compiled = build(), build()
    step = az.jit(execute)
    for _ in range(3):
        assert_allclose(step(compiled, jnp.float32(2)), execute(eager, jnp.float32(2)))
        for mine, theirs in zip(compiled.cells, eager.cells, strict=True):
            assert_array_equal(mine.value, theirs.value)
    assert step.traces == 1


def test_wrapping_in_partial_works_both_ways():
    net = Affine(3, 5)
    inside = functools.partial(az.jit(run), net)
    outside = az.jit(functools.partial(run, net))
    by_name = az.jit(functools.partial(lambda x, net: net(x), net=net))
    for call in (inside, outside, by_name):
        assert_allclose(call(X), net(X), rtol=1e-5)


def test_jit_within_scan_within_jit():
    net = Chain(Affine(5, 5), Mask(), Centre())
    net.initialize(seed=0)
    other = Chain(Affine(5, 5), Mask(), Centre())
    other.initialize(seed=0)
    layer = az.jit(run)

    def loop(net, x):
        return az.scan(lambda carry, _: (layer(net, carry), None), x, length=3)[0]

    by_hand = X
    for _ in range(3):
        by_hand = other(by_hand)
    assert_allclose(az.jit(loop)(net, X), by_hand, rtol=1e-4, atol=1e-5)
    assert int(net.layers[2].calls.value) == 3
    assert_allclose(net.layers[2].mean.value, other.layers[2].mean.value, rtol=1e-4, atol=1e-6)


def test_a_call_through_a_held_function_is_followed():
    net = Affine(3, 5)
    outer = Call(lambda x: net(x))
    assert_allclose(az.jit(run)(outer, X), net(X), rtol=1e-5)
    assert list(az.grad(mean_square)(outer, X)) == []


@pytest.mark.parametrize("given", ["traced", "constant"])
def test_a_known_program_called_in_a_plain_trace_loses_no_write_silently(given):
    count = az.State(jnp.zeros(()))

    @az.jit
    def tick(x):
        count.value = count.value + 1
        return x * 2

    tick(1.0)
    tick(1.0)  # The program and its plan are known by now, and nothing was read in between.
    refused = pytest.raises(az.TraceError, match="written inside a plain JAX transformation")
    with pytest.warns(az.StaleParameterWarning), refused:
        jax.jit(lambda x: x + tick(x if given == "traced" else 1.0))(1.0)
    assert count.value == 2


def test_a_known_program_that_writes_nothing_becomes_part_of_a_plain_trace():
    scale = az.State(jnp.full((), 3.0))

    @az.jit
    def scaled(x):
        return x * scale.value

    scaled(1.0)
    with pytest.warns(az.StaleParameterWarning):
        assert jax.jit(scaled)(2.0) == 6
    assert jax.grad(scaled)(2.0) == 3


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: az.jit(3), "jit compiles a function or a module, got 3 of type int"),
        (lambda: az.jit(abs, static_argnames=3), "or a tuple of names, got 3 of type int"),
        (lambda: az.jit(abs, donate=(0,)), "donate is True or False"),
    ],
)
def test_what_cannot_be_compiled_is_told(call, told):
    with pytest.raises(TypeError) as caught:
        call()
    assert told in str(caught.value)


def test_an_error_of_jax_tells_where_the_user_wrote_the_function():
    class Named(az.Module):
        def forward(self, x):
            return "text"

    for wrong in (lambda x: "text", functools.partial(lambda y, x: "text", 1), Named()):
        with pytest.raises(TypeError, match=r"at .*test_compile\.py:\d+ traced for jit"):
            az.jit(wrong)(jnp.ones(2))
