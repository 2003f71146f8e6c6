"""JAX transforms made safe for cells: `remat`, `scan`, `vmap`; gradients are in `gradient.py`.

Each runs the function in a frame *inside* the JAX transform. Cells that are read but not given to
the transform are closed over, which JAX allows; cells that are written come out as further results
and are then written around. `ansatz.jit`, which has to name its inputs beforehand, is in
`compile.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ansatz.core import deferral, frame, watch
from ansatz.core.cell import Cell
from ansatz.core.errors import TraceError
from ansatz.core.frame import Frame
from ansatz.core.streams import MappedFrame


def remat(
    function: Callable[..., Any], *, policy: Callable[..., bool] | None = None
) -> Callable[..., Any]:
    """Make a function whose intermediate results are computed again in the backward pass.

    Args:
        function: a function or module; it may read and write cells.
        policy: which results to keep, from `jax.checkpoint_policies`.
    """

    def rematerialised(*args: Any, **kwargs: Any) -> Any:
        leaves, treedef = deferral.flatten((args, kwargs))
        moving = [index for index, leaf in enumerate(leaves) if deferral.is_array(leaf)]
        written: list[Cell] = []
        stale = frame.keeps_constants()

        def pure(arrays: list[Any]) -> tuple[Any, list[Any]]:
            filled = list(leaves)
            for index, array in zip(moving, arrays, strict=True):
                filled[index] = array
            with Frame(stale=stale) as inner:
                run_args, run_kwargs = jax.tree.unflatten(treedef, filled)
                output = function(*run_args, **run_kwargs)
                written[:] = inner.writes
                return output, list(inner.written().values())

        output, values = jax.checkpoint(pure, policy=policy)([leaves[index] for index in moving])
        frame.commit(dict(zip(written, values, strict=True)))
        return output

    return (
        functools.update_wrapper(rematerialised, function)
        if hasattr(function, "__name__")
        else rematerialised
    )


def scan(
    function: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """`jax.lax.scan` over a function that may read and write cells.

    A written cell is carried from step to step. To find out which are, the function is traced once
    more if it writes any.

    Args:
        function: `function(carry, x)` returns `(carry, y)`.
        init: the first carry.
        xs: what is scanned over, with the steps on the leading axis of each array.
        length: the number of steps, if `xs` holds no array.
        reverse: whether to go from the last step to the first.
        unroll: how many steps to unroll.

    Returns:
        The last carry, and the stacked `y`.
    """
    carried: list[Cell] = []
    stale = frame.keeps_constants()
    marked = watch.mark()

    def step(state: tuple[Any, list[Any]], x: Any) -> tuple[tuple[Any, list[Any]], Any]:
        carry, values = state
        watch.rewind(marked)  # JAX may trace a step more than once.
        with Frame(dict(zip(carried, values, strict=True)), stale=stale) as inner:
            carry, y = function(carry, x)
            missing = [cell for cell in inner.writes if cell not in carried]
            if missing:
                carried.extend(missing)
                raise _CarryMore
            return (carry, [inner.read(cell) for cell in carried]), y

    while True:
        state = (init, [cell.value for cell in carried])
        try:
            (carry, values), ys = jax.lax.scan(
                step, state, xs, length, reverse=reverse, unroll=unroll
            )
        except _CarryMore:
            continue
        frame.commit(dict(zip(carried, values, strict=True)))
        return carry, ys


class _CarryMore(BaseException):
    """Raised in the trace of a scan whose body writes cells that are not carried yet.

    A `BaseException`, so that `except Exception` in user code cannot swallow it.
    """


def vmap(
    function: Callable[..., Any],
    in_axes: int | Sequence[Any] | None = 0,
    out_axes: Any = 0,
    *,
    axis_name: Any = None,
    axis_size: int | None = None,
) -> Callable[..., Any]:
    """`jax.vmap` of a function that may read and write cells.

    Cells are not mapped: every instance reads the same values, and what is written must be the
    same for all of them (a counter, a random stream, but not the batch statistics of each). Each
    instance draws from random streams with keys of its own.

    Args:
        function: what to map; modules among its arguments, also in containers, are not mapped,
            whatever `in_axes` says.
        in_axes: which axis of each positional argument to map, as in `jax.vmap`.
        out_axes: where the mapped axis goes in the results.
        axis_name: a name for the axis, for collectives.
        axis_size: its size, if no argument is mapped.

    Raises:
        TraceError: a cell was written with values that differ between instances.
    """

    def mapped(*args: Any, **kwargs: Any) -> Any:
        name = axis_name if axis_name is not None else object()
        leaves, treedef = deferral.flatten((args, kwargs))
        axes = [*_axes_of_leaves(args, in_axes), *[0] * (len(leaves) - _count_leaves(args))]
        moving = [index for index, leaf in enumerate(leaves) if not deferral.is_holder(leaf)]
        written: list[Cell] = []
        stale = frame.keeps_constants()

        def pure(arrays: list[Any]) -> tuple[Any, list[Any]]:
            filled = list(leaves)
            for index, array in zip(moving, arrays, strict=True):
                filled[index] = array
            run_args, run_kwargs = jax.tree.unflatten(treedef, filled)
            with MappedFrame(name, stale=stale) as inner:
                output = function(*run_args, **run_kwargs)
                written[:] = inner.writes
                return output, list(inner.written().values())

        run = jax.vmap(
            pure,
            ([axes[index] for index in moving],),
            (out_axes, None),
            axis_name=name,
            axis_size=axis_size,
        )
        try:
            output, values = run([leaves[index] for index in moving])
        except ValueError as error:
            if written and "out_axes" in str(error):
                names = ", ".join(cell.describe() for cell in written)
                raise TraceError(
                    f"of what was written inside az.vmap ({names}), some values differ between "
                    "the mapped instances, and a cell can hold only one. Return such values from "
                    "the function, or call net.eval() if these are running statistics."
                ) from error
            raise
        frame.commit(dict(zip(written, values, strict=True)))
        return output

    return mapped


def _count_leaves(tree: Any) -> int:
    return len(deferral.flatten(tree)[0])


def _axes_of_leaves(args: tuple[Any, ...], in_axes: int | Sequence[Any] | None) -> list[Any]:
    """The mapped axis of each leaf of the positional arguments, modules counting as leaves."""
    each = list(in_axes) if isinstance(in_axes, Sequence) else [in_axes] * len(args)
    if len(each) != len(args):
        raise ValueError(
            f"in_axes of az.vmap gives axes for {len(each)} positional arguments, but the call has "
            f"{len(args)}; keyword arguments are always mapped over their first axis"
        )
    axes: list[Any] = []
    for axis, arg in zip(each, args, strict=True):
        leaves, treedef = deferral.flatten(arg)
        blank = jax.tree.unflatten(treedef, [0] * len(leaves))
        spread = jax.tree.broadcast(axis, blank, is_leaf=_is_none)
        axes.extend(jax.tree.leaves(spread, is_leaf=_is_none))
    return axes


def _is_none(leaf: Any) -> bool:
    return leaf is None
