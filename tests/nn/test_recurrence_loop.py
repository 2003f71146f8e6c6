"""Recurrences in pieces compute what all steps at once compute, with its derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ansatz.nn import recurrence_loop
from ansatz.nn.recurrence import KINDS, Weights

STEPS, BATCH, WIDTH, HIDDEN = 7, 2, 3, 4


def arguments(kind, *, projected=False, lengths=None, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape).astype(np.float32))

    rows, out = KINDS[kind].gates * HIDDEN, 2 if projected else HIDDEN
    weights = Weights(
        draw(rows, WIDTH),
        draw(rows, out),
        draw(rows),
        draw(rows),
        draw(out, HIDDEN) if projected else None,
    )
    state = tuple(draw(BATCH, size) for size in (out, HIDDEN)[: KINDS[kind].states])
    valid = None
    if lengths is not None:
        valid = jnp.arange(STEPS)[:, None, None] < jnp.asarray(lengths)[None, :, None]
    return draw(STEPS, BATCH, WIDTH), state, weights, valid


def found(kind, reverse, rows, monkeypatch, args, changes):
    """The outputs, the last state, and their derivatives in both modes."""
    monkeypatch.setattr(recurrence_loop, "ROWS_AT_ONCE", rows)
    *given, valid = args

    def run(x, state, weights):
        return recurrence_loop.run(kind, x, state, weights, valid, reverse=reverse)

    def both(given, changes):
        value, tangent = jax.jvp(run, given, changes)
        return value, tangent, jax.vjp(run, *given)[1](tangent)

    return jax.jit(both)(tuple(given), tuple(changes))


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("lstm", {}),
        ("lstm", {"projected": True, "lengths": (7, 4)}),
        ("gru", {"lengths": (2, 7)}),
        ("relu", {}),
    ],
    ids=["lstm", "lstm, projected, with lengths", "gru, with lengths", "relu"],
)
def test_pieces_of_any_length_give_what_all_steps_at_once_give(kind, options, reverse, monkeypatch):
    args = arguments(kind, **options)
    changes = arguments(kind, **options, seed=1)[:3]
    at_once = found(kind, reverse, STEPS * BATCH, monkeypatch, args, changes)
    # Three pieces of two steps and one of one.
    in_pieces = found(kind, reverse, 2 * BATCH, monkeypatch, args, changes)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), in_pieces, at_once
    )


def test_a_batch_wider_than_a_piece_goes_step_by_step(monkeypatch):
    args = arguments("tanh")
    changes = arguments("tanh", seed=1)[:3]
    at_once = found("tanh", False, STEPS * BATCH, monkeypatch, args, changes)
    one_by_one = found("tanh", False, 1, monkeypatch, args, changes)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), one_by_one, at_once
    )
