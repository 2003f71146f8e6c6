"""Branches: modules that give one input to several others and put the outputs together."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.nn.activation_functions import (
    Activation,
    activated,
    by_name,
    checked_activation,
    spelled,
)
from ansatz.nn.containers import Container, Sequential, checked_layer


class Residual(Module):
    """Adds what its layers make of an input to the input: `y = activation(f(x) + shortcut(x))`.

    Source: He et al. 2015, "Deep residual learning for image recognition", equations 1 and 2.

    Args:
        *layers: `f`; several layers run one after the other.
        shortcut: what the input passes on its way around, such as a projection to another width;
            without one it is added as it is.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.

    Attributes:
        body: the layer that was given, or a `Sequential` of several.
        shortcut: the layer on the way around, or `None`.

    Raises:
        TypeError: something is not a module, or there is no layer.
        ShapeError: when called, if the two ways give other shapes; nothing is broadcast.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> block = nn.Residual(nn.Dense(8, activation="relu"), nn.Dense(4))
        >>> block(jnp.ones((2, 4))).shape
        (2, 4)
        >>> wider = nn.Residual(nn.Dense(8), shortcut=nn.Dense(8, use_bias=False))
        >>> list(wider.collect_params())
        ['body.weight', 'body.bias', 'shortcut.weight']
    """

    def __init__(
        self,
        *layers: Module,
        shortcut: Module | None = None,
        activation: Activation | None = None,
    ) -> None:
        super().__init__()
        if not layers:
            raise TypeError("Residual adds to its input what layers make of it, but got no layer")
        first = checked_layer(layers[0])
        self.body = first if len(layers) == 1 else Sequential(*layers)
        self.shortcut = None if shortcut is None else checked_layer(shortcut)
        self.activation = checked_activation(activation)

    def forward(self, x: Any) -> Any:
        """The shape that the layers give."""
        y = self.body(x)
        around = x if self.shortcut is None else self.shortcut(x)
        if y.shape != around.shape:
            raise ShapeError(
                f"the layers of Residual give shape {format_shape(y.shape)}, but the way around "
                f"gives {format_shape(around.shape)}; nothing is broadcast. Give a shortcut= that "
                "projects the input, or let the layers keep its shape"
            )
        return activated(self.activation, lambda name: _add(y, around, name))

    def extra_repr(self) -> str:
        """The activation."""
        if self.activation is None or isinstance(self.activation, Module):
            return ""
        return f"activation={spelled(self.activation)}"


@functools.partial(jax.jit, static_argnums=2)
def _add(y: jax.Array, x: jax.Array, activation: str | None) -> jax.Array:
    return y + x if activation is None else by_name(activation)(y + x)


class Concurrent(Container):
    """Gives its input to each of its layers and joins their outputs along an axis.

    Layers are named, reached and changed as in `Sequential`. Gluon calls it `HybridConcurrent`.

    Source: Szegedy et al. 2014, "Going deeper with convolutions", section 4.

    Args:
        *layers: the layers, called `"0"`, `"1"`, …; or one mapping from names to layers.
        axis: the axis to join along; the outputs agree in all others.

    Raises:
        TypeError: something is not a module.
        ShapeError: when called, if there is no layer, or if the outputs do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.Concurrent(nn.Dense(3), nn.Identity())(jnp.ones((2, 4))).shape
        (2, 7)
    """

    def __init__(self, *layers: Any, axis: int = -1) -> None:
        super().__init__(*layers)
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """The outputs of the layers, in their order along `axis`."""
        outputs = [layer(x) for layer in self]
        if not outputs:
            raise ShapeError("Concurrent joins the outputs of its layers, but it has none")
        others = {_without(output.shape, self.axis) for output in outputs}
        if len(others) != 1 or None in others:
            found = ", ".join(format_shape(output.shape) for output in outputs)
            raise ShapeError(
                f"Concurrent joins outputs along axis {self.axis}, and they have to agree in all "
                f"others, but their shapes are {found}"
            )
        return jnp.concatenate(outputs, self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...] | None:
    """The other axes; `None` if there is no such axis."""
    if not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]
