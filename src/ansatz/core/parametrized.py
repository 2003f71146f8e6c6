"""Parametrised weights: what stands where a parameter was declared, and computes its value.

A layer reads `self.weight.value` and does not know whether the weight is a parameter or computed
from others. The *originals* are the parameters that it is computed from: the one that was declared,
and for some parametrisations (weight norm) others beside it. The *steps* are modules that are
called one after the other, the first with the originals, each with what the one before it gave.
Steps may hold parameters and states of their own (low-rank adapters, power-iteration vectors).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import numpy as np

from ansatz.core.cell import Cell, refuse_as_pytree
from ansatz.core.errors import DTypeError, ShapeError, StructureError, format_shape
from ansatz.core.module import Module
from ansatz.core.node import StandIn, stood_for
from ansatz.core.parameter import Parameter
from ansatz.core.shapes import Shape
from ansatz.core.view import Viewed


class Parametrized(StandIn, Viewed):
    """A weight that is computed from parameters: what `ansatz.parametrize` puts in its place.

    It reads like a parameter (`value`, `shape`, `dtype`, `data`, arithmetic). Its value can be
    assigned if every step has a `right_inverse`, which then gives the originals.

    Args:
        weight: the parameter in whose place it stands; one of the originals, with the same shape.
        step: the first step.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> layer = az.parametrize(nn.Linear(2, 2), "weight", jnp.exp, right_inverse=jnp.log)
        >>> layer.weight.value = jnp.full((2, 2), 3.0)
        >>> print(layer.weight.original.value)
        [[1.0986123 1.0986123]
         [1.0986123 1.0986123]]
    """

    def __init__(self, weight: Parameter, step: Module) -> None:
        declare: Callable[[Parameter], Mapping[str, Parameter]] | None = _method(step, "originals")
        originals = {"original": weight} if declare is None else dict(declare(weight))
        kept = [name for name, cell in originals.items() if cell is weight]
        if len(kept) != 1:
            raise StructureError(
                f"{type(step).__name__}.originals(weight) returns the parameters that the weight "
                f"is computed from, of which exactly one is the weight that it is given; got "
                f"{originals}"
            )
        taken = [name for name in originals if hasattr(Parametrized, name) or name.isdigit()]
        if taken:
            raise StructureError(
                f"{type(step).__name__}.originals(weight) cannot call a parameter {taken[0]!r}, "
                "which a parametrised weight calls something else; choose another name"
            )
        self._names = tuple(originals)
        self._main = kept[0]
        for name, cell in originals.items():
            setattr(self, name, cell)
        self._put_steps([step])

    def __setattr__(self, name: str, value: Any) -> None:
        own = (
            name[:1] == "_" or name.isdigit() or name in self._names or hasattr(Parametrized, name)
        )
        if not own:
            raise AttributeError(self._has_no(name))
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name[:1] == "_" or hasattr(Parametrized, name):
            return super().__getattr__(name)
        raise AttributeError(self._has_no(name))

    def _has_no(self, name: str) -> str:
        return (
            f"{self.describe()} is {self.formula()}, so it has no {name!r} of its own; those that "
            f"it is computed from have: layer.….{self._main}.{name}"
        )

    def _drawn_as(self, cell: Cell, path: str) -> str:
        # As if it were not parametrised, so that doing so changes no initial value.
        return stood_for(path.rpartition(".")[0]) if cell is self.main else path

    # -- what it is computed from -------------------------------------------------------------

    @property
    def originals(self) -> dict[str, Parameter]:
        """The parameters that the first step takes, by name."""
        return {name: vars(self)[name] for name in self._names}

    @property
    def main(self) -> Parameter:
        """The parameter that was declared here; its shape is that of the computed value."""
        return cast("Parameter", vars(self)[self._main])

    @property
    def steps(self) -> list[Module]:
        """The modules that compute the value, in the order in which they are called."""
        return [held for name, held in vars(self).items() if name.isdigit()]

    def append(self, step: Module) -> None:
        """Compute the value by one more step.

        Raises:
            StructureError: the step takes several originals, which only the first one can.
        """
        if _method(step, "originals") is not None:
            raise StructureError(
                f"{self.describe()} is {self.formula()}; {step!r} takes several parameters, so it "
                "has to be the first: az.unparametrize the weight before"
            )
        self._put_steps([*self.steps, step])

    def _put_steps(self, steps: Sequence[Module]) -> None:
        for name in [name for name in vars(self) if name.isdigit()]:
            delattr(self, name)
        for number, step in enumerate(steps):
            setattr(self, str(number), step)

    # -- value --------------------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """The computed value. Assigning sets the originals by the right inverses of the steps.

        Raises:
            StructureError: on assignment, a step has no right inverse.
            ShapeError: the steps change the shape; on assignment, the value has another one.
            DTypeError: likewise for the dtype.
        """
        first, *others = self.steps
        originals = self.originals
        infer = _method(first, "infer_originals")
        if infer is not None and self.is_deferred:
            infer(**originals)
        value = first(*(cell.value for cell in originals.values()))
        for step in others:
            value = step(value)
        self._check(value)
        return value

    @value.setter
    def value(self, new: Any) -> None:
        self.write(self.parts_of(new))

    def _check(self, value: Any) -> None:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if shape != self.shape:
            raise ShapeError(
                f"{self.describe()} has shape {format_shape(self.shape)}, but it is "
                f"{self.formula()}, which gives {_what(value)}; a parametrisation keeps the shape"
            )
        if dtype != self.dtype:
            raise DTypeError(
                f"{self.describe()} has dtype {self.dtype}, but it is {self.formula()}, which "
                f"gives {dtype}; convert the result: .astype(weight.dtype)"
            )

    def parts_of(self, value: Any, steps: Sequence[Module] | None = None) -> dict[Parameter, Any]:
        """The values that the originals would need, so that `steps` give `value`; checked.

        Args:
            value: an array of the shape and dtype of the weight.
            steps: the steps to invert, by default all.
        """
        given: Any = self.main.check_value(value)
        for step in reversed(self.steps if steps is None else steps):
            inverse = _method(step, "right_inverse")
            if inverse is None:
                raise StructureError(
                    f"{self.describe()} is {self.formula()}, and {step!r} has no right_inverse, so "
                    "the parameters that give this value are not known. Assign those: "
                    + ", ".join(f"module.….{name}.value = …" for name in self._names)
                )
            given = inverse(given)
        parts = given if isinstance(given, tuple) else (given,)
        originals = self.originals.values()
        if len(parts) != len(originals):
            raise StructureError(
                f"{self.describe()} is computed from {len(originals)} parameters, but the "
                f"right_inverse of {self.steps[0]!r} gave {len(parts)} values"
            )
        return {cell: cell.check_value(part) for cell, part in zip(originals, parts, strict=True)}

    def write(self, parts: Mapping[Parameter, Any]) -> None:
        """Assign what `parts_of` gave, and leave alone what is the same array as before."""
        for cell, part in parts.items():
            if not (cell.has_value and cell._value is part):
                cell.value = part

    # -- what layers and users ask of a parameter ---------------------------------------------

    @property
    def shape(self) -> Shape:
        """The shape, with `None` for each dimension that is not known yet."""
        return self.main.shape

    @shape.setter
    def shape(self, new: Any) -> None:
        self.main.shape = new

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return self.main.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.main.ndim

    @property
    def size(self) -> int:
        """The number of elements of the computed value."""
        return self.main.size

    @property
    def is_deferred(self) -> bool:
        """True while an original waits for its shape."""
        return any(cell.is_deferred for cell in self.originals.values())

    @property
    def has_value(self) -> bool:
        """True once all originals have values."""
        return all(cell.has_value for cell in self.originals.values())

    @property
    def trainable(self) -> bool:
        """Whether an original is trained. Assigning freezes or unfreezes all originals."""
        return any(cell.trainable for cell in self.originals.values())

    @trainable.setter
    def trainable(self, new: bool) -> None:
        for cell in self.originals.values():
            cell.trainable = new

    def __bool__(self) -> bool:
        return True  # `if layer.weight:` asks whether there is one.

    def formula(self) -> str:
        """How the value is computed: the steps, and what the first one takes."""
        return f"{' then '.join(map(repr, self.steps))} of {', '.join(self._names)}"

    def __repr__(self) -> str:
        shape = format_shape(self.shape)
        return f"{type(self).__name__} (shape={shape}, dtype={self.dtype}, {self.formula()})"


class Function(Module):
    """A step that is a plain function.

    Args:
        function: computes the weight from the original.
        right_inverse: computes an original from the weight; `None` if that cannot be done.
    """

    def __init__(
        self, function: Callable[[Any], Any], right_inverse: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__()
        self.function = function
        self.right_inverse = right_inverse

    def forward(self, weight: Any) -> Any:
        """What the function gives."""
        return self.function(weight)

    def __repr__(self) -> str:
        return str(getattr(self.function, "__name__", repr(self.function)))


def is_invertible(steps: Sequence[Module]) -> bool:
    """Whether the originals that give a value can be computed."""
    return all(_method(step, "right_inverse") is not None for step in steps)


def _method(step: Module, name: str) -> Any:
    """What a step may define or leave out."""
    return getattr(step, name, None)


def _what(value: Any) -> str:
    if isinstance(value, jax.Array | np.ndarray):
        return f"shape {format_shape(value.shape)}"
    return f"a {type(value).__name__}"


refuse_as_pytree(Parametrized, "a parametrised weight")
