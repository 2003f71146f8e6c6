"""Bags of embeddings, beyond what PyTorch's numbers say (`tests/parity`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.nn.reference import close

TABLE = np.arange(12, dtype="float32").reshape(4, 3) - 5


def bag(**options):
    layer = nn.EmbeddingBag(4, 3, **options)
    layer.weight.value = TABLE
    return layer


def test_bags_may_have_any_axes_before_them():
    x = jnp.array([[[0, 1], [2, 2]], [[3, 0], [1, 3]]])
    close(bag()(x), TABLE[np.asarray(x)].mean(-2))
    close(bag()(x[0, 0]), TABLE[:2].mean(0))


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_a_bag_with_nothing_in_it_gives_zeros(mode):
    layer = bag(mode=mode, padding_index=-1)
    assert not layer(jnp.array([[3, 3]])).any()
    assert not layer(jnp.zeros((2, 0), "int32")).any()
    y = layer(jnp.array([1, 3]), jnp.array([0, 0, 1]))
    close(y, [[0, 0, 0], TABLE[1], [0, 0, 0]])


def test_padding_gets_no_gradient():
    layer = bag(padding_index=-1)
    grads = az.grad(lambda net: net(jnp.array([[3, 3], [1, 3]])).sum())(layer)
    assert grads["weight"].sum(1).tolist() == [0, 3, 0, 0]


def test_an_integer_out_of_range_gives_nan():
    y = bag(mode="max")(jnp.array([[0, 4], [0, 1]]))
    assert jnp.isnan(y[0]).all()
    assert jnp.isfinite(y[1]).all()


def test_sums_of_half_precision_are_taken_in_float32():
    layer = nn.EmbeddingBag(2, 1, mode="sum", dtype="bfloat16")
    layer.weight.value = jnp.array([[256], [1]], "bfloat16")
    # In bfloat16, 256 + 1 would be 256, however often 1 is added.
    y = layer(jnp.array([[0, *[1] * 8]]))
    assert (y.dtype, float(y[0, 0])) == (jnp.bfloat16, 264)


MISTAKES = {
    "mode": (lambda: bag(mode="median"), ValueError, "'sum', 'mean' or 'max', got 'median'"),
    "row": (lambda: bag(padding_index=4), ValueError, "padding_index of EmbeddingBag"),
    "floats": (lambda: bag()(jnp.ones((2, 2))), az.DTypeError, "EmbeddingBag looks up integers"),
    "one integer": (lambda: bag()(jnp.array(1)), az.ShapeError, r"got shape \(\)"),
    "axes": (
        lambda: bag()(jnp.ones((2, 2), int), jnp.array([0])),
        az.ShapeError,
        r"\(integers of all bags,\) with offsets, got shape \(2, 2\)",
    ),
    "one offset": (lambda: bag()(jnp.ones(2, int), 0), az.ShapeError, r"shape \(bags,\)"),
    "half offsets": (
        lambda: bag()(jnp.ones(2, int), np.array([0.5])),
        az.DTypeError,
        "are integers, got float64",
    ),
    "start": (lambda: bag()(jnp.ones(2, int), [1]), ValueError, r"first .* is 0, .* got \[1\]"),
    "order": (lambda: bag()(jnp.ones(2, int), [0, 2, 1]), ValueError, "rise from 0"),
    "past the end": (lambda: bag()(jnp.ones(2, int), [0, 3]), ValueError, "at most the 2"),
    "weights of a mean": (
        lambda: bag()(jnp.ones((1, 2), int), weights=jnp.ones((1, 2))),
        ValueError,
        "build it with mode='sum'",
    ),
    "weights": (
        lambda: bag(mode="sum")(jnp.ones((1, 2), int), weights=jnp.ones(2)),
        az.ShapeError,
        r"shape \(1, 2\); got float32\[2\]",
    ),
    "their name": (
        lambda: bag(mode="sum")(jnp.ones((1, 2), int), per_sample_weights=1),
        TypeError,
        "per_sample_weights",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake):
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        call()


def test_offsets_may_be_known_only_when_it_runs():
    layer, x = bag(mode="sum"), jnp.array([0, 1, 2])
    y = jax.jit(lambda state, o: az.functional_call(layer, state, x, o))(
        layer.state_dict(), jnp.array([0, 2])
    )
    close(y, [TABLE[0] + TABLE[1], TABLE[2]])


def test_it_prints_its_mode():
    assert repr(bag(padding_index=0)) == "EmbeddingBag(4, 3, padding_index=0, mode='mean')"
