"""Reading the structure of a pickle without unpickling it.

A pickle is a program for a small stack machine, which can look up any name and call it. Here the
program is interpreted, not run: dicts, lists, tuples, numbers and text become what they are, and a
name such as `collections.OrderedDict` stays a name. What a call of it means is decided by whoever
asks, from a list of their own; every other name is refused. No name is ever looked up.

Protocols 2 to 5 are understood. The number of operations is limited, so a hostile pickle neither
hangs nor fills the memory.

Source: the opcodes as CPython's `pickletools` documents them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from ansatz.core.errors import CheckpointError

MAX_BYTES = 1 << 26
"""The longest pickle that is read: that of 30,000 tensors has some 5 MB."""

_MAX_OPERATIONS = 1_000_000
_MAX_INTEGER = 16  # Bytes: sizes and counts have eight.
_MAX_LINE = 4096
_MAX_KEY = 1 << 31  # Larger integers as keys could be chosen to make a dict slow.


class Global(NamedTuple):
    """A name that the pickle speaks of.

    Attributes:
        module: the module.
        name: the name in it.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Meaning(NamedTuple):
    """What the operations that would run code mean.

    Attributes:
        name: called with each name that occurs; refuses it or gives what stands for it.
        call: called with what `name` gave and the tuple of arguments.
        state: called with an object and the state to be set on it; gives the object.
        persistent: called with the identifier of something that is stored elsewhere.
    """

    name: Callable[[Global], Any]
    call: Callable[[Any, tuple[Any, ...]], Any]
    state: Callable[[Any, Any], Any]
    persistent: Callable[[Any], Any]


class _Mark:
    """Where the operands of the next operation with a variable number of them begin."""


_MARK = _Mark()
_SCALARS = (str, int, float, bool, bytes, type(None))


def interpret(raw: bytes, meaning: Meaning, label: str) -> Any:
    """The object that a pickle describes.

    Args:
        raw: the pickle.
        meaning: what names and calls in it stand for.
        label: the pickle, for messages.

    Raises:
        CheckpointError: it is no pickle, is damaged, or asks for more than describing an object.

    Example:
        >>> import pickle
        >>> from ansatz.checkpoint.pickle_opcodes import Meaning, interpret
        >>> def refuse(*_):
        ...     raise ValueError("not here")
        >>> interpret(pickle.dumps({"a": [1, 2.5]}), Meaning(*4 * [refuse]), "a pickle")
        {'a': [1, 2.5]}
    """
    if len(raw) > MAX_BYTES:
        raise CheckpointError(f"{label} has {len(raw)} bytes; {MAX_BYTES} are allowed")
    machine = _Machine(raw, meaning, label)
    try:
        return machine.run()
    except (IndexError, struct.error, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{label} is damaged at byte {machine.at}: {type(error).__name__} ({error})"
        ) from error


class _Machine:
    """The stack, the memo and the place in the program."""

    def __init__(self, raw: bytes, meaning: Meaning, label: str) -> None:
        self._raw = raw
        self._meaning = meaning
        self._label = label
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.at = 0

    def run(self) -> Any:
        for _ in range(_MAX_OPERATIONS):
            code = self._raw[self.at]
            self.at += 1
            if code == _STOP:
                if len(self._stack) != 1 or self.at != len(self._raw):
                    raise self._fault("ends where it should not")
                return self.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise self._fault(f"contains the operation {bytes([code])!r}, which is not read")
            operation(self)
        raise self._fault(f"takes more than {_MAX_OPERATIONS} operations")

    def _fault(self, message: str) -> CheckpointError:
        return CheckpointError(f"{self._label} {message} (byte {self.at}); nothing in it was run")

    # -- operands -----------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """The next bytes of the program."""
        if not 0 <= count <= len(self._raw) - self.at:
            raise self._fault(f"is cut off: {count} bytes should follow")
        self.at += count
        return self._raw[self.at - count : self.at]

    def number(self, width: int, *, signed: bool = False) -> int:
        """The next little-endian number."""
        return int.from_bytes(self.take(width), "little", signed=signed)

    def line(self) -> str:
        """The next text up to the end of its line."""
        end = self._raw.find(b"\n", self.at, self.at + _MAX_LINE)
        if end < 0:
            raise self._fault("is cut off: a name should end")
        text = self._raw[self.at : end].decode()
        self.at = end + 1
        return text

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Take a value from the stack; never a mark."""
        value = self._stack.pop()
        if value is _MARK:
            raise self._fault("takes a mark for a value")
        return value

    def pop_tuple(self, count: int) -> tuple[Any, ...]:
        """Take some values from the stack; never a mark."""
        values = tuple(self._stack[-count:])
        if len(values) != count or any(value is _MARK for value in values):
            raise self._fault("takes a mark for a value, or what is not there")
        del self._stack[-count:]
        return values

    def pop_to_mark(self) -> list[Any]:
        """Take everything above the last mark, and the mark."""
        start = len(self._stack) - 1
        while self._stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise self._fault("lacks a mark")
        taken = self._stack[start + 1 :]
        del self._stack[start:]
        return taken

    # -- what the operations do ---------------------------------------------------------------

    def remember(self, index: int) -> None:
        """Keep the top of the stack for later."""
        self._memo[index] = self._top()

    def remember_next(self) -> None:
        """Keep the top of the stack under the next free number."""
        self._memo[len(self._memo)] = self._top()

    def recall(self, index: int) -> None:
        """Bring back what was kept."""
        self.push(self._memo[index])

    def set_items(self, pairs: list[Any]) -> None:
        """Put keys and values, in turn, into the dict on the stack."""
        target = self._top()
        if type(target) is not dict or len(pairs) % 2:
            raise self._fault("puts items into what is no dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            sound = isinstance(key, str | bool | None) or (
                isinstance(key, int) and abs(key) < _MAX_KEY
            )
            if not sound:
                raise self._fault(f"has a key that is neither text nor a number: {_short(key)}")
            target[key] = value

    def extend(self, values: list[Any]) -> None:
        """Append values to the list on the stack."""
        target = self._top()
        if type(target) is not list:
            raise self._fault("appends to what is no list")
        target.extend(values)

    def name(self, module: Any, name: Any) -> None:
        """Push what stands for a name, if it is known."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._fault("has a name that is no text")
        self.push(self._meaning.name(Global(module, name)))

    def stack_name(self) -> None:
        """The same, with the name on the stack."""
        name = self.pop()
        self.name(self.pop(), name)

    def call(self) -> None:
        """Push what a call stands for."""
        arguments = self.pop()
        function = self.pop()
        if type(arguments) is not tuple:
            raise self._fault("calls something with what is no tuple")
        self.push(self._meaning.call(function, arguments))

    def build(self) -> None:
        """Push what an object with a state stands for."""
        state = self.pop()
        self.push(self._meaning.state(self.pop(), state))

    def persistent(self) -> None:
        """Push what is stored elsewhere."""
        self.push(self._meaning.persistent(self.pop()))

    def integer(self, width: int) -> None:
        """Push an integer that says how many bytes it has."""
        count = self.number(width)
        if count > _MAX_INTEGER:
            raise self._fault(f"has an integer of {count} bytes")
        self.push(self.number(count, signed=True))

    def discard(self) -> None:
        """Drop the top of the stack, which may be a mark."""
        self._stack.pop()

    def discard_to_mark(self) -> None:
        """Drop everything above the last mark, and the mark."""
        self.pop_to_mark()

    def repeat(self) -> None:
        """Push the top of the stack once more."""
        self.push(self._top())

    def _top(self) -> Any:
        value = self._stack[-1]
        if value is _MARK:
            raise self._fault("takes a mark for a value")
        return value


def _short(value: Any) -> str:
    return repr(value)[:40] if isinstance(value, _SCALARS) else type(value).__name__


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def operation(m: _Machine) -> None:
        m.push(m.pop_tuple(count))

    return operation


_STOP = ord(".")
_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    0x80: lambda m: _check_protocol(m, m.number(1)),  # PROTO
    0x95: lambda m: _check_frame(m, m.number(8)),  # FRAME
    ord("("): lambda m: m.push(_MARK),
    ord("0"): lambda m: m.discard(),
    ord("1"): lambda m: m.discard_to_mark(),
    ord("2"): lambda m: m.repeat(),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.number(4, signed=True)),
    ord("K"): lambda m: m.push(m.number(1)),
    ord("M"): lambda m: m.push(m.number(2)),
    0x8A: lambda m: m.integer(1),
    0x8B: lambda m: m.integer(4),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    ord("X"): lambda m: m.push(m.take(m.number(4)).decode("utf-8", "surrogatepass")),
    0x8C: lambda m: m.push(m.take(m.number(1)).decode("utf-8", "surrogatepass")),
    0x8D: lambda m: m.push(m.take(m.number(8)).decode("utf-8", "surrogatepass")),
    # The text of Python 2: names in files that were written by it.
    ord("T"): lambda m: m.push(m.take(m.number(4)).decode("latin-1")),
    ord("U"): lambda m: m.push(m.take(m.number(1)).decode("latin-1")),
    ord("B"): lambda m: m.push(m.take(m.number(4))),
    ord("C"): lambda m: m.push(m.take(m.number(1))),
    0x8E: lambda m: m.push(m.take(m.number(8))),
    ord("}"): lambda m: m.push({}),
    ord("]"): lambda m: m.push([]),
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.push((m.pop(),)),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    ord("t"): lambda m: m.push(tuple(m.pop_to_mark())),
    ord("l"): lambda m: m.push(m.pop_to_mark()),
    ord("a"): lambda m: m.extend([m.pop()]),
    ord("e"): lambda m: m.extend(m.pop_to_mark()),
    ord("s"): lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: m.set_items(m.pop_to_mark()),
    ord("q"): lambda m: m.remember(m.number(1)),
    ord("r"): lambda m: m.remember(m.number(4)),
    0x94: lambda m: m.remember_next(),
    ord("h"): lambda m: m.recall(m.number(1)),
    ord("j"): lambda m: m.recall(m.number(4)),
    ord("c"): lambda m: m.name(m.line(), m.line()),
    0x93: lambda m: m.stack_name(),
    ord("R"): lambda m: m.call(),
    0x81: lambda m: m.call(),  # NEWOBJ: a call of the class
    ord("b"): lambda m: m.build(),
    ord("Q"): lambda m: m.persistent(),
}


def _check_protocol(m: _Machine, protocol: int) -> None:
    if not 2 <= protocol <= 5:
        raise CheckpointError(f"a pickle of protocol {protocol} is not read; 2 to 5 are")


def _check_frame(m: _Machine, length: int) -> None:
    """Frames only help to read ahead; a length that lies does no harm."""
