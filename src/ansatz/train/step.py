"""One step of training as a function: loss, gradients, update; and what it can be made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ansatz.core.cell import Cell
from ansatz.core.errors import DTypeError, ShapeError, format_function, format_value
from ansatz.core.frame import Frame
from ansatz.core.gradient import value_and_grad
from ansatz.core.module import Module
from ansatz.core.node import cells_of
from ansatz.train.errors import TrainingError

Loss = Callable[[Any, Any], Any]


def train_step(
    net: Module,
    state: Cell,
    optimizer: optax.GradientTransformationExtraArgs,
    loss: Loss,
    paths: tuple[str, ...],
    x: Any,
    y: Any,
) -> jax.Array:
    """One step on the parameters at `paths`, to which `state` belongs."""
    standing = {path: cell for cell, path in cells_of(net).items()}
    cells = {path: standing[path] for path in paths}

    def of_cells(_: dict[str, Cell]) -> jax.Array:
        return objective(net, loss, x, y)

    def of_values(values: dict[str, jax.Array]) -> jax.Array:
        with Frame({cells[path]: value for path, value in values.items()}):
            return objective(net, loss, x, y)

    value, gradients = value_and_grad(of_cells)(cells)
    values = {path: cell.value for path, cell in cells.items()}
    updates, state.value = optimizer.update(
        gradients,
        state.value,
        values,
        # For those that ask: reduce_on_plateau, line searches, L-BFGS.
        value=value,
        grad=gradients,
        value_fn=of_values,
    )
    for path, new in optax.apply_updates(values, updates).items():
        cells[path].value = new
    return value  # type: ignore[no-any-return]


def objective(net: Module, loss: Loss, x: Any, y: Any) -> jax.Array:
    """The loss of a batch.

    Raises:
        TrainingError: it is no array.
        ShapeError: it is not one number.
        DTypeError: it is not a real floating one.
    """
    output = net(*x) if isinstance(x, tuple) else net(x)
    found = loss(output, y)
    name = format_function(loss)
    if not isinstance(found, jax.Array | np.ndarray | np.generic | float):
        parts = "; return their sum, and measure the parts as metrics of evaluate and fit"
        raise TrainingError(
            f"the loss is a scalar array, but {name} returned {format_value(found)}"
            + (parts if isinstance(found, tuple | list | dict) else "")
        )
    value = jnp.asarray(found)
    if value.shape != ():
        raise ShapeError(
            f"the loss is one number for the whole batch, but {name} returned an array of "
            f"shape {value.shape}; take the mean: lambda output, y: loss(output, y).mean()"
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise DTypeError(
            f"the loss is a real floating number, but {name} returned {value.dtype}, which "
            "has no gradient"
        )
    return value


def check_loss(loss: Any) -> None:
    """Find out now, not in the first step, that a loss cannot be called.

    Raises:
        TypeError: it is not a function of `(output, y)`.
    """
    if not callable(loss):
        raise TypeError(
            "the loss is a function loss(output, y), such as nn.softmax_cross_entropy, got "
            f"{format_value(loss)}"
        )
    try:
        signature = inspect.signature(loss.forward if isinstance(loss, Module) else loss)
    except ValueError:
        return  # Written in C; only the call can tell.
    try:
        signature.bind(None, None)
    except TypeError as error:
        name = format_function(loss)
        instead = f"Wrap it: lambda output, y: {name}(…)"
        if isinstance(loss, type):
            instead = f"Give an instance, not the class: {name}(…)"
        raise TypeError(
            f"the loss is called as loss(output, y), but {name}{signature} does not take that "
            f"({error}). {instead}"
        ) from None


def as_transformation(optimizer: Any) -> optax.GradientTransformationExtraArgs:
    """What users give as the optimizer, as a transformation that takes all arguments.

    Raises:
        TypeError: it is none of optax.
    """
    if isinstance(optimizer, optax.MultiSteps):
        optimizer = optimizer.gradient_transformation()
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            "the optimizer is an optax transformation such as optax.adam(1e-3), got "
            f"{format_value(optimizer)}{_instead_of(optimizer)}"
        )
    return optax.with_extra_args_support(optimizer)


def _instead_of(optimizer: Any) -> str:
    """What to write instead of something that was given for an optimizer."""
    if isinstance(optimizer, str) and callable(getattr(optax, optimizer.lower(), None)):
        return f"; that is optax.{optimizer.lower()}(learning_rate)"
    if getattr(optimizer, "__module__", "").startswith("optax"):
        return "; call it, with a learning rate"
    if callable(optimizer):
        return "; the loss stands behind it: az.Trainer(net, optimizer, loss)"
    return ""
