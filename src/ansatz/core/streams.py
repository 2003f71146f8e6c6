"""Random streams: keys for what is drawn on the device during a call, such as dropout masks."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ansatz.core import frame
from ansatz.core.initializer import Initializer, Spec
from ansatz.core.parameter import State

_COUNTER = 2  # where the counter stands, behind the two words of the key


class _StreamStart(Initializer):
    """Two random words for the key, and a counter at zero."""

    def draw(self, rng: np.random.Generator, spec: Spec) -> Any:
        words = rng.integers(0, 2**32, spec.shape, np.uint32)
        words[_COUNTER] = 0
        return words

    def __repr__(self) -> str:
        return "a random stream"


class RandomStream(State):
    """A state that gives a new random key at each `next_key()`.

    It is drawn like a parameter, from the seed of the initialisation and its path, so it is
    reproducible; it is carried through `ansatz.jit` like any state, so two steps see two keys;
    and it is saved with the network, so training resumes with the keys that would have come.

    Inside `ansatz.vmap` each mapped instance gets a key of its own.

    Example:
        >>> import jax
        >>> import ansatz as az
        >>> stream = az.RandomStream()
        >>> a, b = stream.next_key(), stream.next_key()
        >>> bool((jax.random.key_data(a) == jax.random.key_data(b)).all())
        False
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(shape=(3,), dtype="uint32", init=_StreamStart(), optional=True)

    def next_key(self) -> jax.Array:
        """A typed key that no other call gives."""
        key: jax.Array
        key, self.value = _advanced(self.value, self.positions())
        return key

    def positions(self) -> tuple[jax.Array, ...]:
        """Where the mapped instance stands along each axis of `ansatz.vmap` around."""
        return tuple(
            jax.lax.axis_index(around.axis_name)
            for around in frame.enclosing()
            if isinstance(around, MappedFrame)
        )


def advance(state: jax.Array, positions: tuple[jax.Array, ...] = ()) -> tuple[jax.Array, jax.Array]:
    """The pure function behind `RandomStream.next_key`, for layers that compile it along.

    Args:
        state: the value of a stream, shape `(3,)`, dtype `uint32`: two words of key, a counter.
        positions: what `RandomStream.positions()` gives.

    Returns:
        A typed key, and the new value of the stream.
    """
    key = jax.random.wrap_key_data(state[:_COUNTER], impl="threefry2x32")
    key = jax.random.fold_in(key, state[_COUNTER])
    for position in positions:
        key = jax.random.fold_in(key, position)
    return key, state.at[_COUNTER].add(1)


_advanced = jax.jit(advance)


class MappedFrame(frame.Frame):
    """A frame inside `ansatz.vmap`, which knows the name of the mapped axis."""

    __slots__ = ("axis_name",)

    def __init__(self, axis_name: Any, *, stale: bool) -> None:
        super().__init__(stale=stale)
        self.axis_name = axis_name
