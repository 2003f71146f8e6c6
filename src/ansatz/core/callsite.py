"""Where an exception came from: the layer, its path, and the shapes of its inputs."""

from __future__ import annotations

from typing import Any

import jax

from ansatz.core import deferral
from ansatz.core.declared import Declared
from ansatz.core.errors import ShapeError, format_shape, format_value
from ansatz.core.node import Node, own_entries, path_of, path_within

_LOOKS_AT_VALUES = (
    ": its forward looks at values (an `if`, a loop or an index), which a compiled function cannot "
    "do. Call the network without jit, or use jax.numpy.where or jax.lax.cond; what never changes "
    "belongs into static_argnames."
)

_SHAPES, _INPUTS = 4, 8  # How many are shown; what matters of them is in the reason.


class CallSite:
    """The innermost layer in which an exception was raised.

    The exception passes through the calls of the layers around, and each says anew where the layer
    stands as seen from there. So the path is that of the network which was called, also for a layer
    that stands in several networks.
    """

    def __init__(self, node: Node, line: str, args: Any, kwargs: Any, error: Exception) -> None:
        # None too: a layer that forgot its return gives it to the next.
        leaves = jax.tree.leaves((args, kwargs), is_leaf=_is_shown)
        inputs = _first([_describe(leaf) for leaf in leaves[: _INPUTS + 1]], _INPUTS, ", ")
        self._node = node
        self._call = f"{line}, called with ({inputs})"
        self._reason = error.args[0] if isinstance(error, ShapeError) else ""
        self._cell = error.cell if isinstance(error, ShapeError) else None
        self._described = "" if self._cell is None else self._cell.describe()
        self._note: str | None = None

    def seen_from(self, outer: Node, error: Exception) -> None:
        """Say in `error` where the layer stands below `outer`."""
        inner = "" if outer is self._node else path_within(outer, self._node)
        path = ".".join(part for part in (path_of(outer), inner) if part)
        what = f"layer '{path}', {self._call}" if path else f"the network, {self._call}"
        if self._reason:
            reason = self._reason
            if self._cell is not None:
                name = ".".join(
                    part for part in (path, path_within(self._node, self._cell)) if part
                )
                kind = self._described.partition(" ")[0]
                reason = reason.replace(self._described, f"{kind} '{name}'")
            error.args = (f"{what}: {reason}{self._own_shapes()}",)
            return
        if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
            what += _LOOKS_AT_VALUES
        notes = getattr(error, "__notes__", [])
        if self._note in notes:
            notes[notes.index(self._note)] = f"in {what}"
        else:
            error.add_note(f"in {what}")
        self._note = f"in {what}"

    def _own_shapes(self) -> str:
        shapes = [
            f"its {name} has shape {format_shape(cell.shape)}"
            for name, cell in own_entries(self._node)
            if isinstance(cell, Declared)
        ]
        return f" ({_first(shapes, _SHAPES, '; ')})" if shapes else ""


def _first(parts: list[str], most: int, separator: str) -> str:
    return separator.join([*parts[:most], *(["…"] if len(parts) > most else [])])


def _is_shown(leaf: Any) -> bool:
    return leaf is None or deferral.is_holder(leaf)


def _describe(leaf: Any) -> str:
    """An input in words: dtype and shape of an array, the value of anything small."""
    if deferral.is_array(leaf):
        return format_value(leaf)
    return type(leaf).__name__ if deferral.is_holder(leaf) else repr(leaf)[:40]
