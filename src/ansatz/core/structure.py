"""Fingerprints: what a trace of a function may depend on besides the values of cells.

The fingerprint of some modules is a key that is equal exactly when they have the same classes,
static attributes (`training`, an activation, a number), and cells in the same places, tied and
frozen in the same way. Two networks of one architecture have equal fingerprints, and so share one
compiled program. Attributes that can change without the module noticing (a NumPy array, an object
with attributes of its own) enter by their contents, and are compared again on every call.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import types
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import numpy as np

from ansatz.core.cell import Cell
from ansatz.core.declared import Declared
from ansatz.core.initializer import Initializer
from ansatz.core.node import Node
from ansatz.core.parameter import Parameter

_DEPTH = 4
_IDENTITIES = (
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.ModuleType,
    np.dtype,
    np.ufunc,
    enum.Enum,
    Initializer,
)


class Fingerprint:
    """What a trace may depend on, and the cells it may read and write.

    Attributes:
        key: the hashable key.
        cells: the distinct cells below the modules, in a canonical order.
        volatile: objects whose contents may change unnoticed.
        contents: their contents when the fingerprint was taken.
        kept: objects that entered by identity, which must outlive the key.
    """

    def __init__(self, holders: Sequence[Node | Cell]) -> None:
        self.cells: list[Cell] = []
        self.volatile: list[Any] = []
        self._numbers: dict[int, int] = {}
        self.kept: list[Any] = []  # What enters by identity must not be collected.
        self.key: Hashable = tuple(self._encode(holder) for holder in holders)
        self.contents = self.volatile_contents()

    def volatile_contents(self) -> list[Hashable]:
        """The contents of the volatile objects as they are now."""
        return [_contents(value, _DEPTH) for value in self.volatile]

    def _encode(self, value: Any) -> Hashable:
        if value is None or isinstance(value, bool | int | str | bytes):
            return (type(value), value)
        if isinstance(value, float | complex):
            return (type(value), repr(value))  # NaN is not equal to itself.
        if isinstance(value, Cell):
            return self._encode_cell(value)
        if isinstance(value, Node):
            return self._encode_node(value)
        if isinstance(value, list | tuple):
            return (type(value), *(self._encode(item) for item in value))
        if isinstance(value, dict):
            items = ((repr(key), self._encode(item)) for key, item in value.items())
            return (type(value), *items)
        if isinstance(value, functools.partial):
            return (value.func, self._encode(value.args), self._encode(value.keywords))
        if isinstance(value, types.MethodType):
            return ("method", value.__func__, self._encode(value.__self__))
        if isinstance(value, _IDENTITIES):
            return value
        self.kept.append(value)
        if (
            not isinstance(value, jax.Array)
            and (isinstance(value, np.ndarray | set) or hasattr(value, "__dict__"))
            and not _is_compiled(value)
        ):
            self.volatile.append(value)
            return ("contents", type(value), _contents(value, _DEPTH))
        return ("identity", type(value), id(value))

    def _encode_cell(self, cell: Cell) -> Hashable:
        base = cell.base
        number = self._numbers.get(id(base))
        if number is None:
            number = self._numbers[id(base)] = len(self._numbers)
            self.cells.append(base)
        if isinstance(base, Declared):
            trained = base.grad_req if isinstance(base, Parameter) else None
            return (type(cell), number, trained, base.is_deferred)
        return (type(cell), number, base.has_value)

    def _encode_node(self, node: Node) -> Hashable:
        number = self._numbers.get(id(node))
        if number is not None:
            return ("again", number)
        self._numbers[id(node)] = len(self._numbers)
        held = vars(node).items()
        return (type(node), *((name, self._encode(value)) for name, value in held))


def _is_compiled(value: Any) -> bool:
    return callable(value) and hasattr(value, "lower")


def _contents(value: Any, depth: int) -> Hashable:
    if isinstance(value, np.ndarray):
        digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).digest()
        return (value.shape, str(value.dtype), digest)
    if value is None or isinstance(value, bool | int | str | bytes):
        return (type(value), value)
    if isinstance(value, float | complex):
        return (type(value), repr(value))
    if depth and isinstance(value, list | tuple):
        return (type(value), *(_contents(item, depth - 1) for item in value))
    if depth and isinstance(value, dict):
        return tuple((repr(key), _contents(item, depth - 1)) for key, item in value.items())
    if depth and hasattr(value, "__dict__") and not isinstance(value, (*_IDENTITIES, Node)):
        return (type(value), id(value), _contents(vars(value), depth - 1))
    return (type(value), id(value))
