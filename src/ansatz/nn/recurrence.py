"""Recurrences: the formulas behind recurrent cells and layers, and their derivatives.

A recurrent layer turns inputs `x_t` and a state into new states, step by step. What can be done for
all steps at once is done so: the projection of the inputs is one matrix product before the loop,
and the gradients of all weights are matrix products over all steps after it. The loop itself, one
`jax.lax.scan`, multiplies the state with the recurrent weight and applies the gates, no more.

Plain differentiation of the loop would add up the gradient of the recurrent weight step by step.
So the derivative is stated here, in forward mode: along the states that were found, the tangents
of the states follow a *linear* recurrence, to which a change of the weights contributes one term
that is known for all steps beforehand. JAX transposes that for the gradient. Both modes, and
higher derivatives, come from the one rule.

A sigmoid is computed as `σ(2a) = (1 + tanh a) / 2`: then one tanh over all gates, which CPUs
compute several times faster than a sigmoid here and a tanh there. The factor of the argument, a
power of two and so exact, is put into the weights before the loop.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ansatz.nn.matmul import dot, flipped, times_transposed, weight_tangent

State = tuple[jax.Array, ...]
"""`(h,)`, or `(h, c)` for an LSTM; each of shape `(batch, size)`."""


class Weights(NamedTuple):
    """The weights of one direction of one layer, with PyTorch's names and shapes.

    Attributes:
        weight_ih: shape `(gates · hidden, input)`.
        weight_hh: shape `(gates · hidden, size of h)`.
        bias_ih: shape `(gates · hidden,)`, or `None`.
        bias_hh: shape `(gates · hidden,)`, or `None`.
        weight_hr: shape `(proj, hidden)`, the projection of an LSTM's output, or `None`.
    """

    weight_ih: Any
    weight_hh: jax.Array
    bias_ih: jax.Array | None = None
    bias_hh: jax.Array | None = None
    weight_hr: jax.Array | None = None


class Kind:
    """The formulas of one kind of recurrence.

    `a` is what the input contributes to the gates, `b` what the state does, each with its bias (or
    `b` with both); the gates of one step stand side by side, `(batch, gates · hidden)`.

    Attributes:
        gates: how many there are.
        states: how many arrays the state has.
        sigmoids: which gates are sigmoids, and so get half their argument.
        merges_biases: whether the two biases are only ever added to each other.
    """

    gates: int
    states: int = 1
    sigmoids: tuple[bool, ...] = (False,)
    merges_biases: bool = True

    def advance(self, a: Any, b: Any, state: State) -> tuple[State, Any]:
        """The new state, and what the derivative needs to know of this step."""
        raise NotImplementedError

    def output(self, kept: Any, after: State) -> jax.Array:
        """`h` of all steps, before it is projected."""
        return after[0]

    def slopes(self, kept: Any, before: State, after: State) -> Any:
        """The factors of the linear recurrence: the derivatives of the new state."""
        raise NotImplementedError

    def contribution(self, slopes: Any, da: Any, db: Any) -> Any:
        """What changes `da` and `db` contribute to the linear recurrence, for all steps at once."""
        return _plus(da, db)

    def advance_linearly(self, slopes: Any, given: Any, db: Any, tangent: State) -> State:
        """The new tangent of the state; linear in `given`, `db` and `tangent`."""
        raise NotImplementedError


class Elman(Kind):
    """`h' = f(a + b)`, with tanh or ReLU for `f`.

    Source: Elman 1990, "Finding structure in time".
    """

    gates = 1

    def __init__(self, nonlinearity: str) -> None:
        self.nonlinearity = nonlinearity

    def advance(self, a: Any, b: Any, state: State) -> tuple[State, Any]:
        """The new state."""
        return (jnp.tanh(a + b) if self.nonlinearity == "tanh" else jax.nn.relu(a + b),), ()

    def slopes(self, kept: Any, before: State, after: State) -> Any:
        """The derivative of the nonlinearity, which its value tells."""
        (h,) = after
        return 1 - h * h if self.nonlinearity == "tanh" else (h > 0).astype(h.dtype)

    def advance_linearly(self, slopes: Any, given: Any, db: Any, tangent: State) -> State:
        """`dh' = f' · (given + db)`."""
        return (_plus(given, db) * slopes,)


class Lstm(Kind):
    """`c' = f c + i g` and `h' = o tanh(c')`, with the gates in the order i, f, g, o.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", with the forget gate of Gers,
    Schmidhuber & Cummins 2000, "Learning to forget".
    """

    gates = 4
    states = 2
    sigmoids = (True, True, False, True)

    def advance(self, a: Any, b: Any, state: State) -> tuple[State, Any]:
        """The new state; what is kept are the gates before sigmoids are made of them."""
        t = jnp.tanh(a + b)
        i, f, g, o = _lstm_gates(t)
        c = f * state[1] + i * g
        return (o * jnp.tanh(c), c), t

    def output(self, kept: Any, after: State) -> jax.Array:
        """`h'` before it is projected."""
        *_, o = _lstm_gates(kept)
        return o * jnp.tanh(after[1])

    def slopes(self, kept: Any, before: State, after: State) -> Any:
        """Of `c'` by i, f, g and of `h'` by o side by side; of `c'` by `c`; of `h'` by `c'`."""
        i, f, g, o = _lstm_gates(kept)
        tanh_c = jnp.tanh(after[1])
        half = jnp.asarray(0.5, g.dtype)
        partners = jnp.concatenate([half * g, half * before[1], i, half * tanh_c], -1)
        return (1 - kept * kept) * partners, f, o * (1 - tanh_c * tanh_c)

    def advance_linearly(self, slopes: Any, given: Any, db: Any, tangent: State) -> State:
        """`dc' = f dc + …` and `dh' = … + o (1 - tanh²c') dc'`."""
        by_gate, by_cell, of_output = slopes
        i, f, g, o = jnp.split(_plus(given, db) * by_gate, 4, -1)
        dc = by_cell * tangent[1] + i + f + g
        return o + of_output * dc, dc


class Gru(Kind):
    """`h' = (1 - z) n + z h` with `n = tanh(a_n + r b_n)`, and the gates in the order r, z, n.

    The reset gate is applied after the product with the recurrent weight, as PyTorch and cuDNN do.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"; the reset
    after the product as in version 1 of that paper (arXiv 1406.1078v1).
    """

    gates = 3
    sigmoids = (True, True, False)
    merges_biases = False

    def advance(self, a: Any, b: Any, state: State) -> tuple[State, Any]:
        """The new state; r and z are kept before sigmoids are made of them."""
        (h,) = state
        size = h.shape[-1]
        t = jnp.tanh(a[..., : 2 * size] + b[..., : 2 * size])
        r, z = (0.5 * gate + 0.5 for gate in jnp.split(t, 2, -1))
        b_n = b[..., 2 * size :]
        n = jnp.tanh(a[..., 2 * size :] + r * b_n)
        return (n + z * (h - n),), (t, n, b_n)

    def slopes(self, kept: Any, before: State, after: State) -> Any:
        """Of `h'` by the sums of r and z, by `a_n`, by `b_n`, and by `h`."""
        t, n, b_n = kept
        dr, dz = jnp.split(0.5 * (1 - t * t), 2, -1)
        r, z = (0.5 * gate + 0.5 for gate in jnp.split(t, 2, -1))
        by_n = (1 - z) * (1 - n * n)
        return by_n * b_n * dr, (before[0] - n) * dz, by_n, by_n * r, z

    def contribution(self, slopes: Any, da: Any, db: Any) -> Any:
        """What is added to `dh'`."""
        by_r, by_z, by_n, by_b, _ = slopes
        total = jnp.zeros_like(by_r)
        for change, by_candidate in ((da, by_n), (db, by_b)):
            if change is not None:
                r, z, n = jnp.split(change, 3, -1)
                total += by_r * r + by_z * z + by_candidate * n
        return total

    def advance_linearly(self, slopes: Any, given: Any, db: Any, tangent: State) -> State:
        """`dh' = given + … + z dh`."""
        by_r, by_z, _, by_b, z = slopes
        dr, dz, dn = jnp.split(db, 3, -1)
        return (given + by_r * dr + by_z * dz + by_b * dn + z * tangent[0],)


KINDS: dict[str, Kind] = {
    "tanh": Elman("tanh"),
    "relu": Elman("relu"),
    "lstm": Lstm(),
    "gru": Gru(),
}


def _lstm_gates(t: jax.Array) -> list[jax.Array]:
    i, f, g, o = jnp.split(t, 4, -1)
    return [0.5 * i + 0.5, 0.5 * f + 0.5, g, 0.5 * o + 0.5]


# -- one step -------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0)
def step(kind: str, x: jax.Array, state: State, weights: Weights) -> State:
    """One step of a cell.

    Args:
        kind: a name of `KINDS`.
        x: shape `(..., input)`.
        state: what the cell begins with, of shape `(..., size of h)`.
        weights: of the cell.

    Returns:
        The new state, in the dtype to which JAX promotes all of them.
    """
    dtype, wide = _dtypes(x, state, weights)
    scaled = _scaled(kind, weights, dtype, wide)
    rows = _rows(x.astype(dtype))
    a = _plus(times_transposed(rows, scaled.weight_ih), scaled.bias_ih)
    flat = tuple(_rows(part.astype(wide)) for part in state)
    new, _ = _advance(kind, a, flat, _for_loop(scaled), None)
    return tuple(part.astype(dtype).reshape(*x.shape[:-1], part.shape[-1]) for part in new)


def _dtypes(x: jax.Array, state: State, weights: Weights) -> tuple[Any, Any]:
    """The dtype of the result, and the one of gates and sums: float32 at least."""
    dtype = jnp.result_type(x, *state, *(weight for weight in weights if weight is not None))
    return dtype, jnp.promote_types(dtype, jnp.float32)


def _scaled(kind: str, weights: Weights, dtype: Any, wide: Any) -> Weights:
    """The weights as the loop takes them: half as large for sigmoids, biases merged."""
    formulas = KINDS[kind]
    hidden = weights.weight_hh.shape[0] // formulas.gates
    factors = [0.5 if sigmoid else 1.0 for sigmoid in formulas.sigmoids]
    factor = jnp.repeat(jnp.asarray(factors, dtype), hidden)

    def matrix(weight: jax.Array) -> jax.Array:
        weight = weight.astype(dtype)
        return weight * factor[:, None] if any(formulas.sigmoids) else weight

    def vector(bias: jax.Array | None) -> Any:
        return None if bias is None else bias.astype(wide) * factor.astype(wide)

    bias_ih, bias_hh = vector(weights.bias_ih), vector(weights.bias_hh)
    if formulas.merges_biases:
        bias_ih, bias_hh = None, _plus(bias_ih, bias_hh)
    projection = weights.weight_hr
    return Weights(
        matrix(weights.weight_ih),
        matrix(weights.weight_hh),
        bias_ih,
        bias_hh,
        None if projection is None else projection.astype(dtype),
    )


Loop = tuple[jax.Array, jax.Array | None, jax.Array | None]
"""What a step needs of the weights: weight_hhᵀ, bias_hh (or both biases), weight_hrᵀ."""


def _for_loop(weights: Weights) -> Loop:
    projection = weights.weight_hr
    return (
        flipped(weights.weight_hh),
        weights.bias_hh,
        None if projection is None else flipped(projection),
    )


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _plus(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _advance(
    kind: str, a: jax.Array, state: State, loop: Loop, valid: jax.Array | None
) -> tuple[State, Any]:
    """One step from the contribution of the input; where `valid` is false, the state stays."""
    weight, bias, projection = loop
    new, kept = KINDS[kind].advance(a, _plus(_times(state[0], weight), bias), state)
    if projection is not None:
        new = (_times(new[0], projection), *new[1:])
    return _where(valid, new, state), kept


def _times(h: jax.Array, weight: jax.Array) -> jax.Array:
    """`h weight`, summed in the dtype of `h`."""
    return jnp.matmul(h.astype(weight.dtype), weight, preferred_element_type=h.dtype)


def _where(valid: jax.Array | None, new: State, old: State) -> State:
    if valid is None:
        return new
    return tuple(jnp.where(valid, a, b) for a, b in zip(new, old, strict=True))


# -- all steps ------------------------------------------------------------------------------------


def run(
    kind: str,
    x: jax.Array,
    state: State,
    weights: Weights,
    valid: jax.Array | None,
    *,
    reverse: bool,
    unroll: int,
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
        unroll: how many steps the compiled loop does in one turn.

    Returns:
        The outputs, shape `(steps, batch, size of h)`, and the last state.
    """
    dtype, wide = _dtypes(x, state, weights)
    scaled = _scaled(kind, weights, dtype, wide)
    if valid is not None:
        x = jnp.where(valid, x, jnp.zeros((), x.dtype))  # NaN in the padding must not spread.
    rows = _rows(x.astype(dtype))
    a = _plus(times_transposed(rows, scaled.weight_ih), scaled.bias_ih)
    a = a.reshape(*x.shape[:2], a.shape[-1])
    state = tuple(part.astype(wide) for part in state)
    h, last = _loop(
        kind, reverse, unroll, a, state, scaled._replace(weight_ih=None, bias_ih=None), valid
    )
    if valid is not None:
        h = jnp.where(valid, h, jnp.zeros((), h.dtype))
    return h.astype(dtype), tuple(part.astype(dtype) for part in last)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _loop(
    kind: str, reverse: bool, unroll: int, a: Any, state: State, weights: Weights, valid: Any
) -> tuple[jax.Array, State]:
    """`h` of all steps, and the last state."""
    loop = _for_loop(weights)

    def one(state: State, xs: tuple[Any, Any]) -> tuple[State, jax.Array]:
        state, _ = _advance(kind, xs[0], state, loop, xs[1])
        return state, state[0]

    last, h = jax.lax.scan(one, state, (a, valid), reverse=reverse, unroll=unroll)
    return h, last


@functools.partial(_loop.defjvp, symbolic_zeros=True)
def _loop_jvp(
    kind: str, reverse: bool, unroll: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    """The states as before; and their tangents, by a linear recurrence along the states."""
    a, state, weights, valid = primals
    da, dstate, dweights, _ = jax.tree.map(_none_if_zero, tangents)
    formulas = KINDS[kind]
    loop = _for_loop(weights)

    def one(state: State, xs: tuple[Any, Any]) -> tuple[State, Any]:
        new, kept = _advance(kind, xs[0], state, loop, xs[1])
        # Here, where all is in the processor's cache, and not afterwards for all steps at once.
        slopes = formulas.slopes(kept, state, new)
        output = None if dweights.weight_hr is None else formulas.output(kept, new)
        return new, (new[0], slopes, output)

    xs = (a, valid)
    last, (h, slopes, output) = jax.lax.scan(one, state, xs, reverse=reverse, unroll=unroll)
    before = (
        jnp.concatenate([h, state[0][None]])[1:]
        if reverse
        else jnp.concatenate([state[0][None], h])[:-1]
    )
    db = _plus(_for_all_steps(before, dweights.weight_hh), dweights.bias_hh)
    given = formulas.contribution(slopes, da, db)
    projected = _for_all_steps(output, dweights.weight_hr)

    def one_linearly(tangent: State, xs: tuple[Any, ...]) -> tuple[State, jax.Array]:
        slopes, given, projected, valid = xs
        db = dot(tangent[0], weights.weight_hh, a.dtype)
        new = formulas.advance_linearly(slopes, given, db, tangent)
        if weights.weight_hr is not None:
            new = (_plus(dot(new[0], weights.weight_hr, a.dtype), projected), *new[1:])
        new = _where(valid, new, tangent)
        return new, new[0]

    first = tuple(
        jnp.zeros_like(part) if tangent is None else tangent
        for part, tangent in zip(state, dstate, strict=True)
    )
    dlast, dh = jax.lax.scan(
        one_linearly, first, (slopes, given, projected, valid), reverse=reverse, unroll=unroll
    )
    return (h, last), (dh, dlast)


def _none_if_zero(tangent: Any) -> Any:
    return None if isinstance(tangent, jax.custom_derivatives.SymbolicZero) else tangent


def _for_all_steps(x: Any, tangent: jax.Array | None) -> jax.Array | None:
    """What the change of a weight gives at all steps; `None` if it does not change."""
    if tangent is None:
        return None
    y = weight_tangent(_rows(x), tangent, x.dtype)
    return y.reshape(*x.shape[:2], y.shape[-1])
