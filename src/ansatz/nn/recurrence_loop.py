"""Recurrences: all steps of one direction of one recurrent layer, and their derivative.

A recurrent layer turns inputs `x_t` and a state into new states, step by step. What can be done for
many steps at once is done so: the projection of the inputs is one matrix product before the steps,
and the gradients of all weights are matrix products after them. The steps themselves, a
`jax.lax.scan`, multiply the state with the recurrent weight and apply the gates, no more.

"Many" is all steps on accelerators. CPUs take pieces of some steps, so that what belongs to a piece
stays in the cache: a training step of an LSTM, 256 wide, with 64 steps and batches of 32 needs four
fifths of the memory and two thirds of the time (`benchmarks/models.py`). Where a gradient is going
to be taken, the projection of the inputs is one product even so: the gates, which have to be kept
for it, take its place step by step, and no array has to be filled with zeros for them.

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
    if are_numbers(x.shape[0]) and x.shape[0] == 0:
        return jnp.zeros((0, *state[0].shape), dtype), tuple(part.astype(dtype) for part in state)
    scaled = prepared(kind, weights, dtype, wide)
    if valid is not None:
        x = jnp.where(valid, x, jnp.zeros((), x.dtype))  # NaN in the padding must not spread.
    state = varying_alike(tuple(part.astype(wide) for part in state), (x, scaled))
    h, last = _loop(kind, reverse, x.astype(dtype), state, scaled, valid)
    if valid is not None:
        h = jnp.where(valid, h, jnp.zeros((), h.dtype))
    return h.astype(dtype), tuple(part.astype(dtype) for part in last)


def _pieces(xs: Any, size: int | None) -> tuple[Any, Any]:
    """Arrays of all steps as pieces of `size` steps, stacked, and the rest; each may be `None`."""
    steps = jax.tree.leaves(xs)[0].shape[0]
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
    """The arrays of all steps that `_pieces` would take apart."""
    if equal is None:
        return rest
    equal = jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), equal)
    return equal if rest is None else jax.tree.map(lambda *xs: jnp.concatenate(xs), equal, rest)


def _steps_at_once(x: jax.Array) -> int | None:
    """How many steps of `x` make a piece; `None` for all of them."""
    steps, batch = x.shape[:2]
    if not are_numbers(steps, batch) or jax.default_backend() != "cpu":
        return None
    size: int = max(1, ROWS_AT_ONCE // max(1, batch))
    return size


def _scan_steps(
    one: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, reverse: bool
) -> Any:
    steps = jax.tree.leaves(xs)[0].shape[0]
    return jax.lax.scan(one, carry, xs, reverse=reverse, unroll=_steps_in_a_turn(steps) or 1)


def _steps_in_a_turn(steps: Any) -> int | None:
    """How many steps one turn of the loop does; `None` for one after the other."""
    return TURNS if are_numbers(steps) and steps >= 2 * TURNS else None


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

    pieces = _pieces((x, valid), _steps_at_once(x))
    last, h = _scan_pieces(some, state, pieces, reverse=reverse)
    return _joined(*h), last


def _run_and_keep(
    kind: str, reverse: bool, x: Any, state: State, weights: Weights, valid: Any
) -> tuple[State, State, Any]:
    """The last state, the states after all steps, and what the derivative needs of all steps."""
    loop = for_loop(weights)

    def one(state: State, xs: tuple[Any, Any]) -> tuple[State, Any]:
        new, kept = advance(kind, xs[0], state, loop, xs[1])
        return new, (new, *kept)

    def turn(carry: tuple[State, Any], xs: tuple[Any, Any]) -> tuple[Any, Any]:
        state, gates = carry
        at, valid = xs
        a = jax.lax.dynamic_slice_in_dim(gates, at[0], at.shape[0])
        state, (after, found, rest) = jax.lax.scan(
            one, state, (a, valid), reverse=reverse, unroll=True
        )
        gates = jax.lax.dynamic_update_slice_in_dim(gates, found, at[0], 0)
        return (state, gates), (after, rest)

    a = _contribution(x, weights, state[0].dtype)
    size = _steps_in_a_turn(x.shape[0])
    if size is None:
        last, (after, gates, rest) = jax.lax.scan(one, state, (a, valid), reverse=reverse)
        return last, after, (gates, rest)
    pieces = _pieces((jnp.arange(x.shape[0]), valid), size)
    carry = (state, varying_alike(a, state))
    (last, gates), found = _scan_pieces(turn, carry, pieces, reverse=reverse)
    after, rest = _joined(*found)
    return last, after, (gates, rest)


@functools.partial(_loop.defjvp, symbolic_zeros=True)
def _loop_jvp(
    kind: str, reverse: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    """The states as before; and their tangents, by a linear recurrence along the states."""
    x, state, weights, valid = primals
    dx, dstate, dweights, _ = jax.tree.map(_none_if_zero, tangents)
    formulas = KINDS[kind]
    wide = state[0].dtype
    batch_first = x.swapaxes(0, 1)
    last, states, every_kept = _run_and_keep(kind, reverse, x, state, weights, valid)

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
        at, dx, valid = xs
        here = functools.partial(
            jax.lax.dynamic_slice_in_dim, start_index=at[0], slice_size=at.shape[0]
        )
        # From the batch as most callers have it: the copy that a piece needs then turns its axes.
        x = here(batch_first, axis=1).swapaxes(0, 1)
        after, kept = jax.tree.map(here, (states, every_kept))
        da = plus(_for_all_steps(x, dweights.weight_ih, wide), dweights.bias_ih)
        if dx is not None:
            da = plus(_contribution(dx, weights._replace(bias_ih=None), wide), da)
        before = tuple(
            _before(at, reverse, *parts) for parts in zip(state, states, after, strict=True)
        )
        db = plus(_for_all_steps(before[0], dweights.weight_hh, wide), dweights.bias_hh)
        if formulas.merges_biases:  # Then only their sum matters: one array less.
            da, db = plus(da, db), None
        projected = None
        if dweights.weight_hr is not None:
            projected = _for_all_steps(formulas.output(kept, after), dweights.weight_hr, wide)
        xs = (kept, before, after, da, db, projected, valid)
        return _scan_steps(one_linearly, dstate, xs, reverse)

    start = tuple(
        jnp.zeros_like(part) if tangent is None else tangent
        for part, tangent in zip(state, dstate, strict=True)
    )
    start = varying_alike(start, (x, state, weights, dx, dweights))
    pieces = _pieces((jnp.arange(x.shape[0]), dx, valid), _steps_at_once(x))
    dlast, dh = _scan_pieces(some_linearly, start, pieces, reverse=reverse)
    return (states[0], last), (_joined(*dh), dlast)


def _before(
    at: jax.Array, reverse: bool, begin: jax.Array, every: jax.Array, after: jax.Array
) -> jax.Array:
    """A part of the state before the steps `at`.

    Args:
        at: the numbers of consecutive steps.
        reverse: whether the steps go from the last one to the first.
        begin: the part before all steps.
        every: the part after each of all steps.
        after: the part after each of the steps `at`.
    """
    if reverse:
        first, previous = at[-1] == every.shape[0] - 1, at[-1] + 1
    else:
        first, previous = at[0] == 0, at[0] - 1
    found = jax.lax.dynamic_index_in_dim(every, previous, keepdims=False)
    edge = jnp.where(first, begin, found)[None]
    return jnp.concatenate([after[1:], edge] if reverse else [edge, after[:-1]])


def _none_if_zero(tangent: Any) -> Any:
    return None if isinstance(tangent, jax.custom_derivatives.SymbolicZero) else tangent


def _for_all_steps(x: Any, tangent: jax.Array | None, dtype: Any) -> jax.Array | None:
    """What the change of a weight gives at all steps; `None` if it does not change."""
    if tangent is None:
        return None
    y = weight_tangent(flattened(x), tangent, dtype)
    return y.reshape(*x.shape[:2], y.shape[-1])
