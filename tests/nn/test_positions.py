"""Positions against the formulas of the papers, written out in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.nn.reference import close


def rand(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_sinusoidal_positions_add_the_waves_of_the_paper():
    x = rand(2, 7, 6)
    waves = np.zeros((7, 6))
    for p in range(7):
        for i in range(3):
            waves[p, 2 * i] = np.sin(p / 100 ** (2 * i / 6))
            waves[p, 2 * i + 1] = np.cos(p / 100 ** (2 * i / 6))
    close(nn.SinusoidalPositions(100)(jnp.asarray(x)), x + waves, atol=1e-5)
    with pytest.raises(az.ShapeError, match="5 wide"):
        nn.SinusoidalPositions()(rand(1, 2, 5))


def test_learned_positions_add_one_row_each():
    layer = nn.LearnedPositions(9)
    x = rand(2, 7, 6)
    y = layer(jnp.asarray(x))
    close(y, x + np.asarray(layer.weight.value)[:7])
    assert abs(float(nn.LearnedPositions(100, 100).weight.value.std()) - 0.02) < 1e-3
    with pytest.raises(az.ShapeError, match=r"10 positions .* only 9 were declared"):
        layer(rand(2, 10, 6))


def rotated(x, base, pairs, start=0):
    """Each pair of features as a complex number, times `exp(i p / base^(2k / d))`."""
    y = x.astype("float64").copy()
    for p in range(x.shape[1]):
        for k, (a, b) in enumerate(pairs):
            turn = np.exp(1j * (p + start) / base ** (2 * k / (2 * len(pairs))))
            z = (x[:, p, :, a] + 1j * x[:, p, :, b]) * turn
            y[:, p, :, a], y[:, p, :, b] = z.real, z.imag
    return y


@pytest.mark.parametrize(
    ("options", "pairs"),
    [
        ({}, [(0, 3), (1, 4), (2, 5)]),
        ({"interleaved": True}, [(0, 1), (2, 3), (4, 5)]),
        ({"features": 4}, [(0, 2), (1, 3)]),
        ({"features": 4, "interleaved": True}, [(0, 1), (2, 3)]),
    ],
)
def test_rotary_positions_turn_pairs_of_features(options, pairs):
    x = rand(2, 5, 3, 6)
    rotary = nn.RotaryPositions(50, **options)
    close(rotary(jnp.asarray(x)), rotated(x, 50, pairs), atol=1e-5)
    close(rotary(jnp.asarray(x), 7), rotated(x, 50, pairs, start=7), atol=1e-5)


@pytest.mark.parametrize("interleaved", [False, True])
def test_with_rotary_positions_scores_depend_on_the_distance_alone(interleaved):
    rotary = nn.RotaryPositions(interleaved=interleaved)
    q, k = jnp.asarray(rand(1, 1, 1, 8)), jnp.asarray(rand(1, 1, 1, 8)[..., ::-1].copy())
    scores = [float((rotary(q, p + 3) * rotary(k, p)).sum()) for p in (0, 5, 40)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-4)


def test_rotary_positions_refuse_what_they_cannot_turn():
    with pytest.raises(az.ShapeError, match="pairs of 5 features"):
        nn.RotaryPositions()(rand(1, 2, 1, 5))
    with pytest.raises(az.ShapeError, match="pairs of 8 features, but a head has 6"):
        nn.RotaryPositions(features=8)(rand(1, 2, 1, 6))
    with pytest.raises(az.ShapeError, match="give them to an attention layer"):
        nn.RotaryPositions()(rand(1, 2, 6))


def test_attention_turns_queries_and_keys_and_no_values():
    rotary = nn.RotaryPositions()
    layer = nn.MultiHeadAttention(8, 2, rotary=rotary)
    x = jnp.asarray(rand(1, 4, 8))
    y = layer(x)
    q, k, v = (getattr(layer, name)(x).reshape(1, 4, 2, 4) for name in ("query", "key", "value"))
    pairs = [(0, 2), (1, 3)]
    q, k = (rotated(np.asarray(a), 10_000, pairs) for a in (q, k))
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) / 2
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    mixed = np.einsum("bhqk,bkhd->bqhd", weights, np.asarray(v)).reshape(1, 4, 8)
    close(y, layer.out(jnp.asarray(mixed, "float32")), atol=1e-5)
