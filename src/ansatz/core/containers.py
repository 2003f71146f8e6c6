"""Lists and dicts that belong to a module, so that a layer appended to one of them is seen.

A plain list, tuple or dict assigned to a module's attribute is replaced by one of these (tuples
stay tuples, with tracked contents). They behave like their base classes, and report each change to
the structure clock.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import jax

from ansatz.core import clock
from ansatz.core.cell import Cell
from ansatz.core.errors import StructureError, TraceError


def _reporting(name: str, base: type) -> Callable[..., Any]:
    original = getattr(base, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_tracers((args, kwargs), "a list or dict of a module")
        result = original(self, *args, **kwargs)
        self.adopt()
        clock.structure_changed()
        return result

    method.__name__ = name
    method.__doc__ = original.__doc__
    return method


class TrackedList(list[Any]):
    """A list whose changes are seen by compiled functions."""

    _owner: weakref.ref[Any] | None = None
    _source: list[Any] | None = None

    def adopt(self) -> None:
        """Track what was put in, and tell the cells and modules in it whose they are."""
        for index, item in enumerate(self):
            tracked = track(item, self._owner)
            if tracked is not item:
                list.__setitem__(self, index, tracked)

    __setitem__ = _reporting("__setitem__", list)
    __delitem__ = _reporting("__delitem__", list)
    __iadd__ = _reporting("__iadd__", list)
    __imul__ = _reporting("__imul__", list)
    append = _reporting("append", list)
    clear = _reporting("clear", list)
    extend = _reporting("extend", list)
    insert = _reporting("insert", list)
    pop = _reporting("pop", list)
    remove = _reporting("remove", list)
    reverse = _reporting("reverse", list)
    sort = _reporting("sort", list)

    def check_source(self) -> None:
        """Refuse a list that grew behind the back of the copy that the module keeps."""
        if self._source is not None and len(self._source) != self._source_length:
            raise StructureError(
                "a list was assigned to a module and changed afterwards: it had "
                f"{self._source_length} items then and has {len(self._source)} now. The module "
                "keeps a tracked list of its own; change that one (self.layers.append(…)), or "
                "assign the list when it is complete."
            )

    def remember_source(self, source: list[Any]) -> None:
        """Keep the list that was assigned, to notice when it changes later."""
        self._source, self._source_length = source, len(source)

    def __reduce__(self) -> tuple[Any, ...]:
        return (TrackedList, (list(self),))


class TrackedDict(dict[Any, Any]):
    """A dict whose changes are seen by compiled functions."""

    _owner: weakref.ref[Any] | None = None

    def adopt(self) -> None:
        """Track what was put in, and tell the cells and modules in it whose they are."""
        for key, item in self.items():
            tracked = track(item, self._owner)
            if tracked is not item:
                dict.__setitem__(self, key, tracked)

    __setitem__ = _reporting("__setitem__", dict)
    __delitem__ = _reporting("__delitem__", dict)
    __ior__ = _reporting("__ior__", dict)
    clear = _reporting("clear", dict)
    pop = _reporting("pop", dict)
    popitem = _reporting("popitem", dict)
    setdefault = _reporting("setdefault", dict)
    update = _reporting("update", dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return (TrackedDict, (dict(self),))


def refuse_tracers(value: Any, where: str) -> None:
    """Raise if `value` is, or directly holds, an array of a trace.

    Raises:
        TraceError: it does; a tracer must not outlive its trace.
    """
    if isinstance(value, jax.core.Tracer):
        raise TraceError(
            f"{where} was given an array inside a JAX trace, which would leave a tracer behind. "
            "Hold what changes during a call in a state: self.x = az.State(…) in __init__, then "
            "self.x.value = … in forward; or return the array."
        )
    if isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            refuse_tracers(item, where)


def track(value: Any, owner: weakref.ref[Any] | None) -> Any:
    """`value` with every list and dict in it tracked, and every cell and module in it adopted."""
    if isinstance(value, TrackedList | TrackedDict):
        if value._owner is None:
            value._owner = owner
            value.adopt()
        return value
    if type(value) is list:
        tracked = TrackedList(value)
        tracked._owner = owner
        tracked.remember_source(value)
        tracked.adopt()
        return tracked
    if type(value) is dict:
        mapping = TrackedDict(value)
        mapping._owner = owner
        mapping.adopt()
        return mapping
    if isinstance(value, tuple):
        return _tracked_tuple(value, owner)
    home = getattr(type(value), "_home", None)
    if owner is not None and home is not None and value._home_is_open():
        value._home = owner
    return value


def _tracked_tuple(value: tuple[Any, ...], owner: weakref.ref[Any] | None) -> tuple[Any, ...]:
    items = [track(item, owner) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    return type(value)(*items) if hasattr(value, "_fields") else tuple(items)


def entries(value: Any, name: str) -> Iterable[tuple[str, Any]]:
    """The cells and nodes in `value`, an attribute called `name`, with their names."""
    if isinstance(value, TrackedList):
        value.check_source()
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from entries(item, f"{name}.{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from entries(item, f"{name}.{_checked_key(key, item, name)}")
    elif isinstance(value, Cell) or hasattr(type(value), "_path_from_root"):
        yield name, value


def _checked_key(key: Any, item: Any, name: str) -> str:
    text = str(key)
    holds_cells = isinstance(item, Cell | list | tuple | dict) or hasattr(item, "_path_from_root")
    if holds_cells and (not text or "." in text):
        raise StructureError(
            f"the key {key!r} of the dict '{name}' cannot be part of a path: it is empty or holds "
            "a dot; use another key for a layer or parameter"
        )
    return text
