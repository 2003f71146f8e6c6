"""Gradients with respect to parameters: `value_and_grad`, `grad`, `backward`.

The function runs in a frame *inside* `jax.value_and_grad`, which is given one array for each
distinct parameter. Cells that are read but not differentiated are closed over, which JAX allows;
cells that are written come out as further results and are then written around.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core import clock, deferral, frame, watch
from ansatz.core.cell import Cell
from ansatz.core.errors import DTypeError, ShapeError, format_function, format_value
from ansatz.core.frame import Frame
from ansatz.core.node import Node, cells_of, declared_in, standing_in
from ansatz.core.parameter import Parameter
from ansatz.core.spelling import hinted

_CALL = "az.grad(loss_fn)(net, x, y), where loss_fn(net, x, y) returns the loss"
_BACKWARD = "az.backward(loss_fn, net, x, y), where loss_fn(net, x, y) returns the loss"


@hinted(_CALL)
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

    Raises:
        ShapeError: when called, if `function` returns an array that is not a scalar.
        DTypeError: likewise, if it is no real floating number, or a parameter is none.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> net = nn.Dense(1, weight_init="ones")
        >>> loss, grads = az.value_and_grad(lambda net, x: net(x).sum())(net, jnp.ones((2, 3)))
        >>> float(loss), sorted(grads), grads["bias"].tolist()
        (6.0, ['bias', 'weight'], [2.0])
    """
    if not callable(function):
        raise TypeError(f"a gradient is that of a function: {_CALL}; got {format_value(function)}")
    single = isinstance(argnums, int | np.integer)
    positions = _checked_positions((argnums,) if single else argnums)

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
                loss, aux = _loss_and_aux(function, result) if has_aux else (result, None)
                _check_loss(function, loss)
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


@hinted(_CALL)
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


@hinted(_BACKWARD)
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


def _loss_and_aux(function: Callable[..., Any], result: Any) -> tuple[Any, Any]:
    if not (isinstance(result, tuple | list) and len(result) == 2):
        raise TypeError(
            "with has_aux=True a function returns a pair (loss, aux), but "
            f"{format_function(function)} returned {format_value(result)}"
        )
    return result[0], result[1]


def _check_loss(function: Callable[..., Any], loss: Any) -> None:
    """Refuse what has no gradient, in words that say what to do about it."""
    name = format_function(function)
    found = f"a gradient is that of one number, but {name} returned {format_value(loss)}"
    if isinstance(loss, tuple | list):
        raise TypeError(f"{found}; if it is (loss, aux), pass has_aux=True")
    if loss is None:
        raise TypeError(f"{found}; end it with: return loss")
    if isinstance(loss, Cell):
        raise TypeError(f"{found}, {loss.describe()}; return its value")
    if not isinstance(loss, jax.Array | np.ndarray | np.generic | float | int):
        raise TypeError(f"{found}; return the loss, a scalar array")
    if jnp.shape(loss) != ():
        raise ShapeError(f"{found}; take the mean, loss.mean(), or the sum")
    if not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
        raise DTypeError(f"{found}, which has no gradient; return a real floating number")


def _checked_positions(given: Any) -> tuple[int, ...]:
    try:
        return tuple(map(operator.index, given))
    except TypeError:
        raise TypeError(
            "argnums is the position of an argument, 0, 1, …, or a tuple of positions, got "
            f"{format_value(given)}"
        ) from None


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
