"""Which modules a function closes over: through its cells, its globals, and functions it calls."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from operator import is_
from typing import Any

from ansatz.core.deferral import is_holder

_FOREIGN = frozenset({"jax", "jaxlib", "numpy", "optax", "ansatz"})
_MISSING = object()
_SMALL = 1024  # A larger container is watched only if it holds modules, not if it holds data.
_Container = list[Any] | tuple[Any, ...] | dict[Any, Any]


class Closure:
    """The modules and cells that a function closes over, as far as can be found.

    Follows closures, global names, `functools.partial`, bound methods, and Python functions found
    on the way; containers of modules are looked into. Functions of the libraries below are not.

    Attributes:
        holders: the modules and cells, each once, in a stable order.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.holders: list[Any] = []
        self._references: list[tuple[Callable[[], Any], Any]] = []
        self._containers: list[tuple[_Container, list[Any]]] = []
        self._seen: set[int] = set()
        self._search(function)

    def is_current(self) -> bool:
        """Whether each variable and container that was followed still holds the same objects."""
        for read, value in self._references:
            if read() is not value:
                return False
        for container, items in self._containers:
            if len(container) != len(items) or not all(map(is_, _items(container), items)):
                return False
        return True

    def _search(self, value: Any) -> None:
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        if is_holder(value):
            self.holders.append(value)
        elif isinstance(value, functools.partial):
            for part in (value.func, *value.args, *value.keywords.values()):
                self._search(part)
        elif isinstance(value, types.MethodType):
            self._search(value.__self__)
            self._search(value.__func__)
        elif isinstance(value, list | tuple | dict):
            items = list(_items(value))
            before = len(self.holders)
            for item in items:
                self._search(item)
            if len(items) <= _SMALL or len(self.holders) > before:
                self._containers.append((value, items))
        elif callable(value):
            inner = inspect.unwrap(value)
            if isinstance(inner, types.FunctionType) and not _is_foreign(inner):
                for read, referred in _references(inner):
                    self._references.append((read, referred))
                    self._search(referred)


def _items(container: _Container) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _is_foreign(function: types.FunctionType) -> bool:
    return (function.__module__ or "").partition(".")[0] in _FOREIGN


def _references(function: types.FunctionType) -> Iterator[tuple[Callable[[], Any], Any]]:
    for cell in function.__closure__ or ():
        read = functools.partial(_contents, cell)
        yield read, read()
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield functools.partial(_same, default), default
    for name in dict.fromkeys(_global_names(function.__code__)):
        value = function.__globals__.get(name)
        if is_holder(value) or isinstance(value, types.FunctionType | list | tuple | dict):
            yield functools.partial(function.__globals__.get, name), value


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # Not assigned yet: a function that refers to itself.
        return _MISSING


def _same(value: Any) -> Any:
    return value


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)
