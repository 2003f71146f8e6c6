"""Which modules a function reaches by itself: closures, globals, and what it finds on the way."""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import is_
from typing import Any

from ansatz.core.collection import ParameterDict
from ansatz.core.deferral import is_array, is_holder

_LIBRARIES = frozenset({"jax", "jaxlib", "numpy", "optax", "ansatz"})
_MISSING = object()
_SMALL = 1024  # A larger container is watched only if it holds modules, not if it holds data.
_MOST_OBJECTS = 20_000  # Where a function leads into a large program, the search ends here.
_PLAIN = (bool, int, float, complex, str, bytes)
_Container = list[Any] | tuple[Any, ...] | dict[Any, Any]


class Closure:
    """The modules and cells that a function closes over, as far as can be found.

    Follows closures, global names, `functools.partial`, bound methods, wrapped functions, the
    attributes of plain objects, and Python functions found on the way; containers are looked
    into. Of the libraries below, only what their functions close over is followed (`az.remat(net)`
    is one), not their globals.

    Args:
        root: a function, or any object.

    Attributes:
        holders: the modules and cells in a stable order, as often as they are met: a list that
            holds a module twice is another program.
        statics: the numbers and texts in the containers, in the order in which they are met.
    """

    def __init__(self, root: Any) -> None:
        self.holders: list[Any] = []
        self.statics: tuple[Any, ...] = ()
        self._variables: list[tuple[types.CellType, Any]] = []
        self._references: list[tuple[Callable[[], Any], Any]] = []
        self._containers: list[tuple[_Container, list[Any]]] = []
        self._objects: list[tuple[dict[str, Any], int]] = []
        self._seen: dict[int, Any] = {}  # With the objects, so that no id is used twice.
        self._search(root)
        self._seen.clear()

    @property
    def is_watched(self) -> bool:
        """Whether there is anything that may change unnoticed."""
        return bool(self._variables or self._references or self._containers or self._objects)

    def is_current(self) -> bool:
        """Whether each variable and container that was followed still holds the same objects."""
        try:
            for variable, value in self._variables:
                if variable.cell_contents is not value:
                    return False
            for read, value in self._references:
                if read() is not value:
                    return False
        except ValueError:  # A variable was deleted.
            return False
        for container, items in self._containers:
            if len(container) != len(items) or not all(map(is_, _items(container), items)):
                return False
        if not self._objects:
            return True
        return all(len(attributes) == count for attributes, count in self._objects)

    def _search(self, value: Any) -> None:
        if is_holder(value):
            self.holders.append(value)
            return
        if id(value) in self._seen or len(self._seen) > _MOST_OBJECTS:
            return
        self._seen[id(value)] = value
        if isinstance(value, weakref.ref):
            self._search(value())
        elif isinstance(value, functools.partial):
            for part in (value.func, *value.args, *value.keywords.values()):
                self._search(part)
        elif isinstance(value, types.MethodType):
            self._search(value.__self__)
            self._search(value.__func__)
        elif isinstance(value, ParameterDict):  # A fixed selection from what stands below.
            self._search(value.root)
        elif isinstance(value, list | tuple | dict):
            self._search_container(value)
        elif isinstance(value, types.FunctionType):
            self._search_function(value)
        elif hasattr(value, "__wrapped__"):  # `az.jit(f)`, `jax.jit(f)` and their like.
            self._search(value.__wrapped__)
        elif _has_attributes_of_users(value):
            self._search_object(value)

    def _search_container(self, value: _Container) -> None:
        items = list(_items(value))
        before = len(self.holders)
        for item in items:
            self._search(item)
        if len(items) <= _SMALL or len(self.holders) > before:
            if not isinstance(value, tuple):  # Nobody can put anything else into a tuple.
                self._containers.append((value, items))
            self.statics += tuple((type(i), repr(i)) for i in items if isinstance(i, _PLAIN))

    def _search_function(self, function: types.FunctionType) -> None:
        if hasattr(function, "__wrapped__"):
            self._search(function.__wrapped__)
        if _is_of_library(function.__globals__.get("__name__")):
            for cell in function.__closure__ or ():  # Nobody assigns to these: no need to watch.
                self._search(_contents(cell))
            return
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._search(default)
        names = tuple(dict.fromkeys(_global_names(function.__code__)))
        for variable in function.__closure__ or ():
            value = _contents(variable)
            if value is _MISSING:  # A function that refers to itself: to be read with care.
                self._references.append((functools.partial(_contents, variable), value))
            else:
                self._variables.append((variable, value))
            self._follow(value, names)
        for name in names:
            value = function.__globals__.get(name)
            if _may_lead_on(value):
                self._references.append((functools.partial(function.__globals__.get, name), value))
                self._follow(value, names)

    def _follow(self, value: Any, names: tuple[str, ...]) -> None:
        """Search what a variable holds; of a namespace, what `names` may select."""
        self._search(value)
        if isinstance(value, types.ModuleType | type):
            self._search_names(vars(value), names)

    def _search_names(self, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
        """Search what a function may mean by `module.name` or `Class.name`."""
        for name in names:
            value = namespace.get(name)
            if _may_lead_on(value):
                self._references.append((functools.partial(namespace.get, name), value))
                self._search(value)

    def _search_object(self, value: Any) -> None:
        call = getattr(type(value), "__call__", None)  # noqa: B004 - the function itself is wanted
        if isinstance(call, types.FunctionType):
            self._search(call)
        attributes = attributes_of(value)
        if attributes is getattr(value, "__dict__", None):
            self._objects.append((attributes, len(attributes)))
        for name, held in list(attributes.items()):
            if held is None or _may_lead_on(held):
                self._references.append((functools.partial(getattr, value, name, None), held))
                self._search(held)


def attributes_of(value: Any) -> dict[str, Any]:
    """The attributes of an object, from its `__dict__` and its slots; empty if it has none."""
    slots = [
        name
        for cls in type(value).__mro__
        for name in _as_names(vars(cls).get("__slots__", ()))
        if name not in ("__dict__", "__weakref__")
    ]
    held: dict[str, Any] | None = getattr(value, "__dict__", None)
    if not slots:
        return {} if held is None else held
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**found, **(held or {})}


def is_of_python(kind: type) -> bool:
    """Whether a class comes with Python itself, so that its objects hold no modules of ours."""
    if kind is types.SimpleNamespace:
        return False
    return (kind.__module__ or "").partition(".")[0] in sys.stdlib_module_names


def is_of_arrays(kind: type) -> bool:
    """Whether a class belongs to the array libraries below."""
    return (kind.__module__ or "").partition(".")[0] in _LIBRARIES - {"ansatz"}


def _as_names(slots: str | Iterable[str]) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _has_attributes_of_users(value: Any) -> bool:
    kind = type(value)
    if isinstance(value, type | types.ModuleType) or is_of_python(kind) or is_of_arrays(kind):
        return False
    return hasattr(value, "__dict__") or hasattr(kind, "__slots__")


def _may_lead_on(value: Any) -> bool:
    """Whether a variable may lead to a module now or later, so that it has to be watched."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return False
    if isinstance(value, types.ModuleType):
        return not _is_of_library(value.__name__) and (
            value.__name__.partition(".")[0] not in sys.stdlib_module_names
        )
    if isinstance(value, type):
        return not (is_of_python(value) or _is_of_library(value.__module__))
    if is_holder(value) or isinstance(value, list | tuple | dict | types.FunctionType):
        return True
    if isinstance(value, functools.partial | types.MethodType) or hasattr(value, "__wrapped__"):
        return True
    return not is_array(value) and _has_attributes_of_users(value)


def _items(container: _Container) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _is_of_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _LIBRARIES


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # Not assigned yet: a function that refers to itself.
        return _MISSING


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)
