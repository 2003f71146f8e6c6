"""Recurrences in pieces compute what all steps at once compute, with its derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from ansatz.nn import recurrence_loop
from ansatz.nn.recurrence import KINDS, Weights, step

STEPS, BATCH, WIDTH, HIDDEN = 7, 2, 3, 4


def arguments(kind, *, projected=False, lengths=None, steps=STEPS, seed=0):
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
        valid = jnp.arange(steps)[:, None, None] < jnp.asarray(lengths)[None, :, None]
    return draw(steps, BATCH, WIDTH), state, weights, valid


def found(kind, reverse, rows, monkeypatch, args, changes):
    """The outputs, the last state, and their derivatives in both modes."""
    monkeypatch.setattr(recurrence_loop, "ROWS_AT_ONCE", rows)
    *given, valid = args

    def run(x, state, weights):
        return recurrence_loop.run(kind, x, state, weights, valid, reverse=reverse)

    return with_derivatives(run, given, changes)


def with_derivatives(run, given, changes):
    def both(given, changes):
        value, tangent = jax.jvp(run, given, changes)
        return value, tangent, jax.vjp(run, *given)[1](tangent)

    return jax.jit(both)(tuple(given), tuple(changes))


def run_by_cells(kind, reverse, x, state, weights, valid=None):
    """What `recurrence_loop.run` computes, by one step of a cell after the other."""

    def one(state, xs):
        x, valid = xs
        new = step(kind, x, state, weights)
        if weights.weight_hr is not None:
            new = (new[0] @ weights.weight_hr.T, *new[1:])
        if valid is None:
            return new, new[0]
        new = jax.tree.map(lambda a, b: jnp.where(valid, a, b), new, state)
        return new, jnp.where(valid, new[0], 0)

    last, outputs = jax.lax.scan(one, state, (x, valid), reverse=reverse)
    return outputs, last


def by_cells(kind, reverse, args, changes):
    """What `found` finds, with JAX's own derivatives."""
    *given, valid = args
    return with_derivatives(
        lambda *given: run_by_cells(kind, reverse, *given, valid), given, changes
    )


def agree(found, expected, scale=1.0):
    """All arrays within rounding, in units of `scale`."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a / scale, b / scale, rtol=2e-5, atol=2e-5),
        found,
        expected,
    )


def largest(arrays):
    return max(float(jnp.abs(array).max()) for array in jax.tree.leaves(arrays))


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
    agree(in_pieces, at_once)


def test_a_batch_wider_than_a_piece_goes_step_by_step(monkeypatch):
    args = arguments("tanh")
    changes = arguments("tanh", seed=1)[:3]
    at_once = found("tanh", False, STEPS * BATCH, monkeypatch, args, changes)
    one_by_one = found("tanh", False, 1, monkeypatch, args, changes)
    agree(one_by_one, at_once)


# The loop turns once for each 8 steps, if there are 16 at least.
@pytest.mark.parametrize("steps", [1, 16, 19])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize(
    ("kind", "projected", "lengths"),
    [
        ("lstm", False, None),
        ("lstm", True, (4, 17)),
        ("gru", False, (15, 1)),
        ("tanh", False, None),
    ],
    ids=["lstm", "lstm, projected, with lengths", "gru, with lengths", "tanh"],
)
def test_any_number_of_steps_gives_what_the_cell_gives(
    kind, projected, lengths, reverse, steps, monkeypatch
):
    options = {"projected": projected, "lengths": lengths, "steps": steps}
    args = arguments(kind, **options)
    changes = arguments(kind, **options, seed=1)[:3]
    expected = by_cells(kind, reverse, args, changes)
    ours = found(kind, reverse, 5 * BATCH, monkeypatch, args, changes)
    agree(ours, expected, max(1.0, largest(expected)))


@pytest.mark.parametrize("kind", ["lstm", "gru", "relu"])
def test_no_steps_leave_the_state_and_no_gradient(kind, monkeypatch):
    args = arguments(kind, steps=0)
    (outputs, last), _, (dx, dstate, dweights) = found(
        kind, False, 2, monkeypatch, args, arguments(kind, steps=0, seed=1)[:3]
    )
    assert outputs.shape == (0, BATCH, HIDDEN)
    assert dx.shape == (0, BATCH, WIDTH)
    agree(last, args[1])
    agree(dstate, arguments(kind, steps=0, seed=1)[1])
    assert all(not jnp.any(leaf) for leaf in jax.tree.leaves(dweights))


def test_the_second_derivative_is_that_of_the_cell():
    args = arguments("lstm", steps=17)
    *given, _ = args
    changes = arguments("lstm", steps=17, seed=1)[:3]

    def twice(run):
        def loss(*given):
            outputs, last = run(*given)
            return jnp.sum(outputs**2) + sum(jnp.sum(part**3) for part in last)

        return jax.jit(lambda: jax.jvp(jax.grad(loss, argnums=2), tuple(given), changes)[1])()

    ours = twice(
        lambda x, state, weights: recurrence_loop.run(
            "lstm", x, state, weights, None, reverse=False
        )
    )
    expected = twice(lambda *given: run_by_cells("lstm", False, *given))
    agree(ours, expected, largest(expected))


@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh"])
@pytest.mark.parametrize("sizes", ["32, b", "t, b"])
def test_gradients_are_exported_with_open_sizes(kind, sizes):
    steps, batch = export.symbolic_shape(sizes)
    x, state, weights, _ = arguments(kind, steps=24)

    def loss(x, state, weights):
        outputs, last = recurrence_loop.run(kind, x, state, weights, None, reverse=True)
        return jnp.sum(outputs**2) + sum(jnp.sum(part) for part in last)

    def like(leaf, shape):
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    gradient = jax.jit(jax.grad(loss, argnums=2))
    exported = export.export(gradient)(
        like(x, (steps, batch, WIDTH)),
        tuple(like(part, (batch, HIDDEN)) for part in state),
        jax.tree.map(lambda leaf: like(leaf, leaf.shape), weights),
    )
    if sizes.startswith("32"):
        x = jnp.concatenate([x, x[:8]])
    agree(exported.call(x, state, weights), gradient(x, state, weights))
