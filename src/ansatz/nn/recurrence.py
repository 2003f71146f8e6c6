"""The formulas behind recurrent cells and layers, and their derivatives.

What a step computes, and how its result changes with its inputs, is stated by a `Kind`;
`recurrence_loop` runs the steps.

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

from ansatz.nn.matmul import dot, flipped

State = tuple[jax.Array, ...]
"""`(h,)`, or `(h, c)` for an LSTM; each of shape `(batch, size)`."""
Kept = tuple[jax.Array, Any]
"""The gates, in the shape of what the inputs contribute to them, and whatever else is needed."""


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

    def advance(self, a: Any, b: Any, state: State) -> tuple[State, Kept]:
        """The new state, and what the derivative needs to know of this step."""
        raise NotImplementedError

    def output(self, kept: Kept, after: State) -> jax.Array:
        """`h` of all steps, before it is projected."""
        return after[0]

    def tangent(
        self, kept: Kept, before: State, after: State, da: Any, db: Any, dstate: State
    ) -> State:
        """How the new state changes with `a` (`None`: not at all), `b` and the state; linear."""
        raise NotImplementedError


class Elman(Kind):
    """`h' = f(a + b)`, with tanh or ReLU for `f`.

    Source: Elman 1990, "Finding structure in time".
    """

    gates = 1

    def __init__(self, nonlinearity: str) -> None:
        self.nonlinearity = nonlinearity

    def advance(self, a: Any, b: Any, state: State) -> tuple[State, Kept]:
        """The new state, which is all that is kept."""
        h = jnp.tanh(a + b) if self.nonlinearity == "tanh" else jax.nn.relu(a + b)
        return (h,), (h, ())

    def tangent(
        self, kept: Kept, before: State, after: State, da: Any, db: Any, dstate: State
    ) -> State:
        """`dh' = f' · (da + db)`, where the value of `f` tells its derivative."""
        h, _ = kept
        slope = 1 - h * h if self.nonlinearity == "tanh" else (h > 0).astype(h.dtype)
        return (slope * plus(da, db),)


class Lstm(Kind):
    """`c' = f c + i g` and `h' = o tanh(c')`, with the gates in the order i, f, g, o.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", with the forget gate of Gers,
    Schmidhuber & Cummins 2000, "Learning to forget".
    """

    gates = 4
    states = 2
    sigmoids = (True, True, False, True)

    def advance(self, a: Any, b: Any, state: State) -> tuple[State, Kept]:
        """The new state; what is kept are the gates before sigmoids are made of them."""
        t = jnp.tanh(a + b)
        i, f, g, o = _lstm_gates(t)
        c = f * state[1] + i * g
        return (o * jnp.tanh(c), c), (t, ())

    def output(self, kept: Kept, after: State) -> jax.Array:
        """`h'` before it is projected."""
        *_, o = _lstm_gates(kept[0])
        return o * jnp.tanh(after[1])

    def tangent(
        self, kept: Kept, before: State, after: State, da: Any, db: Any, dstate: State
    ) -> State:
        """`dc' = f dc + c df + g di + i dg` and `dh' = tanh(c') do + o (1 - tanh²c') dc'`."""
        t, _ = kept
        i, f, g, o = _lstm_gates(t)
        tanh_c = jnp.tanh(after[1])
        # Side by side, so that the step has the gradient of all gates from one pass.
        partners = jnp.concatenate([0.5 * g, 0.5 * before[1], i, 0.5 * tanh_c], -1)
        to_i, to_f, to_g, to_h = jnp.split((1 - t * t) * partners * plus(da, db), 4, -1)
        dc = f * dstate[1] + to_i + to_f + to_g
        return to_h + o * (1 - tanh_c * tanh_c) * dc, dc


class Gru(Kind):
    """`h' = (1 - z) n + z h` with `n = tanh(a_n + r b_n)`, and the gates in the order r, z, n.

    The reset gate is applied after the product with the recurrent weight, as PyTorch and cuDNN do.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"; the reset
    after the product as in version 1 of that paper (arXiv 1406.1078v1).
    """

    gates = 3
    sigmoids = (True, True, False)
    merges_biases = False

    def advance(self, a: Any, b: Any, state: State) -> tuple[State, Kept]:
        """The new state; r and z are kept before sigmoids are made of them, with n and `b_n`."""
        (h,) = state
        (a_rz, a_n), (b_rz, b_n) = _gru_parts(a), _gru_parts(b)
        t = jnp.tanh(a_rz + b_rz)
        r, z = (0.5 * gate + 0.5 for gate in jnp.split(t, 2, -1))
        n = jnp.tanh(a_n + r * b_n)
        return (n + z * (h - n),), (jnp.concatenate([t, n], -1), b_n)

    def tangent(
        self, kept: Kept, before: State, after: State, da: Any, db: Any, dstate: State
    ) -> State:
        """`dh' = (1 - z) dn + (h - n) dz + z dh` with `dn = (1 - n²)(da_n + b_n dr + r db_n)`."""
        gates, b_n = kept
        t, n = _gru_parts(gates)
        r, z = (0.5 * gate + 0.5 for gate in jnp.split(t, 2, -1))
        da_rz, da_n = _gru_parts(da)
        db_rz, db_n = _gru_parts(db)
        dr, dz = jnp.split(0.5 * (1 - t * t) * plus(da_rz, db_rz), 2, -1)
        dn = (1 - n * n) * plus(da_n, b_n * dr + r * db_n)
        return ((1 - z) * dn + (before[0] - n) * dz + z * dstate[0],)


KINDS: dict[str, Kind] = {
    "tanh": Elman("tanh"),
    "relu": Elman("relu"),
    "lstm": Lstm(),
    "gru": Gru(),
}


def _lstm_gates(t: jax.Array) -> list[jax.Array]:
    i, f, g, o = jnp.split(t, 4, -1)
    return [0.5 * i + 0.5, 0.5 * f + 0.5, g, 0.5 * o + 0.5]


def _gru_parts(change: jax.Array | None) -> tuple[Any, Any]:
    """What belongs to r and z, and what to n."""
    if change is None:
        return None, None
    size = change.shape[-1] // 3
    return change[..., : 2 * size], change[..., 2 * size :]


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
    dtype, wide = dtypes(x, state, weights)
    flat = tuple(flattened(part.astype(wide)) for part in state)
    # Half the argument of a sigmoid. In a loop that is cheaper than to prepare the weights, which
    # each turn would do again.
    factor = _factors(kind, weights, wide)

    def gates(x: jax.Array, weight: jax.Array, bias: jax.Array | None) -> jax.Array:
        sums = dot(x, weight.astype(dtype), wide)
        return (sums if bias is None else sums + bias.astype(wide)) * factor

    a = gates(flattened(x.astype(dtype)), weights.weight_ih, weights.bias_ih)
    b = gates(flat[0], weights.weight_hh, weights.bias_hh)
    new, _ = KINDS[kind].advance(a, b, flat)
    return tuple(part.astype(dtype).reshape(*x.shape[:-1], part.shape[-1]) for part in new)


def _factors(kind: str, weights: Weights, dtype: Any) -> jax.Array:
    """1/2 for each row of the weights that belongs to a sigmoid, and 1 for the others."""
    formulas = KINDS[kind]
    hidden = weights.weight_hh.shape[0] // formulas.gates
    factors = [0.5 if sigmoid else 1.0 for sigmoid in formulas.sigmoids]
    return jnp.repeat(jnp.asarray(factors, dtype), hidden)


def dtypes(x: jax.Array, state: State, weights: Weights) -> tuple[Any, Any]:
    """The dtype of the result, and the one of gates and sums: float32 at least."""
    dtype = jnp.result_type(x, *state, *(weight for weight in weights if weight is not None))
    return dtype, jnp.promote_types(dtype, jnp.float32)


def prepared(kind: str, weights: Weights, dtype: Any, wide: Any) -> Weights:
    """The weights as the loop takes them: half as large for sigmoids, biases merged."""
    formulas = KINDS[kind]
    factor = _factors(kind, weights, dtype)

    def matrix(weight: jax.Array) -> jax.Array:
        weight = weight.astype(dtype)
        return weight * factor[:, None] if any(formulas.sigmoids) else weight

    def vector(bias: jax.Array | None) -> Any:
        return None if bias is None else bias.astype(wide) * factor.astype(wide)

    bias_ih, bias_hh = vector(weights.bias_ih), vector(weights.bias_hh)
    if formulas.merges_biases:
        bias_ih, bias_hh = None, plus(bias_ih, bias_hh)
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


def for_loop(weights: Weights) -> Loop:
    """Prepared weights in the form in which the steps use them."""
    projection = weights.weight_hr
    return (
        flipped(weights.weight_hh),
        weights.bias_hh,
        None if projection is None else flipped(projection),
    )


def flattened(x: jax.Array) -> jax.Array:
    """All axes but the last one as one."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def plus(a: Any, b: Any) -> Any:
    """`a + b`, where `None` stands for nothing."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def advance(
    kind: str, a: jax.Array, state: State, loop: Loop, valid: jax.Array | None
) -> tuple[State, Kept]:
    """One step from the contribution of the input; where `valid` is false, the state stays."""
    weight, bias, projection = loop
    new, kept = KINDS[kind].advance(a, plus(_times(state[0], weight), bias), state)
    if projection is not None:
        new = (_times(new[0], projection), *new[1:])
    return where_valid(valid, new, state), kept


def _times(h: jax.Array, weight: jax.Array) -> jax.Array:
    """`h weight`, summed in the dtype of `h`."""
    return jnp.matmul(h.astype(weight.dtype), weight, preferred_element_type=h.dtype)


def where_valid(valid: jax.Array | None, new: State, old: State) -> State:
    """The new state where a sequence goes on, and the old one where it has ended."""
    if valid is None:
        return new
    return tuple(jnp.where(valid, a, b) for a, b in zip(new, old, strict=True))
