"""Frames: what stands in for the values of cells while a function is being traced.

A *frame* maps cells to values and records which cells were written. Reading a cell asks the
innermost frame, then the frame around it, and in the end the cell itself; writing always goes to
the innermost frame. A transform opens a frame *inside* the function that JAX traces, takes the
written values out as results of that function, and hands them on to the frame around it, or to
the cells. The stack of frames lives in a `ContextVar`: threads never see each other's tracers, and
leaving a frame by an exception forgets its writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar, Token
from typing import Any, Self

import jax
from jax.extend.core import get_opaque_trace_state

from ansatz.core.errors import TraceError

Box = Any
"""A cell: something that has `read_outside`, `write_outside`, `assign` and `describe`."""

_innermost: ContextVar[Frame | None] = ContextVar("ansatz_frame", default=None)

current = _innermost.get
"""The innermost open frame of this thread, or `None`."""


def trace_state() -> Any:
    """A value that is equal for equal JAX traces, and differs inside every transformation."""
    return get_opaque_trace_state()


_top_level = trace_state()


def at_top_level() -> bool:
    """True where no JAX transformation is tracing."""
    return bool(get_opaque_trace_state() == _top_level)


def is_staging() -> bool:
    """True where JAX records operations for later (`jit`, `scan`, …) instead of running them.

    `grad` and `vmap` run operations at once, so a concrete value that is read there is current;
    a staged program keeps it as a constant.
    """
    return isinstance(jax.lax.full((), 0.0), jax.core.Tracer)


def keeps_constants() -> bool:
    """True where a value read from a cell would become a constant of somebody else's program."""
    return current() is None and not at_top_level() and is_staging()


class Frame:
    """Values that stand in for those of cells, and the record of what was written.

    Args:
        values: what stands in from the start.
        stale: what `keeps_constants()` said where the transform was called that opens the frame.
    """

    __slots__ = ("_token", "_trace", "parent", "shapes", "stale", "values", "writes")

    def __init__(self, values: Mapping[Box, Any] | None = None, *, stale: bool = False) -> None:
        self.stale = stale
        self.values: dict[Box, Any] = dict(values or {})
        self.writes: dict[Box, None] = {}
        self.shapes: dict[Box, tuple[int, ...]] = {}
        self.parent: Frame | None = None

    def __enter__(self) -> Self:
        self.parent = current()
        self._trace = trace_state()
        self._token: Token[Frame | None] = _innermost.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _innermost.reset(self._token)

    def read(self, cell: Box) -> Any:
        """The value of `cell` as seen from inside this frame."""
        try:
            return self.values[cell]
        except KeyError:
            return self.read_around(cell)

    def read_around(self, cell: Box) -> Any:
        """The value of `cell` as seen from the frame around this one."""
        if self.parent is not None:
            return self.parent.read(cell)
        return cell.read_outside(stale=self.stale)

    def write(self, cell: Box, value: Any) -> None:
        """Let `value` be the value of `cell` from here on, and record the write."""
        if trace_state() != self._trace:
            raise TraceError(
                f"{cell.describe()} was written inside a plain JAX transformation (such as "
                "jax.lax.scan, jax.lax.cond, jax.grad or jax.vmap) that runs within an Ansatz "
                "transform; the update would be lost. Use the transform of the same name from "
                "ansatz (az.scan, az.grad, az.vmap, az.remat, az.jit), which carries writes of "
                "cells out, or write the cell outside that function."
            )
        self.values[cell] = value
        self.writes[cell] = None

    def written(self) -> dict[Box, Any]:
        """The cells written in this frame, in order of their first write, with last values."""
        return {cell: self.values[cell] for cell in self.writes}


def enclosing() -> Iterator[Frame]:
    """The open frames of this thread, innermost first."""
    frame = current()
    while frame is not None:
        yield frame
        frame = frame.parent


def commit(values: Mapping[Box, Any]) -> None:
    """Write what a transform brought out to the frame around it, or to the cells."""
    frame = current()
    outside = frame is None and at_top_level()
    for cell, value in values.items():
        if outside:
            cell.write_outside(value)
            cell.mark_exposed()  # Without compilation, the caller may have been given it as well.
        elif frame is None:
            cell.assign(value)  # Refuses a write that a plain JAX trace would lose.
        else:
            frame.write(cell, value)
