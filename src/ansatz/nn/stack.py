"""Stacks: many alike layers, compiled once.

A `Sequential` of 48 blocks is traced and compiled block by block. A `Stack` is a `Sequential` whose
layers are alike; inside a compiled function it puts the values of their parameters on a leading
axis and runs them by one `lax.scan`, so that one block is compiled however many there are.

Each layer stays an ordinary layer with parameters of its own, so paths, rules, files, ties,
freezing and editing are those of a `Sequential`.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ansatz.core import clock, deferral, frame, transform, watch
from ansatz.core.cell import Cell
from ansatz.core.declared import Declared
from ansatz.core.errors import DTypeError, ShapeError, StructureError, format_shape
from ansatz.core.frame import Frame
from ansatz.core.module import Module
from ansatz.core.shapes import merge_shapes
from ansatz.core.structure import Fingerprint
from ansatz.nn.containers import Sequential
from ansatz.nn.sizes import checked_size


class Stack(Sequential):
    """Runs alike layers one after the other; in a compiled function, by one `lax.scan`.

    To everything but the compiler it is a `Sequential`: layers are numbered, have initial values of
    their own (those that a `Sequential` would give them), and can be read, edited, tied, frozen,
    saved and loaded one by one, also from and to the files of a `Sequential`. Each layer draws its
    own dropout masks and keeps its own states.

    What a layer returns has the shape and dtype of what it takes. All layers have the same
    structure: classes, options, shapes and dtypes. What is trainable may differ.

    Eager calls run the layers one by one.

    Args:
        make_layer: makes one layer; called `n` times.
        n: how many layers there are.
        remat: whether a layer's results are computed again in the backward pass, which keeps only
            the inputs of the layers in memory.
        unroll: as of `jax.lax.scan`. False, or 1: one layer is compiled, and scanned. A larger
            number: so many layers are compiled as one step of the scan. True: all of them are, one
            after the other, with no scan; a `Sequential` that takes further arguments. That takes
            longer to compile and less time to run. It may be changed at any time.

    Raises:
        TypeError: `make_layer` gives no module, or `unroll` is no whole number.
        ValueError: `unroll` is negative.
        StructureError: when called, if two layers that are to be scanned differ; the message says
            where.
        ShapeError: when called, if a layer does not keep the shape of its input.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> net = nn.Stack(lambda: nn.Dense(4, activation="tanh"), 12)
        >>> az.jit(net)(jnp.ones((2, 4))).shape
        (2, 4)
        >>> list(net.collect_params("11.*"))
        ['11.weight', '11.bias']
    """

    __slots__ = ("_checked_at",)

    def __init__(
        self,
        make_layer: Callable[[], Module],
        n: int,
        *,
        remat: bool = False,
        unroll: int | bool = False,
    ) -> None:
        super().__init__()
        if isinstance(make_layer, Module) or not callable(make_layer):
            raise TypeError(
                f"make_layer of Stack makes one layer each time it is called, got {make_layer!r}; "
                "write nn.Stack(lambda: nn.Dense(8), 12)"
            )
        self.remat = remat
        self.unroll = unroll if isinstance(unroll, bool) else checked_size("unroll", unroll)
        self.extend(make_layer() for _ in range(checked_size("n", n)))

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """What the last layer makes of what the layers before it made of `x`.

        Args:
            x: an array, or a pytree of arrays, which goes from layer to layer.
            *args: further arguments of the layers, the same for each.
            **kwargs: likewise.
        """
        layers = self._layers()
        if self.unroll is not True and layers:
            self._check_alike(layers)
        if self.unroll is True or not layers or not frame.is_staging():
            for layer in layers:
                x = self._applied(layer, x, args, kwargs)
            return x
        slots = [Fingerprint([layer]).cells for layer in layers]
        marked = watch.mark()
        if deferral.is_under_way():
            x = self._applied(layers[0], x, args, kwargs)
            _spread_shapes(slots)
        else:
            x = self._scanned(layers[0], slots, x, args, kwargs)
        if watch.current() is not None:  # The first layer was called for all of them.
            watch.spread(marked, zip(*(layer.modules() for layer in layers), strict=True))
        return x

    def _applied(self, layer: Module, x: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        run = transform.remat(layer) if self.remat and frame.is_staging() else layer
        y = run(x, *args, **kwargs)
        _check_kept(x, y)
        return y

    def _scanned(
        self, layer: Module, slots: list[list[Cell]], x: Any, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Run the first layer once for each, with the values of that one in the place of its own.

        Args:
            layer: the first layer.
            slots: for each layer its cells, in the same order.
            x: what goes from layer to layer.
            args: further arguments of the layers.
            kwargs: likewise.
        """
        # A cell that stands in every layer is one value, not many, and is closed over.
        stacked = [cells for cells in zip(*slots, strict=True) if len(set(cells)) > 1]
        written: list[Cell] = []

        def step(x: Any, values: list[Any]) -> tuple[Any, list[Any]]:
            own = dict(zip((cells[0] for cells in stacked), values, strict=True))
            with Frame(own) as inner:
                y = self._applied(layer, x, args, kwargs)
                new = inner.written()
            frame.commit({cell: value for cell, value in new.items() if cell not in own})
            written[:] = [cell for cell in new if cell in own]
            return y, [new[cell] for cell in written]

        xs = [jnp.stack([cell.value for cell in cells]) for cells in stacked]
        x, states = transform.scan(step, x, xs, len(slots), unroll=max(int(self.unroll), 1))
        every = {cells[0]: cells for cells in stacked}
        for cell, values in zip(written, states, strict=True):
            cells = every[cell]
            if len(set(cells)) < len(cells):
                raise StructureError(
                    f"{cell.describe()} is written by some layers of the Stack and shared between "
                    "them, while others have one of their own; share it among all or none"
                )
            frame.commit({own: values[i] for i, own in enumerate(cells)})
        return x

    def _check_alike(self, layers: list[Module]) -> None:
        """Raise if two layers differ in structure; looked at once after each change of it."""
        if getattr(self, "_checked_at", None) == clock.structure:
            return
        prints = [_Alikeness([layer]) for layer in layers]
        for number, (layer, found) in enumerate(zip(layers, prints, strict=True)):
            if found.key != prints[0].key:
                raise StructureError(
                    f"the layers of a Stack are alike, but layer {number} differs from layer 0"
                    f"{_difference(layers[0], layer)}"
                )
            for first, cell in zip(prints[0].cells, found.cells, strict=True):
                _check_same_kind(first, cell)
        object.__setattr__(self, "_checked_at", clock.structure)


class _Alikeness(Fingerprint):
    """What has to be the same in all layers: everything but what is trainable, or known so far."""

    def _encode_cell(self, cell: Cell) -> Hashable:
        super()._encode_cell(cell)
        return (type(cell), self._numbers[id(cell.base)])

    def _encode(self, value: Any) -> Hashable:
        if not isinstance(value, types.FunctionType) or id(value) in self._numbers:
            return super()._encode(value)
        # Each layer that `lambda: nn.Lambda(lambda x: …)` makes has a function object of its own.
        self._numbers[id(value)] = len(self._numbers)
        state = (value.__defaults__, value.__kwdefaults__, _closed_over(value))
        return (value.__code__, *map(self._encode, state))


def _closed_over(function: types.FunctionType) -> tuple[Any, ...]:
    contents = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # A name that is not bound yet.
            contents.append(cell.cell_contents)
    return tuple(contents)


class _Difference(NamedTuple):
    """A module that stands at the same path in two layers, and differs."""

    path: str
    first: Module
    other: Module


def _difference(first: Module, other: Module) -> str:
    """Where two layers differ, in words: the innermost module that does, if it can be told."""
    modules = dict(other.named_modules())
    found: _Difference | None = None
    for path, module in first.named_modules():
        twin = modules.get(path)
        if twin is not None and _Alikeness([module]).key != _Alikeness([twin]).key:
            found = _Difference(path, module, twin)
    advice = "; make them alike, or use nn.Sequential"
    if found is None:
        return advice
    place = f" in '{found.path}'" if found.path else ""
    if _differs("_forward_hooks", found):
        return (
            f"{place}: one has a forward hook that the other has not. What is scanned is one layer "
            "for all, so set stack.unroll = True while there are such hooks, or register the hook "
            "on the Stack, or the same one on every layer"
        )
    texts = found.first._own_line(), found.other._own_line()
    if texts[0] == texts[1]:
        names = dict.fromkeys([*vars(found.first), *vars(found.other)])
        texts = tuple(  # type: ignore[assignment]
            ", ".join(
                f"{name}={vars(module).get(name)!r}" for name in names if _differs(name, found)
            )
            for module in found[1:]
        )
    return f"{place}: {texts[0]} there, {texts[1]} here{advice}"


def _differs(name: str, found: _Difference) -> bool:
    mine, theirs = vars(found.first).get(name), vars(found.other).get(name)
    if isinstance(mine, Module | Cell) and type(mine) is type(theirs):
        return False
    return bool(repr(mine) != repr(theirs))


def _check_same_kind(first: Cell, cell: Cell) -> None:
    """Refuse parameters that cannot stand on one axis.

    Raises:
        ShapeError: their shapes differ.
        DTypeError: their dtypes differ.
    """
    if not isinstance(first, Declared) or not isinstance(cell, Declared):
        return
    if merge_shapes(first.shape, cell.shape) is None:
        raise ShapeError(
            f"the layers of a Stack are alike, but {cell.describe()} has shape "
            f"{format_shape(cell.shape)} and {first.describe()} {format_shape(first.shape)}"
        )
    if first.dtype != cell.dtype:
        raise DTypeError(
            f"the layers of a Stack are alike, but {cell.describe()} has dtype {cell.dtype} and "
            f"{first.describe()} {first.dtype}; cast them all: stack.collect_params().cast(…)"
        )


def _spread_shapes(slots: list[list[Cell]]) -> None:
    """Let every layer have the shapes that the first one found."""
    for cells in slots[1:]:
        for first, cell in zip(slots[0], cells, strict=True):
            if isinstance(first, Declared) and isinstance(cell, Declared):
                cell.shape = first.shape


def _check_kept(x: Any, y: Any) -> None:
    """Refuse a layer whose output the next one could not take.

    Raises:
        ShapeError: the shape, or the structure, differs.
        DTypeError: the dtype differs.
    """
    before: Any = jax.tree.structure(x)
    after: Any = jax.tree.structure(y)
    if before != after:
        raise ShapeError(
            f"a layer of a Stack returns what it takes, but this one took {before} and gave {after}"
        )
    for taken, given in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        if jnp.shape(taken) != jnp.shape(given):
            raise ShapeError(
                "a layer of a Stack keeps the shape of its input, but this one turned "
                f"{format_shape(jnp.shape(taken))} into {format_shape(jnp.shape(given))}; put "
                "what changes the shape before the Stack"
            )
        if jnp.result_type(taken) != jnp.result_type(given):
            raise DTypeError(
                f"a layer of a Stack keeps the dtype of its input, but this one turned "
                f"{jnp.result_type(taken)} into {jnp.result_type(given)}; cast the input before "
                "the Stack, or the parameters: stack.collect_params().cast(…)"
            )
