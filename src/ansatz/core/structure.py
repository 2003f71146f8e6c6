"""Fingerprints: what a trace of a function may depend on besides the values of cells.

The fingerprint of some modules is a key that is equal exactly when they have the same classes,
static attributes (`training`, an activation, a number), and cells in the same places, tied and
frozen in the same way. Two networks of one architecture have equal fingerprints, and so share one
compiled program. Attributes that can change without the module noticing (a NumPy array, an object
with attributes of its own) enter by their contents, and are compared again on every call.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import hashlib
import types
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import numpy as np

from ansatz.core.cell import Cell
from ansatz.core.closures import Closure, attributes_of, is_of_arrays, is_of_python
from ansatz.core.containers import Tracked
from ansatz.core.declared import Declared
from ansatz.core.initializer import Initializer
from ansatz.core.node import Node
from ansatz.core.parameter import Parameter

_DEPTH = 16  # How deep contents are compared; what lies deeper enters by identity.
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
_CONTENTS = (np.ndarray, set, frozenset, bytearray, collections.deque)


class Fingerprint:
    """What a trace may depend on, and the cells it may read and write.

    Attributes:
        key: the hashable key.
        cells: the distinct cells below the modules, in a canonical order.
        volatile: objects whose contents may change unnoticed, and closures of functions.
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
        return [
            value.is_current() if isinstance(value, Closure) else _contents(value, ())
            for value in self.volatile
        ]

    def _encode(self, value: Any) -> Hashable:
        if _is_plain(value):
            return _plain(value)
        if isinstance(value, Cell):
            return self._encode_cell(value)
        if isinstance(value, Node):
            return self._encode_node(value)
        if isinstance(value, list | tuple | dict):
            return self._encode_container(value)
        if isinstance(value, functools.partial):
            return ("partial", *map(self._encode, (value.func, value.args, value.keywords)))
        if isinstance(value, types.MethodType):
            return ("method", value.__func__, self._encode(value.__self__))
        if isinstance(value, types.FunctionType):
            return (value, *self._encode_reached(value))
        if isinstance(value, _IDENTITIES):
            return value
        self.kept.append(value)
        if isinstance(value, _CONTENTS) or _has_contents(value):
            self.volatile.append(value)
            kind: Any = type(value)
            reached = () if isinstance(value, np.ndarray) else self._encode_reached(value)
            return ("contents", kind, _contents(value, ()), *reached)
        return _by_value(value)

    def _encode_container(self, value: Any) -> Hashable:
        if not isinstance(value, tuple | Tracked):
            self.volatile.append(value)  # It does not tell when it changes.
        if isinstance(value, dict):
            items = ((repr(key), self._encode(item)) for key, item in value.items())
            return (type(value), *items)
        return (type(value), *(self._encode(item) for item in value))

    def _encode_reached(self, value: Any) -> tuple[Hashable, ...]:
        """Modules that stand in no attribute, but that a function or object here leads to."""
        closure = Closure(value)
        if not closure.holders:
            return ()
        self.volatile.append(closure)
        return tuple(self._encode(holder) for holder in closure.holders)

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


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | str | bytes | float | complex)


def _plain(value: Any) -> Hashable:
    # By its text, because NaN is not equal to itself.
    return (type(value), repr(value) if isinstance(value, float | complex) else value)


def _by_value(value: Any) -> Hashable:
    """What is compared as its class says (a path, a mesh), or by identity if it is not hashable."""
    kind = type(value)
    if isinstance(value, np.generic):
        return (kind, str(value.dtype), value.tobytes())
    if isinstance(value, slice):
        return (kind, value.start, value.stop, value.step)
    if (is_of_python(kind) or is_of_arrays(kind)) and kind.__hash__ is not None:
        try:
            hash(value)
        except TypeError:
            return ("identity", kind, id(value))
        return (kind, value)
    return ("identity", kind, id(value))


def _has_contents(value: Any) -> bool:
    """Whether an object has attributes that may change without anybody being told."""
    kind = type(value)
    if isinstance(value, (*_IDENTITIES, Node, jax.Array)) or is_of_python(kind):
        return False
    if is_of_arrays(kind) or (callable(value) and hasattr(value, "lower")):
        return False
    return hasattr(value, "__dict__") or hasattr(kind, "__slots__")


def _contents(value: Any, around: tuple[int, ...]) -> Hashable:
    """The contents of an object as they are now, down to modules, which speak for themselves.

    Args:
        value: the object.
        around: the ids of the objects that it was reached through.
    """
    if _is_plain(value):
        return _plain(value)
    if isinstance(value, np.ndarray):
        digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).digest()
        return (value.shape, str(value.dtype), digest)
    if id(value) in around or len(around) > _DEPTH or isinstance(value, Node | Cell):
        return (type(value), id(value))
    inside = (*around, id(value))
    if isinstance(value, list | tuple | collections.deque):
        return (type(value), *(_contents(item, inside) for item in value))
    if isinstance(value, set | frozenset):
        return (type(value), frozenset(_contents(item, inside) for item in value))
    if isinstance(value, bytearray):
        return (type(value), bytes(value))
    if isinstance(value, dict):
        items = ((repr(key), _contents(item, inside)) for key, item in value.items())
        return (type(value), *items)
    if isinstance(value, _IDENTITIES):
        return value
    if _has_contents(value):
        # Records with equal fields are equal; of other classes we cannot know.
        record = dataclasses.is_dataclass(value) or isinstance(value, types.SimpleNamespace)
        identity = None if record else id(value)
        return (type(value), identity, _contents(attributes_of(value), inside))
    return _by_value(value)
