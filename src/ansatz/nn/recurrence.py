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
        return plus(da, db)

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
        return (plus(given, db) * slopes,)


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
        i, f, g, o = jnp.split(plus(given, db) * by_gate, 4, -1)
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
) -> tuple[State, Any]:
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
