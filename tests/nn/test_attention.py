"""Attention against the formula, its options, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from ansatz.nn.attention_functions import Masks, attend
from tests.nn.reference import close


def rand(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def by_hand(layer, query, memory, allowed, turned=lambda x: x):
    """Attention written out in NumPy, head by head and query by query."""

    def dense(name, x):
        inner = getattr(layer, name)
        return x @ np.asarray(inner.weight.value).T + np.asarray(inner.bias.value)

    q, k, v = dense("query", query), dense("key", memory), dense("value", memory)
    size, group = q.shape[-1] // layer.num_heads, layer.num_heads // layer.kv_heads
    y = np.zeros((*q.shape[:2], layer.num_heads, size))
    for head in range(layer.num_heads):
        own = slice(head * size, (head + 1) * size)
        shared = slice(head // group * size, (head // group + 1) * size)
        qh, kh = turned(q[..., own]), turned(k[..., shared])
        for b in range(q.shape[0]):
            for i in range(q.shape[1]):
                seen = [j for j in range(k.shape[1]) if allowed(b, i, j)]
                if seen:
                    scores = np.array([qh[b, i] @ kh[b, j] for j in seen]) / np.sqrt(size)
                    weights = np.exp(scores - scores.max())
                    y[b, i, head] = weights / weights.sum() @ v[b, seen][:, shared]
    return dense("out", y.reshape(*q.shape[:2], -1))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_query_heads_share_key_heads_in_groups(kv_heads):
    layer = nn.MultiHeadAttention(8, 4, kv_heads=kv_heads, causal=True)
    x = rand(2, 5, 6)
    y = layer(jnp.asarray(x))
    assert layer.key.weight.shape == (2 * kv_heads, 6)
    close(y, by_hand(layer, x, x, lambda b, i, j: j <= i), atol=1e-5)


def test_heads_may_have_a_width_of_their_own():
    layer = nn.MultiHeadAttention(None, 2, head_units=5)
    x, memory = rand(1, 3, 6), rand(1, 4, 7, seed=1)
    y = layer(jnp.asarray(x), jnp.asarray(memory))
    assert (layer.query.weight.shape, layer.value.weight.shape) == ((10, 6), (10, 7))
    assert layer.out.weight.shape == (6, 10)
    close(y, by_hand(layer, x, memory, lambda b, i, j: True), atol=1e-5)


def test_masks_join_and_a_query_without_keys_gets_zeros_and_no_nan():
    layer = nn.MultiHeadAttention(4, 2, causal=True)
    x = rand(2, 4, 4)
    mask = np.ones((4, 4), bool)
    mask[0] = False
    real = np.array([[True] * 4, [True, True, False, False]])
    y = layer(jnp.asarray(x), mask=mask, key_mask=real)
    expected = by_hand(layer, x, x, lambda b, i, j: j <= i and mask[i, j] and real[b, j])
    close(y, expected, atol=1e-5)
    grads = az.grad(lambda net, x: net(x, mask=mask, key_mask=real).sum())(layer, jnp.asarray(x))
    assert all(jnp.isfinite(grad).all() for grad in grads.values())


def test_an_added_mask_moves_the_scores_and_minus_infinity_is_false():
    layer = nn.MultiHeadAttention(4, 2)
    x = jnp.asarray(rand(2, 3, 4))
    allowed = np.array([[True, False, False], [True, True, False], [False, False, False]])
    close(
        layer(x, mask=np.where(allowed, 0, -np.inf).astype("float32")),
        layer(x, mask=allowed),
        atol=1e-6,
    )
    close(layer(x, mask=jnp.full((2, 2, 3, 3), 7.0)), layer(x), atol=1e-5)
    assert jnp.isnan(layer(x, mask=jnp.full((3, 3), jnp.nan))).all()


def test_the_operation_of_jax_gives_the_same_as_the_formula_for_cpus(monkeypatch):
    q, k, v = (jnp.asarray(rand(2, 4, heads, 3, seed=i)) for i, heads in enumerate((4, 2, 2)))
    mask = jnp.ones((2, 1, 4, 4), bool).at[1, :, 2].set(False)
    cases = [
        (Masks(mask, None), True),
        (Masks(mask, jnp.asarray(rand(1, 4, 4, 4))), False),
    ]
    for masks, causal in cases:

        def loss(q, k, v, masks=masks, causal=causal):
            return (attend.__wrapped__(q, k, v, masks, causal=causal) ** 2).sum()

        here = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(q, k, v)
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        elsewhere = jax.jit(jax.value_and_grad(lambda *args: loss(*args), (0, 1, 2)))(q, k, v)
        monkeypatch.undo()
        jax.tree.map(lambda a, b: close(a, b, atol=1e-5), here, elsewhere)


def test_attention_weights_are_dropped_in_training_only():
    layer = nn.MultiHeadAttention(4, 2, dropout=0.5)
    x = jnp.asarray(rand(2, 6, 4))
    assert (layer(x) != layer(x)).any()
    assert (layer.eval()(x) == layer(x)).all()
    plain = nn.MultiHeadAttention(4, 2, params=layer.collect_params())
    close(layer(x), plain(x), atol=1e-6)


def test_a_single_sequence_needs_no_batch():
    layer = nn.MultiHeadAttention(4, 2)
    x = jnp.asarray(rand(2, 5, 4))
    real = jnp.array([True, True, False, True, False])
    close(layer(x[0], key_mask=real), layer(x, key_mask=jnp.stack([real, real]))[0], atol=1e-6)


def test_packed_and_separate_projections_start_in_the_same_range():
    packed, separate = nn.MultiheadAttention(64, 4), nn.MultiHeadAttention(64, 4)
    separate.settle_shapes(jax.ShapeDtypeStruct((1, 2, 64), "float32"))
    bound = (6 / 128) ** 0.5
    for weight in (packed.in_proj_weight, separate.query.weight, separate.value.weight):
        largest = float(abs(weight.value).max())
        assert 0.98 * bound < largest <= bound
        assert abs(float(weight.value.std()) - bound / 3**0.5) < 0.003
    for out in (packed.out_proj, separate.out):
        assert 0.98 / 8 < float(abs(out.weight.value).max()) <= 1 / 8
        assert not out.bias.value.any()
    other = nn.MultiheadAttention(64, 4, kdim=32)
    bound = (6 / 96) ** 0.5
    assert 0.98 * bound < float(abs(other.k_proj_weight.value).max()) <= bound


def test_all_of_a_layer_is_shared_or_nothing():
    layer = nn.MultiheadAttention(4, 2)
    twin = nn.MultiheadAttention(4, 2, params=layer.collect_params())
    assert twin.out_proj.weight is layer.out_proj.weight
    assert twin.in_proj_bias is layer.in_proj_bias
    params = nn.MultiHeadAttention(4, 2, use_bias=False).collect_params()
    with pytest.raises(az.TieError, match=r"nothing was given for 'query\.bias'"):
        nn.MultiHeadAttention(4, 2, params=params)


def test_low_precision_sums_in_float32():
    layer = nn.MultiHeadAttention(8, 2, causal=True)
    x = jnp.asarray(rand(1, 16, 8))
    y = layer(x)
    layer.collect_params().cast("bfloat16")
    low = layer(x.astype("bfloat16"))
    assert low.dtype == "bfloat16"
    close(low, y, atol=0.03)


@settings(max_examples=5, deadline=None)
@given(
    batch=st.integers(1, 3),
    queries=st.integers(1, 4),
    keys=st.integers(1, 4),
    kv_heads=st.integers(1, 2),
    group=st.integers(1, 2),
    size=st.integers(1, 3),
    causal=st.booleans(),
    rotary=st.booleans(),
)
def test_the_output_has_the_shape_of_the_queries(
    batch, queries, keys, kv_heads, group, size, causal, rotary
):
    heads = kv_heads * group
    layer = nn.MultiHeadAttention(
        2 * heads * size,
        heads,
        kv_heads=kv_heads,
        causal=causal,
        rotary=nn.RotaryPositions() if rotary else None,
    )
    x, memory = jnp.asarray(rand(batch, queries, 3)), jnp.asarray(rand(batch, keys, 2))
    layer.settle_shapes(x, memory)

    @az.jit
    def run(net):
        y, grads = az.value_and_grad(lambda net: (net(x, memory) ** 2).sum())(net)
        return y, grads, az.vmap(lambda x, memory: net(x, memory))(x, memory)

    y, grads, mapped = run(layer)
    assert grads["value.weight"].shape == (2 * kv_heads * size, 2)
    assert mapped.shape == (batch, queries, 2 * heads * size)
    close((mapped**2).sum(), y, rtol=1e-4)


BAD_CALLS = {
    "axes": ((rand(4),), {}, az.ShapeError, "batch, length and width"),
    "batch": ((rand(2, 3, 4), rand(3, 3, 4)), {}, az.ShapeError, "batch, axis 0, differs"),
    "values": (
        (rand(2, 3, 4), rand(2, 3, 4), rand(2, 4, 4)),
        {},
        az.ShapeError,
        "one value for each key",
    ),
    "mask": ((rand(2, 3, 4),), {"mask": np.ones((2, 3), bool)}, az.ShapeError, r"\(2, 2, 3, 3\)"),
    "key mask": ((rand(2, 3, 4),), {"key_mask": np.ones(3, bool)}, az.ShapeError, r"\(2, 3\)"),
    "dtype": ((rand(2, 3, 4),), {"mask": np.ones((3, 3), int)}, az.DTypeError, "booleans"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_call_that_does_not_fit_says_what_would(case):
    args, kwargs, error, message = BAD_CALLS[case]
    with pytest.raises(error, match=message):
        nn.MultiHeadAttention(4, 2)(*args, **kwargs)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.MultiHeadAttention(6, 4), "cannot split 6 units among 4 heads"),
        (lambda: nn.MultiHeadAttention(8, 4, kv_heads=3), "4 query heads and 3 key heads"),
        (lambda: nn.MultiHeadAttention(8, 0), "0 query heads"),
        (lambda: nn.MultiHeadAttention(8, 2, dropout=2), "rate of Dropout"),
        (lambda: nn.MultiheadAttention(6, 4), "cannot split embed_dim=6"),
        (lambda: nn.RotaryPositions(features=3), "features is even"),
    ],
)
def test_sizes_that_do_not_divide_are_refused_when_built(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_widths_that_do_not_divide_are_refused_when_they_become_known():
    with pytest.raises(az.ShapeError, match="5 wide, which cannot be split among 2 heads"):
        nn.MultiHeadAttention(None, 2)(rand(1, 2, 5))
    with pytest.raises(az.ShapeError, match="5 wide, which cannot be split among 2 heads"):
        nn.MultiheadAttention(None, 2)(*[rand(1, 2, 5)] * 3)
    with pytest.raises(az.ShapeError, match="give kdim and vdim"):
        nn.MultiheadAttention(4, 2)(rand(1, 2, 4), rand(1, 2, 5), rand(1, 2, 4))
    with pytest.raises(TypeError, match=r"nn\.RotaryPositions"):
        nn.MultiHeadAttention(4, 2, rotary=True)
