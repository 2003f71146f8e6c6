"""JAX transforms made safe for cells: `grad`, `backward`, `remat`, `scan`, `vmap`.

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
import jax.numpy as jnp

from ansatz.core import clock, deferral, frame, watch
from ansatz.core.cell import Cell
from ansatz.core.errors import DTypeError, TraceError
from ansatz.core.frame import Frame
from ansatz.core.node import Node, cells_of, declared_in, standing_in
from ansatz.core.parameter import Parameter
from ansatz.core.streams import MappedFrame


def value_and_grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Make a function that returns what `function` returns and its gradients.

    Args:
        function: returns a scalar, or with `has_aux` a pair (scalar, anything).
        argnums: the positions of the arguments to differentiate. A module stands for its trainable
            parameters; its gradient is a dict `{canonical path: array}` with one entry for each
            distinct parameter, so a tied one has the sum over all its uses. Parameters whose
            shape is still unknown after the call (no call reached them) are left out. An array,
            or a pytree of arrays and modules, has a gradient of the same structure.
        has_aux: whether `function` returns a pair.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> net = nn.Dense(1, weight_init="ones")
        >>> loss, grads = az.value_and_grad(lambda net, x: net(x).sum())(net, jnp.ones((2, 3)))
        >>> float(loss), sorted(grads), grads["bias"].tolist()
        (6.0, ['bias', 'weight'], [2.0])
    """
    single = isinstance(argnums, int)
    positions: tuple[int, ...] = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        chosen = [_positional(args, position) for position in positions]
        written: list[Cell] = []
        stale = frame.keeps_constants()
        if any(map(_waits_for_shapes, chosen)):
            # Before the first value is drawn, so that a call that fails leaves nothing behind.
            deferral.settle(function, args, kwargs)
        targets = _Targets(chosen)

        def pure(arrays: list[Any]) -> tuple[Any, tuple[Any, list[Any]]]:
            with Frame(targets.cell_values(arrays), stale=stale) as inner:
                filled = list(args)
                for position, arg in zip(positions, targets.arguments(arrays), strict=True):
                    filled[position] = arg
                result = function(*filled, **kwargs)
                loss, aux = result if has_aux else (result, None)
                written[:] = inner.writes
                return loss, (aux, list(inner.written().values()))

        marked = watch.mark()
        while True:
            watch.rewind(marked)
            run = jax.value_and_grad(pure, has_aux=True)
            (loss, (aux, values)), gradients = run(targets.values())
            found = _Targets(chosen)
            if found.count == targets.count:
                break
            targets = found  # Shapes were settled on the way: now these parameters count too.
        frame.commit(dict(zip(written, values, strict=True)))
        grads = targets.structured(gradients)
        return ((loss, aux) if has_aux else loss), (grads[0] if single else tuple(grads))

    return differentiated


def grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Make a function that returns the gradients of `function`; see `value_and_grad`.

    With `has_aux` it returns `(gradients, aux)`.
    """
    both = value_and_grad(function, argnums, has_aux=has_aux)

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return differentiated


def backward(
    function: Callable[..., Any], net: Node, *args: Any, has_aux: bool = False, **kwargs: Any
) -> Any:
    """Leave the gradient of `function(net, *args)` in `p.grad` of each trainable parameter.

    Args:
        function: returns a scalar loss, or with `has_aux` a pair (loss, anything).
        net: the module whose parameters get gradients: replaced where `grad_req` is `"write"`,
            added to where it is `"add"`.
        *args: further arguments of `function`.
        has_aux: whether `function` returns a pair.
        **kwargs: keyword arguments of `function`.

    Returns:
        What `function` returned.
    """
    value, grads = value_and_grad(function, has_aux=has_aux)(net, *args, **kwargs)
    for cell, path in cells_of(net).items():
        if path in grads and isinstance(cell, Parameter):
            slot = cell.grad_cell
            new = grads[path]
            frame.commit({slot: slot.value + new if cell.grad_req == "add" else new})
    return value


def _positional(args: tuple[Any, ...], position: int) -> Any:
    if not -len(args) <= position < len(args):
        raise TypeError(
            f"a gradient with respect to argument {position} is asked for, but the call has "
            f"{len(args)} positional arguments; pass that one by position, or change argnums"
        )
    return args[position]


def _waits_for_shapes(argument: Any) -> bool:
    """Whether a module in the argument has not had its first call in its present structure."""
    if deferral.is_under_way():
        return False
    leaves, _ = deferral.flatten(argument)
    return any(
        isinstance(leaf, Node)
        and leaf._settled_at != clock.structure
        and any(cell.is_deferred for cell in declared_in(leaf))
        for leaf in leaves
    )


class _Targets:
    """The arrays that a gradient is taken of, gathered from arguments that may hold modules."""

    def __init__(self, arguments: Sequence[Any]) -> None:
        self._leaves, self._treedef = deferral.flatten(list(arguments))
        seen: set[Cell] = set()
        self._cells: list[dict[str, Parameter] | None] = []
        for leaf in self._leaves:
            if not deferral.is_holder(leaf):
                self._cells.append(None)
                continue
            standing = standing_in(leaf) if isinstance(leaf, Node) else {"": leaf}
            fresh = {
                path: entry
                for path, entry in standing.items()
                if isinstance(entry, Parameter)
                and entry.trainable
                and not entry.is_deferred
                and entry.base not in seen
            }
            for parameter in fresh.values():
                _check_differentiable(parameter)
                seen.add(parameter.base)
            self._cells.append(fresh)

    @property
    def count(self) -> int:
        return sum(len(cells) for cells in self._cells if cells is not None)

    def values(self) -> list[Any]:
        return [
            leaf if cells is None else {path: cell.value for path, cell in cells.items()}
            for leaf, cells in zip(self._leaves, self._cells, strict=True)
        ]

    def cell_values(self, arrays: list[Any]) -> dict[Cell, Any]:
        return {
            cell.base: array[path] if cell.base is cell else array[path].T
            for array, cells in zip(arrays, self._cells, strict=True)
            for path, cell in (cells or {}).items()
        }

    def arguments(self, arrays: list[Any]) -> Any:
        filled = [
            array if cells is None else leaf
            for leaf, array, cells in zip(self._leaves, arrays, self._cells, strict=True)
        ]
        return jax.tree.unflatten(self._treedef, filled)

    def structured(self, gradients: list[Any]) -> Any:
        bare = []
        for leaf, gradient, cells in zip(self._leaves, gradients, self._cells, strict=True):
            if cells is not None:  # JAX sorts dicts by key; ours are in definition order.
                gradient = {path: gradient[path] for path in cells}
            bare.append(gradient[""] if isinstance(leaf, Cell) else gradient)
        return jax.tree.unflatten(self._treedef, bare)


def _check_differentiable(cell: Parameter) -> None:
    if not jnp.issubdtype(cell.dtype, jnp.inexact):
        raise DTypeError(
            f"{cell.describe()} has dtype {cell.dtype}, of which no gradient can be taken; declare "
            "it with trainable=False, or as an az.State"
        )


def without_gradient(
    function: Callable[..., Any], net: Node, *args: Any, **kwargs: Any
) -> list[str]:
    """The trainable parameters that the loss does not depend on, whatever their values.

    Such a parameter never trains: it is unused, or `forward` cuts its gradient.

    Args:
        function: `function(net, *args)` returns a scalar loss.
        net: the module to examine.
        *args: further arguments of `function`.
        **kwargs: keyword arguments of `function`.

    Returns:
        Canonical paths, in definition order.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> class Cut(nn.Module):
        ...     def __init__(self):
        ...         self.weight = az.Parameter((2,), init="ones")
        ...
        ...     def forward(self, x):
        ...         return x * jax.lax.stop_gradient(self.weight.value)
        >>> net = nn.Sequential(nn.Linear(2, 2), Cut())
        >>> az.without_gradient(lambda net, x: net(x).sum(), net, jnp.ones((1, 2)))
        ['1.weight']
    """
    if any(cell.is_deferred for cell in declared_in(net)):
        deferral.settle(function, (net, *args), kwargs)
    named = {
        path: cell
        for cell, path in cells_of(net).items()
        if isinstance(cell, Parameter) and cell.trainable
    }

    def loss(arrays: dict[str, Any]) -> Any:
        with Frame({named[path]: array for path, array in arrays.items()}):
            return function(net, *args, **kwargs)

    primals = {path: cell.value for path, cell in named.items() if not cell.is_deferred}
    # A parameter without influence does not occur in the linear part of the loss.
    _, linear = jax.linearize(loss, primals)
    used = _used_inputs(jax.make_jaxpr(linear)(primals).jaxpr)
    reached = jax.tree.unflatten(jax.tree.structure(primals), used)
    return [path for path in named if not reached.get(path, False)]


def _used_inputs(jaxpr: Any) -> list[bool]:
    """For each input of a jaxpr, whether an output depends on it."""
    live = {var for var in jaxpr.outvars if not hasattr(var, "val")}
    for eqn in reversed(jaxpr.eqns):
        if not live.intersection(eqn.outvars):
            continue
        inner = [
            getattr(value, "jaxpr", None)
            for value in eqn.params.values()
            if hasattr(getattr(value, "jaxpr", None), "eqns")
        ]
        flags = _used_inputs(inner[0]) if len(inner) == 1 else []
        if len(flags) != len(eqn.invars):
            flags = [True] * len(eqn.invars)
        live.update(
            var
            for var, used in zip(eqn.invars, flags, strict=True)
            if used and not hasattr(var, "val")
        )
    return [var in live for var in jaxpr.invars]


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
