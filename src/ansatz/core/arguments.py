"""The arguments of a compiled call, split into modules, static values and arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from ansatz.core import deferral
from ansatz.core.cell import Cell
from ansatz.core.errors import format_function, format_value
from ansatz.core.node import Node

_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Arguments:
    """The arguments of one call, split into modules, static values and arrays."""

    def __init__(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        static_positions: frozenset[int],
        static_names: frozenset[str],
    ) -> None:
        self.n_args = len(args)
        self.static = tuple((i, args[i]) for i in range(len(args)) if i in static_positions)
        self.static_kwargs = tuple(item for item in kwargs.items() if item[0] in static_names)
        free = [i for i in range(len(args)) if i not in static_positions]
        self.holders = tuple((i, args[i]) for i in free if deferral.is_holder(args[i]))
        held = {i for i, _ in self.holders}
        self.moving = tuple(i for i in free if i not in held)
        self.names = tuple(name for name in kwargs if name not in static_names)
        dynamic: Any = (
            tuple(args[i] for i in self.moving),
            {name: kwargs[name] for name in self.names},
        )
        leaves, treedef = deferral.flatten(dynamic)
        self.nested = tuple((i, leaf) for i, leaf in enumerate(leaves) if deferral.is_holder(leaf))
        self.treedef = treedef if self.nested else None
        if self.nested:
            dynamic = ([leaf for leaf in leaves if not deferral.is_holder(leaf)],)
        self.dynamic = dynamic
        fixed = (self.static, self.static_kwargs, self.holders, self.nested, self.names)
        self._all_move = not any(fixed)

    @property
    def modules(self) -> list[Node | Cell]:
        """The modules and cells among the arguments, also those in containers."""
        return [leaf for _, leaf in (*self.holders, *self.nested)]

    def check(self, function: Callable[..., Any]) -> None:
        """Refuse what can be neither traced nor compared.

        Raises:
            TypeError: an argument is a string, a function or the like and is not static.
        """
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.dynamic):
            if isinstance(leaf, bool | int | float | complex):
                continue
            numeric = (
                not isinstance(leaf, np.ndarray | np.generic) or leaf.dtype.kind not in "OSUMm"
            )
            if not (numeric and deferral.is_array(leaf)):
                name = _name_of(function, self, path)
                raise TypeError(f"{name} of {format_function(function)} is {_why_not(leaf)}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Arguments) or self.key != other.key:
            return False
        pairs = zip(self.modules, other.modules, strict=True)
        return all(mine is theirs for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def first_module(self) -> Node | None:
        """The module that plans for such a call are kept with."""
        return next((leaf for leaf in self.modules if isinstance(leaf, Node)), None)

    @property
    def key(self) -> Hashable:
        """What is the same for every call that fits one program."""
        places = tuple(i for i, _ in self.holders), tuple(i for i, _ in self.nested)
        statics = tuple((i, type(v), v) for i, v in (*self.static, *self.static_kwargs))
        return (self.n_args, self.names, places, self.treedef, statics)

    def match(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The arrays of another call if all else is the same, or `None`."""
        if len(args) != self.n_args or self.nested:
            return None
        if self._all_move and not kwargs:
            return args, kwargs
        for i, holder in self.holders:
            if args[i] is not holder:
                return None
        for i, value in self.static:
            if type(args[i]) is not type(value) or args[i] != value:
                return None
        if len(kwargs) != len(self.names) + len(self.static_kwargs):
            return None
        for name, value in self.static_kwargs:
            if name not in kwargs or type(kwargs[name]) is not type(value) or kwargs[name] != value:
                return None
        if any(name not in kwargs for name in self.names):
            return None
        named = {name: kwargs[name] for name in self.names}
        return tuple([args[i] for i in self.moving]), named

    def rebuild(self, dynamic: Any) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of the function, with `dynamic` (arrays or tracers) filled in."""
        if self.nested:
            nested = dict(self.nested)
            assert self.treedef is not None
            arrays = iter(dynamic[0])
            leaves = [
                nested[i] if i in nested else next(arrays) for i in range(self.treedef.num_leaves)
            ]
            dynamic = jax.tree.unflatten(self.treedef, leaves)
        positional, named = dynamic
        filled = dict(zip(self.moving, positional, strict=True))
        filled.update(self.holders)
        filled.update(self.static)
        return [filled[i] for i in range(self.n_args)], {**named, **dict(self.static_kwargs)}


def _name_of(function: Callable[..., Any], arguments: Arguments, path: Any) -> str:
    if arguments.nested:
        return "a part of an argument"
    called: Any = getattr(function, "forward", function)  # Of a module, which takes anything.
    names = [p.name for p in inspect.signature(called).parameters.values() if p.kind not in _OPEN]
    index = arguments.moving[path[1].idx] if path[0].idx == 0 else None
    if index is None:
        name = repr(path[1].key)
    else:
        name = repr(names[index]) if index < len(names) else str(index)
    return f"argument {name}{jax.tree_util.keystr(path[2:])}"


def _why_not(leaf: Any) -> str:
    """What an argument is that is no array, and what to pass instead."""
    if isinstance(leaf, np.ndarray | np.generic):
        return (
            f"a NumPy array of dtype {leaf.dtype}, and JAX computes with numbers only; give each "
            "text or object a number"
        )
    kind = type(leaf)
    if kind.__module__ == "torch":
        return "a torch.Tensor, not an array of JAX; pass jnp.asarray(x.numpy())"
    if hasattr(leaf, "__array__"):
        return (
            f"a {kind.__module__}.{kind.__name__}, not an array of JAX or NumPy; pass np.asarray(x)"
        )
    return (
        f"{format_value(leaf)}, which cannot be traced. Pass arrays of jax or numpy; what selects "
        "what is compiled is static: az.jit(f, static_argnames=('…',))"
    )
