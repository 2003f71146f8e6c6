"""Lists and dicts that belong to a module, so that a layer appended to one of them is seen.

A plain list, tuple or dict assigned to a module's attribute is replaced by one of these (tuples
stay tuples, with tracked contents). They behave like their base classes, and report each change to
the structure clock.
"""

from __future__ import annotations

import collections
import functools
import operator
import types
import weakref
from collections.abc import Callable, Iterable, KeysView, ValuesView
from typing import Any

import jax

from ansatz.core import clock
from ansatz.core.cell import Cell
from ansatz.core.errors import StructureError, TraceError, format_value

_UNORDERED = (set, frozenset, collections.deque, KeysView, ValuesView)


def _reporting(name: str, base: type) -> Callable[..., Any]:
    original = getattr(base, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_tracers((args, kwargs), lambda: "a list or dict of a module")
        if name == "__setitem__":
            _refuse_replacing(self, *args)
        result = original(self, *args, **kwargs)
        self.adopt()
        clock.structure_changed()
        return result

    method.__name__ = name
    method.__doc__ = original.__doc__
    return method


def _refuse_replacing(container: Any, key: Any, new: Any) -> None:
    """Refuse a bare value in the place of a parameter, as an attribute does."""
    if isinstance(container, dict):
        held = container.get(key)
    else:
        held = list.__getitem__(container, key) if isinstance(key, int) else None
    bare = new is not None and not is_parameter_place(new)
    if bare and held is not None and is_parameter_place(held):
        raise TypeError(
            f"{held.describe()} cannot be replaced by {format_value(new)}; "
            f"assign to its value instead: container[{key!r}].value = value"
        )


class _Source:
    """The list or dict that was assigned to a module, to notice when it changes afterwards."""

    def __init__(self, container: list[Any] | dict[Any, Any]) -> None:
        self._container = container
        self._items = list(_items(container))

    def check(self, name: str) -> None:
        """Refuse a container that changed behind the back of the copy that the module keeps.

        Raises:
            StructureError: an item was added, removed or replaced.
        """
        now = list(_items(self._container))
        if len(now) == len(self._items) and all(map(operator.is_, now, self._items)):
            return
        kind = "dict" if isinstance(self._container, dict) else "list"
        change = "self.layers[key] = …" if kind == "dict" else "self.layers.append(…)"
        raise StructureError(
            f"the {kind} '{name}' was assigned to a module and changed afterwards: it had "
            f"{len(self._items)} items then and has {len(now)} now, or holds others. The module "
            f"keeps a tracked {kind} of its own; change that one ({change}), or assign the {kind} "
            "when it is complete."
        )


def _keyed(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if isinstance(container, dict) else enumerate(container)


def _items(container: list[Any] | dict[Any, Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


class Tracked:
    """What the tracked containers have in common; mixed into a list or a dict."""

    _owner: weakref.ref[Any] | None = None
    _source: _Source | None = None
    _plain: Any  # The class without tracking: `list` or `dict`.

    def adopt(self) -> None:
        """Track what was put in, and tell the cells and modules in it whose they are."""
        for key, item in list(_keyed(self)):
            tracked = track(item, self._owner)
            if tracked is not item:
                self._plain.__setitem__(self, key, tracked)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self._plain(self),))


class TrackedList(Tracked, list[Any]):
    """A list whose changes are seen by compiled functions."""

    _plain = list

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


class TrackedDict(Tracked, dict[Any, Any]):
    """A dict whose changes are seen by compiled functions."""

    _plain = dict

    __setitem__ = _reporting("__setitem__", dict)
    __delitem__ = _reporting("__delitem__", dict)
    __ior__ = _reporting("__ior__", dict)
    clear = _reporting("clear", dict)
    pop = _reporting("pop", dict)
    popitem = _reporting("popitem", dict)
    setdefault = _reporting("setdefault", dict)
    update = _reporting("update", dict)


_TRACKED: dict[type, type[TrackedList] | type[TrackedDict]] = {list: TrackedList, dict: TrackedDict}


def refuse_tracers(value: Any, where: Callable[[], str]) -> None:
    """Raise if `value` is, or directly holds, an array of a trace.

    Args:
        value: what is about to be put into a module.
        where: says in words where to.

    Raises:
        TraceError: it does; a tracer must not outlive its trace.
    """
    if isinstance(value, jax.core.Tracer):
        raise TraceError(
            f"{where()} was given an array inside a JAX trace, which would leave a tracer behind. "
            "Hold what changes during a call in a state: self.x = az.State(…) in __init__, then "
            "self.x.value = … in forward; or return the array."
        )
    if isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            refuse_tracers(item, where)


def track(value: Any, owner: weakref.ref[Any] | None) -> Any:
    """`value` with every list and dict in it tracked, and every cell and module in it adopted."""
    if isinstance(value, Tracked):
        if value._owner is None:
            value._owner = owner
            value.adopt()
        return value
    if type(value) in _TRACKED:
        tracked = _TRACKED[type(value)](value)
        tracked._owner = owner
        tracked._source = _Source(value)
        tracked.adopt()
        return tracked
    if isinstance(value, tuple):
        return _tracked_tuple(value, owner)
    if isinstance(value, list | dict):  # A subclass stays what it is, with adopted contents.
        for item in _items(value):
            track(item, owner)
        return value
    if isinstance(value, _UNORDERED):
        _refuse_holders(value)
    _refuse_hiding(value, owner)
    home = getattr(type(value), "_home", None)
    if owner is not None and home is not None and value._home_is_open():
        value._home = owner
    return value


def _refuse_hiding(value: Any, owner: weakref.ref[Any] | None) -> None:
    """Refuse an object in which a layer would stand without a path, and so untrained."""
    if isinstance(value, functools.partial):
        inside: Iterable[Any] = (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, types.MethodType):
        inside = (value.__self__,)
    elif _is_holder(value) or isinstance(value, type | types.FunctionType | types.ModuleType):
        return
    else:
        inside = getattr(value, "__dict__", {}).values()
    for found in inside:
        if _is_holder(found) and found._home_is_open() and (owner is None or found is not owner()):
            raise StructureError(
                f"a {type(value).__name__} that holds {type(found).__name__} cannot be an "
                f"attribute of a module: the {type(found).__name__} would have no path, and would "
                "be neither trained nor saved. Assign it to an attribute of its own as well, "
                "before this one."
            )


def _refuse_holders(value: Iterable[Any]) -> None:
    found = next((item for item in value if _is_holder(item)), None)
    if found is not None:
        raise StructureError(
            f"a {type(value).__name__} that holds {type(found).__name__} cannot be an attribute "
            "of a module: what is in it would have no path. Use a list, a tuple or a dict."
        )


def _is_holder(value: Any) -> bool:
    return isinstance(value, Cell) or hasattr(type(value), "_path_from_root")


def is_parameter_place(value: Any) -> bool:
    """True for a cell, and for a node that stands where a parameter was declared."""
    return isinstance(value, Cell) or hasattr(type(value), "_path_prefix")


def _tracked_tuple(value: tuple[Any, ...], owner: weakref.ref[Any] | None) -> tuple[Any, ...]:
    items = [track(item, owner) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    return type(value)(*items) if hasattr(value, "_fields") else tuple(items)


def entries(value: Any, name: str) -> Iterable[tuple[str, Any]]:
    """The cells and nodes in `value`, an attribute called `name`, with their names."""
    if isinstance(value, Tracked) and value._source is not None:
        value._source.check(name)
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from entries(item, f"{name}.{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from entries(item, f"{name}.{_checked_key(key, item, name)}")
    elif _is_holder(value):
        yield getattr(type(value), "_path_prefix", "") + name, value


def _checked_key(key: Any, item: Any, name: str) -> str:
    text = str(key)
    holds_cells = isinstance(item, list | tuple | dict) or _is_holder(item)
    if holds_cells and (not text or "." in text):
        raise StructureError(
            f"the key {key!r} of the dict '{name}' cannot be part of a path: it is empty or holds "
            "a dot; use another key for a layer or parameter"
        )
    return text
