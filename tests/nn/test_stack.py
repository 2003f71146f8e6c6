"""Stacks: alike layers that are compiled once and are otherwise those of a Sequential."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.nn.reference import close


class Block(nn.Module):
    """Dropout, a running statistic, a tie within, and a dense layer of unknown input width."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Dense(4, activation="tanh")
        self.norm = nn.BatchNorm()
        self.outer = nn.Dense(4)
        self.outer.bias = self.inner.bias
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, scale=1.0):
        return x + scale * self.dropout(self.outer(self.norm(self.inner(x))))


def pair(n=3, make=Block, **options):
    """A stack and a sequential of the same layers, initialised alike."""
    both = nn.Stack(make, n, **options), nn.Sequential(*(make() for _ in range(n)))
    for net in both:
        net.initialize(seed=3)
    return both


def inputs(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape or (5, 4)), "float32")


def run(net, x):
    return net(x)


def same_state(a, b, atol=1e-6):
    a, b = a.state_dict(), b.state_dict()
    assert list(a) == list(b)
    for path, value in a.items():
        close(value, b[path], atol=atol)


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("unroll", [False, 2, True])
def test_a_compiled_stack_computes_what_a_sequential_computes_and_writes_the_same(remat, unroll):
    stack, sequential = pair(remat=remat, unroll=unroll)
    step, x = az.jit(run), inputs()
    for _ in range(2):
        close(step(stack, x), sequential(x), atol=1e-5)
    same_state(stack, sequential, atol=1e-5)


def test_an_eager_stack_computes_what_a_compiled_one_computes():
    stack, compiled = pair()[0], pair()[0]
    x = inputs()
    close(stack(x), az.jit(compiled)(x), atol=1e-6)
    same_state(stack, compiled)


def test_initial_values_are_those_of_a_sequential_at_the_same_path():
    def net(layers):
        whole = nn.Sequential({"embed": nn.Dense(4), "layers": layers})
        whole.initialize(seed=7)
        az.jit(run)(whole, inputs(5, 2))
        return whole

    stack = net(nn.Stack(Block, 3))
    sequential = net(nn.Sequential(Block(), Block(), Block()))
    assert "layers.2.inner.weight" in stack.collect_params()
    for path, parameter in stack.collect_params().items():
        assert (parameter.value == sequential.get_parameter(path).value).all(), path
    first, second = (stack["layers"][i].inner.weight.value for i in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize("first_call", ["eager", "az.jit", "az.grad in az.jit", "dry run"])
def test_one_call_settles_the_shapes_of_every_layer(first_call):
    stack, x = nn.Stack(Block, 3), inputs()
    if first_call == "eager":
        stack(x)
    elif first_call == "az.jit":
        az.jit(run)(stack, x)
    elif first_call == "dry run":
        stack.settle_shapes(jax.ShapeDtypeStruct(x.shape, x.dtype))
    else:
        grads = az.jit(az.grad(lambda net, x: net(x).sum()))(stack, x)
        assert grads.keys() == set(stack.collect_params())
    assert [layer.inner.weight.shape for layer in stack] == [(4, 4)] * 3
    assert stack[2].norm.running_mean.shape == (4,)


def test_gradients_are_those_of_a_sequential():
    stack, sequential = pair()
    x = inputs()

    def loss(net, x):
        return (net(x) ** 2).sum()

    grad = az.jit(az.grad(loss, (0, 1)))
    (grads, array), (expected, expected_array) = grad(stack, x), grad(sequential, x)
    assert grads.keys() == expected.keys()
    for path, value in grads.items():
        close(value, expected[path], atol=1e-4)
    close(array, expected_array, atol=1e-4)


def test_dropout_differs_from_layer_to_layer_and_from_call_to_call():
    class Record(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)
            self.mask = az.State(shape=(64,))

        def forward(self, x):
            self.mask.value = self.dropout(jnp.ones(64))
            return x

    stack, step = nn.Stack(Record, 2), az.jit(run)
    step(stack, inputs())
    first = [layer.mask.value for layer in stack]
    step(stack, inputs())
    second = [layer.mask.value for layer in stack]
    masks = [*first, *second]
    assert all((a != b).any() for i, a in enumerate(masks) for b in masks[:i])


def test_files_and_state_dicts_are_those_of_a_sequential(tmp_path):
    sequential, x = pair()[1], inputs()
    sequential(x)
    sequential.save(tmp_path / "net.safetensors")
    fresh = nn.Stack(Block, 3)
    fresh.load(tmp_path / "net.safetensors")
    close(az.jit(fresh.eval())(x), sequential.eval()(x), atol=1e-5)
    other = nn.Sequential(Block(), Block(), Block())
    other.load_state_dict(fresh.state_dict())
    same_state(other, fresh)


def test_a_frozen_layer_gets_no_gradient_and_the_others_keep_theirs():
    stack, x = nn.Stack(lambda: nn.Dense(4, activation="tanh"), 3), inputs()
    grad = az.jit(az.grad(lambda net, x: net(x).sum()))
    everything = grad(stack, x)
    stack.freeze("1.*")
    grads = grad(stack, x)
    assert grads.keys() == {path for path in everything if not path.startswith("1.")}
    for path, value in grads.items():
        close(value, everything[path])


def test_a_parameter_that_all_layers_share_has_the_sum_of_gradients():
    shared = nn.Dense(4, weight_init="ones")
    stack = nn.Stack(lambda: nn.Sequential(shared), 3)
    grads = az.jit(az.grad(lambda net, x: net(x).sum()))(stack, inputs(2, 4))
    plain = nn.Sequential(shared, shared, shared)
    expected = az.grad(lambda net, x: net(x).sum())(plain, inputs(2, 4))
    assert grads.keys() == {"0.0.weight", "0.0.bias"}
    close(grads["0.0.weight"], expected["0.weight"], atol=1e-2)


def test_a_parameter_that_some_layers_share_stays_one():
    stack, x = nn.Stack(lambda: nn.Dense(4), 3), inputs()
    stack[2].weight = stack[0].weight
    grads = az.jit(az.grad(lambda net, x: (net(x) ** 2).sum()))(stack, x)
    expected = az.grad(lambda net, x: (net(x) ** 2).sum())(nn.Sequential(*stack), x)
    assert grads.keys() == {"0.weight", "0.bias", "1.weight", "1.bias", "2.bias"}
    for path, value in grads.items():
        close(value, expected[path], atol=1e-5)


class Counted(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, x):
        self.count.value += 1
        return x + self.count.value


def test_a_state_that_all_layers_share_goes_from_layer_to_layer():
    count = az.State(0)
    stack = nn.Stack(lambda: Counted(count), 3)
    assert float(az.jit(stack)(jnp.zeros(()))) == 1 + 2 + 3
    assert int(count.value) == 3


def test_a_state_that_some_layers_share_is_refused():
    counts = iter([count := az.State(0), count, az.State(0)])
    stack = nn.Stack(lambda: Counted(next(counts)), 3)
    with pytest.raises(az.StructureError, match="share it among all or none"):
        az.jit(stack)(jnp.zeros(()))
    assert int(count.value) == 0


def test_further_arguments_reach_every_layer():
    stack, sequential = pair()
    x = inputs()
    az.jit(lambda net, x: net.eval()(x))(stack, x)
    expected = x
    for layer in sequential.eval():
        expected = layer(expected, scale=0.5)
    close(az.jit(lambda x: stack(x, scale=0.5))(x), expected, atol=1e-5)
    close(az.jit(lambda x, s: stack(x, s))(x, jnp.float32(0.5)), expected, atol=1e-5)


def test_a_stack_runs_under_vmap_and_as_a_pure_function():
    stack = pair(make=lambda: nn.Dense(4, activation="tanh"))[0]
    x = inputs(2, 5, 4)
    y = az.jit(stack)(x)
    close(az.jit(az.vmap(lambda x: stack(x)))(x), y, atol=1e-6)
    pure = jax.jit(lambda state, x: az.functional_call(stack, state, x))
    close(pure(stack.state_dict(), x), y, atol=1e-6)
    states = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), stack.state_dict())
    ensemble = jax.jit(jax.vmap(pure, (0, None)))(states, x)
    close(ensemble[0], y, atol=1e-6)
    assert (ensemble[0] != ensemble[1]).any()


def test_one_layer_is_traced_however_many_there_are():
    calls = []

    class Traced(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = nn.Dense(4)

        def forward(self, x):
            calls.append(1)
            return self.dense(x)

    counts = []
    for n in (2, 30):
        stack = nn.Stack(Traced, n)
        stack.settle_shapes(inputs())
        calls.clear()
        az.jit(stack)(inputs())
        counts.append(len(calls))
    assert counts[0] == counts[1] <= 2


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: nn.Sequential(nn.Dense(4, 4, activation="relu")), r"layer 1 .* in '0': .*relu"),
        (lambda: nn.Sequential(nn.Dense(4, 4, use_bias=False)), "use_bias=False"),
        (lambda: nn.Sequential(nn.Linear(4, 4)), "Linear"),
        (lambda: nn.Sequential(nn.Dense(4, 4), nn.Dense(4, 4)), "layer 1 differs"),
    ],
)
@pytest.mark.parametrize("transform", [az.jit, lambda net: net])
def test_layers_that_differ_are_named(other, message, transform):
    layers = iter([nn.Sequential(nn.Dense(4, 4)), other()])
    stack = nn.Stack(lambda: next(layers), 2)
    with pytest.raises(az.StructureError, match=message):
        transform(stack)(inputs())


def test_functions_of_one_expression_are_alike_if_they_close_over_the_same():
    def stack(powers):
        powers = iter(powers)

        def make():
            power = next(powers)
            return nn.Dense(4, 4, activation=lambda x: x**power)

        return nn.Stack(make, 2)

    assert az.jit(stack([2, 2]))(inputs()).shape == (5, 4)
    with pytest.raises(az.StructureError, match="layer 1 differs"):
        az.jit(stack([2, 3]))(inputs())


def test_a_hook_on_one_layer_is_called_if_the_stack_is_unrolled_and_else_refused():
    stack = nn.Stack(lambda: nn.Sequential(nn.Dense(4, 4)), 2)
    seen = []
    remove = stack[1][0].register_forward_hook(lambda layer, args, y: seen.append(y.shape))
    with pytest.raises(az.StructureError, match=r"1 differs.*in '0':.*stack\.unroll = True"):
        stack(inputs())
    stack.unroll = True
    az.jit(stack)(inputs())
    assert set(seen) == {(5, 4)}
    remove()
    stack.unroll = False
    assert stack(inputs()).shape == (5, 4)


def test_layers_of_other_shapes_or_dtypes_are_named():
    layers = iter([nn.Dense(4, 4), nn.Dense(5, 4)])
    with pytest.raises(az.ShapeError, match=r"'1.weight' has shape \(5, 4\)"):
        nn.Stack(lambda: next(layers), 2)(inputs())
    stack = nn.Stack(lambda: nn.Dense(4, 4), 2)
    stack[1].collect_params().cast("bfloat16")
    with pytest.raises(az.DTypeError, match=r"'1\.weight' has dtype bfloat16"):
        stack(inputs())


def test_a_layer_that_does_not_keep_shape_or_dtype_is_refused():
    with pytest.raises(az.ShapeError, match=r"turned \(5, 4\) into \(5, 8\)"):
        az.jit(nn.Stack(lambda: nn.Dense(8), 2))(inputs())
    with pytest.raises(az.DTypeError, match="turned bfloat16 into float32"):
        az.jit(nn.Stack(lambda: nn.Dense(4), 2))(inputs().astype("bfloat16"))


def test_what_is_no_maker_of_layers_is_refused():
    with pytest.raises(TypeError, match="lambda"):
        nn.Stack(nn.Dense(4), 3)
    with pytest.raises(TypeError, match="a layer is a module"):
        nn.Stack(lambda: 3, 3)
    with pytest.raises(ValueError, match="n cannot be negative"):
        nn.Stack(Block, -1)


def test_an_edit_between_two_calls_is_seen():
    stack, step, x = nn.Stack(lambda: nn.Dense(4, use_bias=False), 2), az.jit(run), inputs()
    step(stack, x)
    stack[1].weight.data[:] = 0
    assert not step(stack, x).any()
    stack[1].activation = "relu"
    with pytest.raises(az.StructureError, match="layer 1 differs"):
        step(stack, x)


def test_an_empty_stack_a_slice_and_a_copy_are_stacks():
    x = inputs()
    assert (az.jit(nn.Stack(Block, 0))(x) == x).all()
    stack = pair()[0].eval()
    y = az.jit(stack)(x)
    assert type(stack[:2]) is nn.Stack
    assert stack[:2][1] is stack[1]
    close(az.jit(stack[:2])(x), stack[1](stack[0](x)), atol=1e-6)
    close(az.jit(copy.deepcopy(stack))(x), y)


@pytest.mark.parametrize(("unroll", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_how_far_a_stack_is_unrolled_is_a_whole_number(unroll, error):
    with pytest.raises(error, match="unroll"):
        nn.Stack(lambda: nn.Dense(4), 2, unroll=unroll)
