"""Deferred shapes: how the first call of a network finds them.

The first call runs the network once *abstractly* (`jax.eval_shape`): each layer's `infer_shape`
sees the shapes of its inputs and says those of its parameters, which are kept in a frame. Only if
the whole run succeeds are they committed, so a call that fails settles nothing. Nothing is
computed and no state is touched. Where the network looks at values (Python control flow), an
abstract run cannot go on, and a run on the actual arrays takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core import declared, frame, watch
from ansatz.core.cell import Cell
from ansatz.core.declared import Declared, TentativeFrame
from ansatz.core.errors import TraceError
from ansatz.core.node import Node

_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,  # also the base of TracerBoolConversionError
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
    TraceError,  # A plain attribute was given an array, which is right in an eager call.
)


class Restart(BaseException):
    """Raised in a trace that `ansatz.jit` controls when shapes were settled in the middle of it.

    A `BaseException`, so that `except Exception` in user code cannot swallow it.
    """


class RestartableFrame(frame.Frame):
    """A frame whose trace is begun anew when shapes were settled in it."""

    __slots__ = ()


class AbstractRun(TentativeFrame):
    """Shapes found so far in a run that computes nothing."""

    __slots__ = ()

    def read_around(self, cell: Cell) -> Any:
        """Zeros in place of what is not drawn yet: only their shape matters here."""
        if not isinstance(cell, Declared) or cell.has_value or self._stands_around(cell):
            return super().read_around(cell)
        value = jnp.zeros(cell._known_shape("it has no value"), cell.dtype)
        self.values[cell] = value
        return value

    def _stands_around(self, cell: Cell) -> bool:
        around = self.parent
        while around is not None:
            if cell in around.values:
                return True
            around = around.parent
        return False


class ConcreteRun(TentativeFrame):
    """Shapes and values found so far in a run on the actual arrays."""

    __slots__ = ("drawn",)

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[Declared, Any] = {}

    def read_around(self, cell: Cell) -> Any:
        """The value that the cell will have, drawn for this run and kept for later."""
        if not isinstance(cell, Declared) or cell.has_value:
            return super().read_around(cell)
        if cell not in self.drawn:
            self.drawn[cell] = declared.draw_values([(cell, cell.planned)])[0]
        return self.drawn[cell]


def settle(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    draw: Collection[Declared] = (),
    watched: bool = False,
) -> None:
    """Find and commit the shapes of all parameters that `function(*args, **kwargs)` reaches.

    Args:
        function: what to run, usually a module.
        args: its arguments; arrays may be `jax.ShapeDtypeStruct`.
        kwargs: its keyword arguments.
        draw: cells to draw as well, as far as their shapes are then known.
        watched: whether this run is the one that a `Watch` is for; otherwise it sees only the call
            that follows.

    Raises:
        Exception: whatever the run or an initialiser raises; nothing was changed.
    """
    with declared.drawing:
        drawn: dict[Declared, Any] = {}
        marked = watch.mark()
        try:
            found = _run_abstractly(function, args, kwargs)
        except _NEEDS_VALUES:
            if not _is_concrete((args, kwargs)):
                raise
            watch.rewind(marked)
            found, drawn = _run_concretely(function, args, kwargs)
        if not watched:
            watch.rewind(marked)
        before = {cell: cell._shape for cell in found}
        for cell, shape in found.items():
            cell._shape = shape
        waiting = [(c, c.planned) for c in draw if not c.is_deferred and c not in drawn]
        try:
            values = declared.draw_values(waiting)
        except BaseException:
            for cell, unknown in before.items():
                cell._shape = unknown
            raise
        drawn.update((cell, value) for (cell, _), value in zip(waiting, values, strict=True))
        for declared_cell, value in drawn.items():
            origin = declared.origin_of(declared_cell.planned)
            declared_cell.settle(value, origin, fresh=True)
    if found and any(isinstance(open_frame, RestartableFrame) for open_frame in frame.enclosing()):
        raise Restart


def _run_abstractly(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[Declared, tuple[int, ...]]:
    leaves, treedef = flatten((tuple(args), dict(kwargs)))
    abstract = {
        str(index): jax.ShapeDtypeStruct(leaf.shape, _jax_dtype(leaf))
        for index, leaf in enumerate(leaves)
        if is_array(leaf)
    }
    shapes: dict[Declared, tuple[int, ...]] = {}

    def run(arrays: dict[str, Any]) -> None:
        filled = [arrays.get(str(index), leaf) for index, leaf in enumerate(leaves)]
        run_args, run_kwargs = jax.tree.unflatten(treedef, filled)
        with AbstractRun() as open_frame:
            function(*run_args, **run_kwargs)
        shapes.update(open_frame.shapes)

    jax.eval_shape(run, abstract)
    return shapes


def _jax_dtype(leaf: Any) -> Any:
    """The dtype that JAX gives an array: float64 of NumPy becomes float32 in 32-bit mode."""
    if isinstance(leaf, np.ndarray | np.generic):
        return jax.dtypes.canonicalize_dtype(leaf.dtype)
    return leaf.dtype


def _run_concretely(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[Declared, tuple[int, ...]], dict[Declared, Any]]:
    with ConcreteRun() as open_frame:
        function(*args, **kwargs)
    return open_frame.shapes, open_frame.drawn


def waiting_cells(cells: Iterable[Declared]) -> list[Declared]:
    """Those of `cells` that have no value, neither of their own nor in an open frame."""
    frames = list(frame.enclosing())
    return [
        cell
        for cell in cells
        if not cell.has_value and not any(cell in open_frame.values for open_frame in frames)
    ]


def is_under_way() -> bool:
    """True inside a run that looks for shapes."""
    return any(isinstance(open_frame, TentativeFrame) for open_frame in frame.enclosing())


def settle_by_example(module: Any, example: Any) -> None:
    """Settle shapes by one input, or by a tuple of inputs.

    Raises:
        Exception: whatever the run raises; if a shape was given for an input, it says so.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    try:
        module.settle_shapes(*inputs)
    except Exception as error:
        sizes = example if isinstance(example, tuple | list) else (example,)
        if sizes and all(isinstance(size, int) for size in sizes):
            error.add_note(
                f"example={example!r} is taken for inputs, not for the shape of one; that is "
                f"example=jax.ShapeDtypeStruct({tuple(sizes)}, 'float32')"
            )
        raise


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """`jax.tree.flatten`, with modules and cells as leaves."""
    leaves, treedef = jax.tree.flatten(tree, is_leaf=is_holder)
    return leaves, treedef


def is_holder(leaf: Any) -> bool:
    """True for what holds values by itself: a module or a cell."""
    return isinstance(leaf, Node | Cell)


def is_array(leaf: Any) -> bool:
    """True for arrays, tracers and `jax.ShapeDtypeStruct`; Python numbers stay as they are."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _is_concrete(tree: Any) -> bool:
    leaves, _ = flatten(tree)
    abstract = (jax.core.Tracer, jax.ShapeDtypeStruct)
    return not any(isinstance(leaf, abstract) for leaf in leaves)
