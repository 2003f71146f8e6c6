"""Nodes: the structural half of a module, an object whose attributes are tracked.

A *node* holds cells and other nodes as attributes, also inside lists, tuples and dicts. Its
attributes live in `__dict__`; what the library itself remembers of a node lives in slots, so that
the two never mix.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from ansatz.core import clock, random, verbs
from ansatz.core.cell import Cell
from ansatz.core.containers import (
    Tracked,
    entries,
    is_parameter_place,
    refuse_tracers,
    track,
)
from ansatz.core.declared import Declared
from ansatz.core.errors import StructureError, TieError, format_shape, format_value
from ansatz.core.parameter import Parameter
from ansatz.core.shapes import Shape, merge_shapes
from ansatz.core.spelling import no_attribute

_MISSING = object()
_PLAIN = (bool, int, float, str, bytes, type(None))


class Node:
    """An object whose cells, nodes and static attributes are known to the library."""

    __slots__ = ("__dict__", "__weakref__", "_event_seed", "_home", "_plans", "_ref", "_settled_at")

    _reserved: ClassVar[frozenset[str]] = frozenset()  # Methods of every module: save, train, …

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Set up here and not in `__init__`, so that a subclass may forget `super().__init__()`."""
        make = super().__new__
        if make is object.__new__:
            return cls._blank()
        made: Self = make(cls, *args, **kwargs)  # By a class that stands after this one.
        _ = made._ref  # Starts it, unless that class has by setting an attribute.
        return made

    @classmethod
    def _blank(cls) -> Self:
        """An instance before its `__init__`; what a copy is filled into."""
        self = object.__new__(cls)
        self._start()
        return self

    def _start(self) -> None:
        put = object.__setattr__
        put(self, "_ref", weakref.ref(self))
        put(self, "_home", None)
        put(self, "_event_seed", None)
        put(self, "_settled_at", -1)
        put(self, "_plans", None)

    # -- attributes ---------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        held = self.__dict__
        current = held.get(name, _MISSING)
        if current is value and not isinstance(value, list | dict):
            return
        if name in _SLOTS or isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
            return
        if "." in name:
            raise StructureError(
                f"an attribute of {type(self).__name__} cannot be called {name!r}: a dot separates "
                "the parts of a path"
            )
        if name in self._reserved and (isinstance(value, Cell | Node) or not callable(value)):
            raise StructureError(
                f"an attribute of {type(self).__name__} cannot be called {name!r}: it would hide "
                f"the method net.{name}(); choose another name"
            )
        refuse_tracers(value, lambda: f"'{self._name_of(name)}'")
        held_place = is_parameter_place(current)
        if held_place and value is not None and not is_parameter_place(value):
            raise TypeError(
                f"{current.describe()} cannot be replaced by {format_value(value)}; assign to its "
                "value instead: "
                f"module.{name}.value = value (or module.{name}.data[:] = value)"
            )
        if isinstance(current, Parameter | StandIn) and isinstance(value, Parameter | StandIn):
            check_tie(current, value, self._name_of(name))
        held[name] = track(value, self._ref)
        if not (type(value) is type(current) and type(value) in _PLAIN and value == current):
            clock.structure_changed()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        clock.structure_changed()

    def __getattr__(self, name: str) -> Any:
        # Only called for what is missing, and when a property raised AttributeError itself.
        if name in _SLOTS:  # Another `__new__` is not through yet, or it was `object.__new__`.
            self._start()
            return object.__getattribute__(self, name)
        if isinstance(getattr(type(self), name, None), property):
            return object.__getattribute__(self, name)
        raise no_attribute(self, name, (*self.__dict__, *dir(type(self))))

    # -- names --------------------------------------------------------------------------------

    def _home_is_open(self) -> bool:
        home = self._home() if self._home is not None else None
        return home is None or not home._holds(self)

    def _holds(self, entry: Cell | Node) -> bool:
        """Whether `entry` still is, or is in, an attribute of this node."""
        return any(own is entry for _, own in own_entries(self))

    def _name_of(self, name: str) -> str:
        path = path_of(self)
        return f"{path}.{name}" if path else name

    def _path_from_root(self, cell: Cell) -> str:
        return path_within(root_of(self), cell)

    def _drawn_as(self, cell: Cell, path: str) -> str:
        return path

    def _root_event_seed(self) -> int:
        return root_of(self)._take_event_seed()

    def _take_event_seed(self) -> int:
        """The seed of the first initialisation of this node, taken when first asked for."""
        if self._event_seed is None:
            object.__setattr__(self, "_event_seed", random.seeds.next())
        seed: int = self._event_seed
        return seed

    # -- printing -----------------------------------------------------------------------------

    def __treescope_repr__(self, path: str | None, subtree_renderer: Any) -> Any:
        return verbs.call("treescope", self, path, subtree_renderer)

    # -- copying ------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by __new__, which a subclass may let need arguments.
        return type(self)._blank, (), self.__getstate__()

    def __getstate__(self) -> tuple[dict[str, Any], int | None]:
        # A copy of a network that has no values yet shall draw the same ones. A layer that is
        # copied to stand in a network takes part in the network's event instead.
        if self._home_is_open() and any(not cell.has_value for cell in declared_in(self)):
            self._take_event_seed()
        return dict(self.__dict__), self._event_seed

    def __setstate__(self, state: tuple[dict[str, Any], int | None]) -> None:
        attributes, seed = state
        object.__setattr__(self, "_event_seed", seed)
        for name, value in attributes.items():
            self.__dict__[name] = track(_reopened(value), self._ref)
        clock.structure_changed()


class StandIn(Node):
    """A node that stands where a parameter was declared, and computes the value from its own.

    What it holds has paths below `parametrizations.<name>`, as in PyTorch, so the state of a
    `Dense` whose weight is computed is `bias`, `parametrizations.weight.original`, ….
    """

    _path_prefix: ClassVar[str] = "parametrizations."

    @property
    def base(self) -> Self:
        """Itself: a tie is to the whole of it."""
        return self

    @property
    def shape(self) -> Shape:
        """The shape of the computed value, with `None` for each dimension that is not known."""
        raise NotImplementedError

    @shape.setter
    def shape(self, new: Any) -> None:
        raise NotImplementedError

    @property
    def dtype(self) -> Any:
        """The dtype of the computed value."""
        raise NotImplementedError

    def formula(self) -> str:
        """In words how the value is computed."""
        raise NotImplementedError

    def describe(self) -> str:
        """What it stands for in words, for messages."""
        path = stood_for(path_of(self))
        return f"parameter '{path}'" if path else "parameter (not part of a module)"


def stood_for(path: str) -> str:
    """The path of the parameter in whose place the stand-in at `path` is."""
    head, _, name = path.rpartition(StandIn._path_prefix)
    return head + name


_SLOTS = frozenset(Node.__slots__)

# The structure is read by functions, not methods, so that a user's module may have an attribute
# called `path`, `cells` or `root`.


def own_entries(node: Node) -> Iterator[tuple[str, Cell | Node]]:
    """The cells and nodes that are attributes of `node`, cells first, with their names."""
    nodes = []
    for name, value in node.__dict__.items():
        if isinstance(value, _PLAIN):
            continue
        for entry in entries(value, name):
            if isinstance(entry[1], Node):
                nodes.append(entry)
            else:
                yield entry
    yield from nodes


def walk(node: Node) -> Iterator[tuple[str, Cell | Node]]:
    """Everything below `node` with its path, on each way to it, cells before nodes.

    A node that is met again is listed and entered under its further path too, so that all aliases
    are seen; a node inside itself is not entered again.
    """
    return _walk(node, "", ())


def _walk(node: Node, prefix: str, around: tuple[Node, ...]) -> Iterator[tuple[str, Cell | Node]]:
    around = (*around, node)
    for name, entry in own_entries(node):
        path = prefix + name
        yield path, entry
        if isinstance(entry, Node) and not any(entry is outer for outer in around):
            yield from _walk(entry, f"{path}.", around)


def children_first(node: Node) -> Iterator[Node]:
    """This node and all below it, each distinct one once, and none before those that it holds."""
    return _children_first(node, set())


def _children_first(node: Node, seen: set[int]) -> Iterator[Node]:
    if id(node) in seen:
        return
    seen.add(id(node))
    for _, entry in own_entries(node):
        if isinstance(entry, Node):
            yield from _children_first(entry, seen)
    yield node


def cells_of(node: Node) -> dict[Cell, str]:
    """Each distinct cell below `node` with its canonical path, in definition order."""
    return {cell: path for cell, (path, _) in _collected(node).items()}


def standing_in(node: Node) -> dict[str, Cell]:
    """What stands at each canonical path below `node`: a cell, or a transposed view of one."""
    return dict(_collected(node).values())


def _collected(node: Node) -> dict[Cell, tuple[str, Cell]]:
    found: dict[Cell, tuple[str, Cell]] = {}
    _collect(node, "", found, set())
    paths = [path for path, _ in found.values()]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise StructureError(
            f"two different parameters or states of {type(node).__name__} have the path '{twice}' "
            "(a dict with the keys 1 and '1' does this); rename one of them"
        )
    return found


def _collect(node: Node, prefix: str, found: dict[Cell, tuple[str, Cell]], seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    for name, entry in own_entries(node):
        if isinstance(entry, Node):
            _collect(entry, f"{prefix}{name}.", found, seen)
        else:
            found.setdefault(entry.base, (prefix + name, entry))


def declared_in(node: Node) -> dict[Declared, str]:
    """Each distinct parameter and state below `node` with its canonical path."""
    return {cell: path for cell, path in cells_of(node).items() if isinstance(cell, Declared)}


def root_of(node: Node) -> Node:
    """The outermost node that holds `node`, as far as is known."""
    seen: list[Node] = []
    outer = node
    while not any(outer is passed for passed in seen):
        seen.append(outer)
        home = outer._home() if outer._home is not None else None
        if home is None:
            return outer
        outer = home
    return node


def path_of(node: Node) -> str:
    """Where `node` stands, seen from its root ('' for a root)."""
    root = root_of(node)
    return "" if root is node else path_within(root, node)


def path_within(root: Node, entry: Cell | Node) -> str:
    """The first path at which `entry` stands below `root` ('' if it does not)."""
    for path, found in walk(root):
        if found is entry or (isinstance(found, Cell) and found.base is entry):
            return path
    return ""


def _reopened(value: Any) -> Any:
    """A copied container, made ready to be tracked by its new owner."""
    if isinstance(value, Tracked):
        value._owner = None
    return value


def check_tie(kept: Parameter | StandIn, shared: Parameter | StandIn, name: str) -> None:
    """Check that `shared` may stand where `kept` was declared, and join what their shapes say.

    Raises:
        TieError: the shapes or dtypes differ.
    """
    if kept.base is shared.base:
        return
    shape = merge_shapes(kept.shape, shared.shape)
    if shape is None or kept.dtype != shared.dtype:
        raise TieError(
            f"{shared.describe()} cannot be tied to '{name}': it has shape "
            f"{format_shape(shared.shape)} and dtype {shared.dtype}, but '{name}' was declared "
            f"with shape {format_shape(kept.shape)} and dtype {kept.dtype}. For a tie of a weight "
            "to the transpose of another use az.tie(net, path, other_path, transpose=True)."
        )
    if None in shared.shape:
        shared.shape = shape
