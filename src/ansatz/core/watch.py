"""Watching calls: what each module gives, while somebody wants to know.

A summary shows the output of each layer. It gets them from a run that is made anyway, the abstract
one that finds shapes: while a `Watch` is open in a thread, every module that was called there notes
its output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax

from ansatz.core.cell import Cell
from ansatz.core.node import Node

_open: ContextVar[Watch | None] = ContextVar("ansatz_watch", default=None)

current = _open.get
"""The watch that is open in this thread, or `None`."""


class Watch:
    """The outputs of calls, in the order in which these ended."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[tuple[Node, Any]] = []

    def note(self, node: Node, output: Any) -> None:
        """Remember what a call gave, as shapes: no array, and no tracer, is kept."""
        shapes = jax.tree.map(_as_shape, output, is_leaf=lambda leaf: isinstance(leaf, Node | Cell))
        self._calls.append((node, shapes))

    def outputs_of(self, node: Node) -> tuple[Any, ...]:
        """What each call of a module gave: its output with `jax.ShapeDtypeStruct` for arrays."""
        return tuple(output for called, output in self._calls if called is node)


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch all calls of modules in this thread."""
    token = _open.set(watch := Watch())
    try:
        yield watch
    finally:
        _open.reset(token)


def mark() -> int:
    """How much was noted so far, for `rewind`."""
    watch = current()
    return 0 if watch is None else len(watch._calls)


def rewind(marked: int) -> None:
    """Forget what was noted since then, because the same calls are made once more."""
    watch = current()
    if watch is not None:
        del watch._calls[marked:]


def spread(marked: int, alike: Iterable[Sequence[Node]]) -> None:
    """Note what was noted since then also for others, as whose calls these count.

    Args:
        marked: what `mark` gave before the calls.
        alike: groups of nodes, each of one size: a node that was called, and the others. A node of
            no group was called for each of them.
    """
    watch = current()
    if watch is None:
        return
    groups = {id(group[0]): group for group in alike}
    calls = watch._calls[marked:]
    for place in range(1, max(map(len, groups.values()), default=1)):
        for node, output in calls:
            group = groups.get(id(node))
            watch._calls.append((node if group is None else group[place], output))


def _as_shape(leaf: Any) -> Any:
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype") and not isinstance(leaf, Node | Cell):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return leaf
