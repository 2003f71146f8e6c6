"""Ties: one parameter under several paths, also seen transposed.

Assigning a parameter to a second module ties it by identity. `tie` does the same by path, and with
`transpose=True` puts a *view* in the second place: a parameter without a value of its own, which
reads and writes the first one transposed. Either way there is one value, one gradient (the sum
over all uses), one initialisation and one entry in files.
"""

from __future__ import annotations

import copy
from typing import Any

import jax

from ansatz.core.declared import Origin, Planned
from ansatz.core.errors import TieError, format_shape
from ansatz.core.node import Node, StandIn, check_tie, walk
from ansatz.core.parameter import GradReq, Parameter
from ansatz.core.paths import find, names_of, replace
from ansatz.core.shapes import Shape, merge_shapes


class TransposedParameter(Parameter):
    """A two-dimensional parameter that is another one, transposed."""

    __slots__ = ("_base",)

    def __init__(self, base: Parameter) -> None:
        super().__init__(base.shape[::-1], dtype=base.dtype, fan_axes=base.fan_axes[::-1])
        self._base = base.base

    @property
    def base(self) -> Parameter:
        """The parameter that holds the value."""
        return self._base

    @property
    def value(self) -> Any:
        """The value of the base, transposed."""
        return self._base.value.T

    @value.setter
    def value(self, new: Any) -> None:
        self._base.value = self.check_value(new).T

    def assign(self, new: Any) -> None:
        """Write the base, transposed."""
        self.value = new

    def materialize(self) -> Any:
        """The value of the base, transposed."""
        return self._base.materialize().T

    @property
    def shape(self) -> Shape:
        """The shape of the base, reversed."""
        return self._base.shape[::-1]

    @shape.setter
    def shape(self, new: Any) -> None:
        self._base.shape = tuple(new)[::-1]

    @property
    def has_value(self) -> bool:
        """True if the base has a value."""
        return self._base.has_value

    @property
    def _dtype(self) -> Any:
        return self._base.dtype

    @_dtype.setter
    def _dtype(self, new: Any) -> None:
        """Whatever is restored into a copy: the base knows better."""

    @property
    def origin(self) -> Origin:
        """Where the value of the base comes from."""
        return self._base.origin

    @origin.setter
    def origin(self, new: Origin) -> None:
        """Whatever is restored into a copy: the base knows better."""

    @property
    def trainable(self) -> bool:
        """Whether the base is trained."""
        return self._base.trainable if hasattr(self, "_base") else True

    @trainable.setter
    def trainable(self, new: bool) -> None:
        if hasattr(self, "_base"):
            self._base.trainable = new

    @property
    def grad_req(self) -> GradReq:
        """What `ansatz.backward` does with a gradient of the base."""
        return self._base.grad_req

    @grad_req.setter
    def grad_req(self, new: GradReq) -> None:
        if hasattr(self, "_base"):
            self._base.grad_req = new

    @property
    def grad(self) -> jax.Array | None:
        """The gradient of the base, transposed."""
        grad = self._base.grad
        return None if grad is None else grad.T

    @property
    def planned(self) -> Planned:
        """The initialisation of the base."""
        return self._base.planned

    def initialize(self, init: Any = None, **options: Any) -> None:
        """Initialise the base."""
        self._base.initialize(init, **options)

    def zero_grad(self) -> None:
        """Set the gradient of the base to zero."""
        self._base.zero_grad()

    def cast(self, dtype: Any) -> None:
        """Convert the base."""
        self._base.cast(dtype)


def tie(net: Node, path: str, other: str, *, transpose: bool = False) -> Parameter | StandIn:
    """Make the parameter at `other` the one at `path`.

    The parameter at `path` keeps its value; what stood at `other` is dropped.

    Args:
        net: the module that both paths are seen from.
        path: the parameter that stays.
        other: where it shall stand as well.
        transpose: true to let `other` see it transposed (two dimensions).

    Returns:
        The parameter that stays.

    Raises:
        TieError: shapes or dtypes do not fit.
        PathError: one of the paths does not exist.

    Example:
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> net = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3))
        >>> kept = az.tie(net, "0.weight", "1.weight", transpose=True)
        >>> net.collect_params().aliases
        {'0.weight': ('1.weight',)}
    """
    kept, replaced = _parameter_at(net, path), _parameter_at(net, other)
    if kept.base is replaced.base:
        raise TieError(f"'{path}' and '{other}' are one parameter already")
    if not transpose:
        check_tie(replaced, kept, other)
        replace(net, other, kept)
        return kept
    if isinstance(kept, StandIn):
        raise TieError(
            f"'{path}' is {kept.formula()}, and what is computed cannot be tied transposed; tie "
            "without transpose, or az.unparametrize it before"
        )
    if kept.ndim != 2:
        raise TieError(
            f"'{path}' has shape {format_shape(kept.shape)}; a transposed tie needs two dimensions"
        )
    # What is seen transposed twice is the parameter itself.
    view = TransposedParameter(kept) if kept.base is kept else kept.base
    shape = merge_shapes(view.shape, replaced.shape)
    if shape is None or kept.dtype != replaced.dtype:
        raise TieError(
            f"'{path}' with shape {format_shape(kept.shape)} and dtype {kept.dtype} cannot be tied"
            f" to the transpose of '{other}' with shape {format_shape(replaced.shape)} and dtype "
            f"{replaced.dtype}; the transposed shape would be {format_shape(view.shape)}"
        )
    view.shape = shape
    replace(net, other, view)
    return kept


def untie(net: Node, path: str) -> Parameter | StandIn:
    """Give the place at `path` a parameter of its own, with a copy of the value.

    Returns:
        The new parameter.

    Raises:
        TieError: the parameter at `path` is not tied.
    """
    tied = _parameter_at(net, path)
    if isinstance(tied, StandIn):
        if sum(entry is tied for _, entry in walk(net)) < 2:
            raise _untied(path)
        own = copy.deepcopy(tied)
        replace(net, path, own)
        return own
    names = names_of(net)[tied.base]
    if not names.aliases:
        raise _untied(path)
    owner = names.owners[names.all.index(path)]
    if sum(holder is owner for holder in names.owners) > 1:
        raise TieError(
            f"'{path}' is tied because one {type(owner).__name__} stands in several places or "
            "holds the parameter twice; replace the module there by copy.deepcopy(module)"
        )
    copied = Parameter(
        tied.shape,
        tied.init,
        dtype=tied.dtype,
        grad_req=tied.grad_req,
        fallback=tied._fallback,
        fan_axes=tied.fan_axes,
    )
    if not tied.is_deferred:
        copied.value = tied.value
        copied.origin = Origin("edited", f"copied from '{path}' by untie")
    elif tied.base is tied and tied._planned is not None:
        copied.plan(tied._planned)  # So it is drawn with the same values.
    replace(net, path, copied)
    return copied


def _untied(path: str) -> TieError:
    return TieError(f"the parameter at '{path}' has no other name; there is nothing to untie")


def _parameter_at(net: Node, path: str) -> Parameter | StandIn:
    found = find(net, path)
    if not isinstance(found, Parameter | StandIn):
        raise TieError(f"'{path}' is a {type(found).__name__}; only parameters can be tied")
    return found
