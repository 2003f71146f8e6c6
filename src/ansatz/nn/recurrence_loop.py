"""Recurrences: all steps of one direction of one recurrent layer, and their derivative.

A recurrent layer turns inputs `x_t` and a state into new states, step by step. What can be done for
many steps at once is done so: the projection of the inputs is one matrix product before the steps,
and the gradients of all weights are matrix products after them. The steps themselves, a
`jax.lax.scan`, multiply the state with the recurrent weight and apply the gates, no more.

"Many" is all steps on accelerators. CPUs take pieces of some steps, so that what belongs to a piece
stays in the cache: a training step of an LSTM, 256 wide, with 64 steps and batches of 32 needs four
fifths of the memory and two thirds of the time (`benchmarks/models.py`).

Plain differentiation of the loop would add up the gradient of the recurrent weight step by step.
So the derivative is stated here, in forward mode: along the states that were found, the tangents
of the states follow a *linear* recurrence, to which a change of the weights contributes one term
that is known for all steps of a piece beforehand. JAX transposes that for the gradient. Both modes,
and higher derivatives, come from the one rule.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.nn.matmul import dot, weight_tangent
from ansatz.nn.recurrence import (
    KINDS,
    State,
    Weights,
    advance,
    dtypes,
    flattened,
    for_loop,
    plus,
    prepared,
    where_valid,
)
from ansatz.nn.sizes import are_numbers

ROWS_AT_ONCE = 512
"""How many rows, steps times batch, CPUs project at once: what fits into a processor's cache."""
TURNS = 8
"""How many steps one turn of a compiled loop does; more take longer to compile."""


def run(
    kind: str,
    x: jax.Array,
    state: State,
    weights: Weights,
    valid: jax.Array | None,
    *,
    reverse: bool,
) -> tuple[jax.Array, State]:
    """All steps of one direction of one layer.

    Args:
        kind: a name of `KINDS`.
        x: shape `(steps, batch, input)`.
        state: what the first step begins with.
        weights: of this layer and direction.
        valid: shape `(steps, batch, 1)`, false where a sequence has ended: the state stays there,
            whatever `x` holds, and the output is zero. `None` if all have full length.
        reverse: whether to go from the last step to the first.

    Returns:
        The outputs, shape `(steps, batch, size of h)`, and the last state.
    """
    dtype, wide = dtypes(x, state, weights)
    scaled = prepared(kind, weights, dtype, wide)
    if valid is not None:
        x = jnp.where(valid, x, jnp.zeros((), x.dtype))  # NaN in the padding must not spread.
    state = varying_alike(tuple(part.astype(wide) for part in state), (x, scaled))
    h, last = _loop(kind, reverse, x.astype(dtype), state, scaled, valid)
    if valid is not None:
        h = jnp.where(valid, h, jnp.zeros((), h.dtype))
    return h.astype(dtype), tuple(part.astype(dtype) for part in last)


def _pieces(xs: Any) -> tuple[Any, Any]:
    """Arrays of all steps as pieces of equal length, stacked, and the rest; each may be `None`."""
    steps, batch = jax.tree.leaves(xs)[0].shape[:2]
    size = _steps_at_once(steps, batch)
    if size is None or size >= steps:
        return None, xs
    whole = steps // size * size
    equal = jax.tree.map(lambda x: x[:whole].reshape(whole // size, size, *x.shape[1:]), xs)
    return equal, None if whole == steps else jax.tree.map(lambda x: x[whole:], xs)


def _scan_pieces(
    piece: Callable[[Any, Any], tuple[Any, Any]], carry: Any, pieces: Any, *, reverse: bool
) -> tuple[Any, tuple[Any, Any]]:
    """As `jax.lax.scan`, but `piece` takes all steps of a piece at once."""
    equal, rest = pieces
    equal_ys = rest_ys = None
    if reverse and rest is not None:
        carry, rest_ys = piece(carry, rest)
    if equal is not None:
        carry, equal_ys = jax.lax.scan(piece, carry, equal, reverse=reverse)
    if not reverse and rest is not None:
        carry, rest_ys = piece(carry, rest)
    return carry, (equal_ys, rest_ys)


def _joined(equal: Any, rest: Any) -> Any:
    """The array of all steps that `_pieces` would take apart."""
    if equal is None:
        return rest
    equal = equal.reshape(equal.shape[0] * equal.shape[1], *equal.shape[2:])
    return equal if rest is None else jnp.concatenate([equal, rest])


def _steps_at_once(steps: Any, batch: Any) -> int | None:
    """How many steps make a piece; `None` for all of them."""
    if not are_numbers(steps, batch) or jax.default_backend() != "cpu":
        return None
    size: int = max(1, ROWS_AT_ONCE // max(1, batch))
    return size


def _scan_steps(
    one: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, reverse: bool
) -> Any:
    steps = jax.tree.leaves(xs)[0].shape[0]
    unroll = TURNS if are_numbers(steps) and steps >= 2 * TURNS else 1
    return jax.lax.scan(one, carry, xs, reverse=reverse, unroll=unroll)


def varying_alike(state: Any, others: Any) -> Any:
    """The state, marked as differing between shards if anything does that meets it in the loop."""
    every: frozenset[str] = frozenset().union(
        *(_varies_over(leaf) for leaf in jax.tree.leaves((state, others)))
    )

    def marked(part: jax.Array) -> jax.Array:
        missing = tuple(every - _varies_over(part))
        return jax.lax.pcast(part, missing, to="varying") if missing else part

    return jax.tree.map(marked, state)


def _varies_over(x: Any) -> frozenset[str]:
    """Over which axes of a mesh `x` differs, inside `jax.shard_map`."""
    axes: frozenset[str] = jax.typeof(x).manual_axis_type.varying
    return axes


def _contribution(x: jax.Array, weights: Weights, dtype: Any) -> Any:
    """What the inputs contribute to the gates; `x` of shape `(steps, batch, input)`."""
    a = plus(dot(flattened(x), weights.weight_ih, dtype), weights.bias_ih)
    return a.reshape(*x.shape[:2], a.shape[-1])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _loop(
    kind: str, reverse: bool, x: Any, state: State, weights: Weights, valid: Any
) -> tuple[jax.Array, State]:
    """`h` of all steps, and the last state."""
    loop = for_loop(weights)

    def one(state: State, xs: tuple[Any, Any]) -> tuple[State, jax.Array]:
        state, _ = advance(kind, xs[0], state, loop, xs[1])
        return state, state[0]

    def some(state: State, xs: tuple[Any, Any]) -> Any:
        x, valid = xs
        a = _contribution(x, weights, state[0].dtype)
        return _scan_steps(one, state, (a, valid), reverse)

    last, h = _scan_pieces(some, state, _pieces((x, valid)), reverse=reverse)
    return _joined(*h), last


@functools.partial(_loop.defjvp, symbolic_zeros=True)
def _loop_jvp(
    kind: str, reverse: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    """The states as before; and their tangents, by a linear recurrence along the states."""
    x, state, weights, valid = primals
    dx, dstate, dweights, _ = jax.tree.map(_none_if_zero, tangents)
    formulas = KINDS[kind]
    loop = for_loop(weights)
    wide = state[0].dtype

    def one(state: State, xs: tuple[Any, Any]) -> tuple[State, Any]:
        new, kept = advance(kind, xs[0], state, loop, xs[1])
        return new, (new, kept)

    def some(state: State, xs: tuple[Any, Any]) -> tuple[State, Any]:
        x, valid = xs
        a = _contribution(x, weights, wide)
        last, (after, kept) = _scan_steps(one, state, (a, valid), reverse)
        return last, (state, after, kept)

    # In the backward pass a step finds its derivatives again: to keep them would be to write and
    # read more than what they are made of.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one_linearly(dstate: State, xs: tuple[Any, ...]) -> tuple[State, jax.Array]:
        kept, before, after, da, db, projected, valid = xs
        db = plus(db, dot(dstate[0], weights.weight_hh, wide))
        new = formulas.tangent(kept, before, after, da, db, dstate)
        if weights.weight_hr is not None:
            new = (plus(dot(new[0], weights.weight_hr, wide), projected), *new[1:])
        new = where_valid(valid, new, dstate)
        return new, new[0]

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def some_linearly(dstate: State, xs: tuple[Any, ...]) -> Any:
        x, dx, valid, first, after, kept = xs
        before = tuple(
            jnp.concatenate([part, state[None]])[1:]
            if reverse
            else jnp.concatenate([state[None], part])[:-1]
            for state, part in zip(first, after, strict=True)
        )
        da = plus(_for_all_steps(x, dweights.weight_ih, wide), dweights.bias_ih)
        if dx is not None:
            da = plus(_contribution(dx, weights._replace(bias_ih=None), wide), da)
        db = plus(_for_all_steps(before[0], dweights.weight_hh, wide), dweights.bias_hh)
        if formulas.merges_biases:  # Then only their sum matters: one array less.
            da, db = plus(da, db), None
        projected = None
        if dweights.weight_hr is not None:
            projected = _for_all_steps(formulas.output(kept, after), dweights.weight_hr, wide)
        xs = (kept, before, after, da, db, projected, valid)
        return _scan_steps(one_linearly, dstate, xs, reverse)

    last, found = _scan_pieces(some, state, _pieces((x, valid)), reverse=reverse)
    start = tuple(
        jnp.zeros_like(part) if tangent is None else tangent
        for part, tangent in zip(state, dstate, strict=True)
    )
    start = varying_alike(start, (x, state, weights, dx, dweights))
    given = _pieces((x, dx, valid))
    both = tuple(None if piece is None else (*piece, *found[i]) for i, piece in enumerate(given))
    dlast, dh = _scan_pieces(some_linearly, start, both, reverse=reverse)
    h = [None if piece is None else piece[1][0] for piece in found]
    return (_joined(*h), last), (_joined(*dh), dlast)


def _none_if_zero(tangent: Any) -> Any:
    return None if isinstance(tangent, jax.custom_derivatives.SymbolicZero) else tangent


def _for_all_steps(x: Any, tangent: jax.Array | None, dtype: Any) -> jax.Array | None:
    """What the change of a weight gives at all steps; `None` if it does not change."""
    if tangent is None:
        return None
    y = weight_tangent(flattened(x), tangent, dtype)
    return y.reshape(*x.shape[:2], y.shape[-1])
