import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import ansatz as az
from tests.core.layers import Affine, Chain, Mask, inputs


def words(key):
    return tuple(jax.random.key_data(key).tolist())


def stream(seed=0):
    made = az.RandomStream()
    made.initialize(seed=seed)
    return made


def test_no_key_comes_twice():
    made = stream()
    assert len({words(made.next_key()) for _ in range(100)}) == 100


def test_a_seed_fixes_the_keys():
    one, other = stream(3), stream(3)
    assert [words(one.next_key()) for _ in range(3)] == [words(other.next_key()) for _ in range(3)]
    assert words(stream(3).next_key()) != words(stream(4).next_key())


def test_two_streams_of_one_network_differ():
    net = Chain(Mask(), Mask())
    net.initialize(seed=0)
    assert words(net.layers[0].stream.next_key()) != words(net.layers[1].stream.next_key())


def keys_of(count, transform, made):
    return [words(key) for key in transform(made, count)]


def eagerly(made, count):
    return [made.next_key() for _ in range(count)]


TRANSFORMS = {
    "jit each": lambda made, count: [az.jit(lambda: made.next_key())() for _ in range(count)],
    "one jit": lambda made, count: (lambda f: [f() for _ in range(count)])(
        az.jit(lambda: made.next_key())
    ),
    "all in jit": lambda made, count: az.jit(lambda: eagerly(made, count))(),
    "scan": lambda made, count: az.scan(lambda c, _: (c, made.next_key()), 0, length=count)[1],
    "jit(scan)": lambda made, count: az.jit(
        lambda: az.scan(lambda c, _: (c, made.next_key()), 0, length=count)[1]
    )(),
    "remat": lambda made, count: [az.remat(lambda: made.next_key())() for _ in range(count)],
    "grad": lambda made, count: [
        az.grad(lambda x: (x, made.next_key()), has_aux=True)(1.0)[1] for _ in range(count)
    ],
    "jit(jit)": lambda made, count: az.jit(
        lambda: [az.jit(lambda: made.next_key())() for _ in range(count)]
    )(),
}


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_every_transform_gives_the_keys_that_eager_code_gives(kind):
    made, eager = stream(), stream()
    assert keys_of(5, TRANSFORMS[kind], made) == keys_of(5, eagerly, eager)
    assert words(made.next_key()) == words(eager.next_key())


@pytest.mark.parametrize("wrap", [lambda f: f, az.jit, az.remat], ids=["plain", "jit", "remat"])
def test_vmap_gives_every_instance_a_key_of_its_own(wrap):
    made = stream()
    draw = wrap(lambda: az.vmap(lambda _: made.next_key())(jnp.arange(4)))
    first, second = [words(key) for key in draw()], [words(key) for key in draw()]
    assert len({*first, *second}) == 8
    assert int(made.value[2]) == 2


def test_nested_vmaps_give_every_instance_a_key_of_its_own():
    made = stream()
    inner = lambda x: az.vmap(lambda _: made.next_key())(x)  # noqa: E731
    keys = az.vmap(inner)(jnp.zeros((2, 3)))
    assert len({words(key) for row in keys for key in row}) == 6


def test_a_stream_under_plain_transforms_is_refused():
    made = stream()
    for transform in (
        lambda: jax.vmap(lambda _: made.next_key())(jnp.arange(2)),
        lambda: jax.grad(lambda x: x * jax.random.uniform(made.next_key()))(1.0),
        lambda: az.jit(lambda: jax.lax.scan(lambda c, _: (c, made.next_key()), 0, length=2))(),
    ):
        with pytest.raises(az.TraceError, match=r"state .* was written inside a plain JAX"):
            transform()
    assert int(made.value[2]) == 0


def test_remat_draws_the_same_mask_in_the_backward_pass():
    net = Chain(Affine(5, 5), Mask(), Affine(5, 5))
    net.initialize(seed=0)
    other = copy.deepcopy(net)
    x = inputs()
    plain = az.grad(lambda net, x: net(x).sum())(net, x)
    saved = az.grad(lambda net, x: az.remat(net)(x).sum())(other, x)
    for path, value in plain.items():
        np.testing.assert_allclose(saved[path], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_goes_on_with_the_keys_that_would_have_come(copied):
    made = stream()
    made.next_key()
    other = copied(made)
    assert words(other.next_key()) == words(made.next_key())


def test_a_stream_is_saved_and_resumed_with_the_network():
    net = Chain(Mask())
    net.initialize(seed=0)
    state = net.state_dict()
    first = net(inputs())
    out, after = az.functional_call(net, state, inputs(), return_state=True)
    assert_array_equal(out, first)
    assert_array_equal(after["layers.0.stream"], net.layers[0].stream.value)
