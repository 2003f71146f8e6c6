"""Paths and selectors: where cells stand, and how some of them are picked.

A *path* says where a cell stands, seen from a module: `"encoder.layers.3.weight"`. A cell reached
on several ways has one *canonical* path, the first in definition order, and *aliases*.

A *selector* picks parameters: a glob over paths (`"*.bias"`; `*` also matches dots, and
`"*.bias"` also matches a top-level `"bias"`), a compiled regular expression (searched anywhere in
the path, or anchored by the user), a module type (the parameters such modules own), or a predicate
`f(path, parameter)`. A parameter is selected if any of its names is.
"""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansatz.core.cell import Cell
from ansatz.core.errors import PathError, UnmatchedRuleWarning, did_you_mean
from ansatz.core.node import Node, StandIn, cells_of, declared_in, stood_for, walk

Selector = str | re.Pattern[str] | type | Callable[[str, Any], bool]


class Names(NamedTuple):
    """All that is known of where a cell stands.

    Attributes:
        path: the canonical path.
        aliases: the other paths, in definition order.
        transposed: those of the names under which the transposed value is seen.
        owners: for each name, the node that holds the cell as an attribute.
        layers: likewise, but where a parameter is computed, the layer that it belongs to.
    """

    path: str
    aliases: tuple[str, ...]
    transposed: frozenset[str]
    owners: tuple[Node, ...]
    layers: tuple[Node, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """The canonical path and the aliases."""
        return (self.path, *self.aliases)


def names_of(root: Node) -> dict[Cell, Names]:
    """Every distinct cell below `root` with all its names, in definition order."""
    paths: dict[Cell, list[str]] = {}
    transposed: dict[Cell, set[str]] = {}
    owners: dict[Cell, list[Node]] = {}
    layers: dict[Cell, list[Node]] = {}
    nodes: dict[str, Node] = {"": root}
    for path, entry in walk(root):
        if isinstance(entry, Node):
            nodes[path] = entry
            continue
        base = entry.base
        paths.setdefault(base, []).append(path)
        if base is not entry:
            transposed.setdefault(base, set()).add(path)
        owner = layer = owner_of(path, nodes)
        while isinstance(nodes[layer], StandIn):
            layer = owner_of(layer.rpartition(".")[0], nodes)
        owners.setdefault(base, []).append(nodes[owner])
        layers.setdefault(base, []).append(nodes[layer])
    return {
        cell: Names(
            names[0],
            tuple(names[1:]),
            frozenset(transposed.get(cell, ())),
            tuple(owners[cell]),
            tuple(layers[cell]),
        )
        for cell, names in ((cell, paths[cell]) for cell in cells_of(root))
    }


def owner_of(path: str, nodes: Mapping[str, Node]) -> str:
    """The path of the innermost of `nodes` that `path` leads through, or to."""
    while path not in nodes:
        path = path.rpartition(".")[0]
    return path


def matches(selector: Selector, names: Names, cell: Cell | Node) -> list[str]:
    """The names under which `selector` picks the cell."""
    if isinstance(selector, str):
        return [name for name in names.all if name_matches(selector, name)]
    if isinstance(selector, re.Pattern):
        return [name for name in names.all if selector.search(name)]
    if isinstance(selector, type):
        named = zip(names.all, names.layers, strict=True)
        return [name for name, layer in named if isinstance(layer, selector)]
    if callable(selector):
        return [name for name in names.all if selector(name, cell)]
    raise TypeError(
        "a selector is a glob such as '*.bias', a compiled regular expression, a module type or "
        f"a predicate f(path, parameter); got {selector!r}"
    )


def name_matches(glob: str, name: str) -> bool:
    """Whether a glob picks a name; `"*.bias"` also picks a top-level `"bias"`."""
    return name == glob or fnmatch.fnmatchcase(name, glob) or fnmatch.fnmatchcase(f".{name}", glob)


_LISTED = 12
"""How many parameters a warning lists."""


def warn_unmatched(
    selector: Selector, known: Mapping[str, Any], remark: str = "", *, stacklevel: int = 4
) -> None:
    """Warn that a selector picked nothing."""
    text = getattr(selector, "pattern", selector)
    hint = ""
    if isinstance(selector, str):
        if _is_regex(selector) and _regex_would_match(selector, known):
            hint = "; strings are globs, pass re.compile(…) for a regular expression"
        elif any(path.startswith(f"{selector}.") for path in known):
            hint = f"; all below is '{selector}.*'"
        else:
            hint = did_you_mean(selector, known)
    listed = ", ".join([*known][:_LISTED]) or "none"
    if len(known) > _LISTED:
        listed += f" and {len(known) - _LISTED} more (net.collect_params() lists them)"
    warnings.warn(
        f"the selector {text!r} matched no parameter{hint}{remark}; the parameters are: {listed}",
        UnmatchedRuleWarning,
        stacklevel=stacklevel,
    )


def _is_regex(pattern: str) -> bool:
    return any(sign in pattern for sign in (".*", ".+", "|", "^", "$", "\\"))


def _regex_would_match(pattern: str, known: Mapping[str, Any]) -> bool:
    try:
        return any(re.search(pattern, path) for path in known)
    except re.error:
        return False


def find(root: Node, path: str) -> Cell | Node:
    """What stands at `path` below `root`; where a parameter is computed, what computes it.

    Raises:
        PathError: nothing does; the message suggests near names.
    """
    known = []
    for name, entry in walk(root):
        if name == path or (isinstance(entry, StandIn) and stood_for(name) == path):
            return entry
        known.append(name)
    raise PathError(
        f"{type(root).__name__} has nothing at '{path}'{did_you_mean(path, known)}"
        + ("" if known else " (it holds no parameters and no layers)")
    )


def replace(root: Node, path: str, new: Cell | Node) -> None:
    """Put `new` at `path`, in the attribute, list or dict where something stands now.

    Raises:
        TypeError: it stands in a tuple, which cannot be changed.
    """
    owner, name = root, path
    for at, entry in walk(root):
        if isinstance(entry, Node) and path.startswith(f"{at}."):
            owner, name = entry, path[len(at) + 1 :]
    put(owner, name, new)


def put(owner: Node, name: str, new: Cell | Node) -> None:
    """Put `new` in the place of what `owner` calls `name`, which may lead into a container.

    Raises:
        TypeError: it stands in a tuple, which cannot be changed.
    """
    attribute, *keys = name.split(".")
    if not keys:
        setattr(owner, attribute, None)
        setattr(owner, attribute, new)
        return
    container = vars(owner)[attribute]
    for key in keys[:-1]:
        container = container[_key_in(container, key)]
    if isinstance(container, tuple):
        raise TypeError(f"'{name}' stands in a tuple, which cannot be changed; hold it in a list")
    container[_key_in(container, keys[-1])] = new


def _key_in(container: Any, key: str) -> Any:
    if isinstance(container, list | tuple):
        return int(key)
    return next(held for held in container if str(held) == key)


def unreached(root: Node) -> list[str]:
    """The canonical paths of parameters and states whose shape is still unknown."""
    return [path for cell, path in declared_in(root).items() if cell.is_deferred]
