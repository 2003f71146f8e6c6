"""Parameters and states: the two kinds of cells that a network is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core import clock
from ansatz.core.cell import UNSET
from ansatz.core.declared import Declared, on_device
from ansatz.core.errors import format_value
from ansatz.core.initializer import FanAxes, Initializer, Spec
from ansatz.core.shapes import as_dtype
from ansatz.core.spelling import SpelledOtherwise, hinted, no_attribute

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

GradReq = Literal["write", "add", "null"]


class State(Declared):
    """A cell that is not trained: running statistics, a step counter, a cache.

    Args:
        value: its first value, an array or a number. Without one, `shape` and `init` declare it.
        shape: the shape, with `None` for a dimension that `infer_shape` will fill.
        dtype: the dtype; by default that of the value, and float32 without one.
        init: an initialiser, a name (`"zeros"`, `"ones"`) or a function; by default zeros.
        optional: true if a checkpoint may leave it out (random streams do).

    Raises:
        TypeError: `value` is a tuple, as if it were the shape, or comes with a shape or an
            initialiser.

    Example:
        >>> import ansatz as az
        >>> steps = az.State(0)
        >>> @az.jit
        ... def step():
        ...     steps.value += 1
        >>> for _ in range(2):
        ...     step()
        >>> int(steps.value)
        2
    """

    __slots__ = ("optional",)

    _kind = "state"

    @hinted("self.mean = az.State(value) or az.State(shape=shape): attributes give the names")
    def __init__(
        self,
        value: Any = UNSET,
        *,
        shape: int | Sequence[int | None] | None = None,
        dtype: DTypeLike | None = None,
        init: Any = None,
        optional: bool = False,
    ) -> None:
        given = value is not UNSET
        if given and (isinstance(value, tuple) or shape is not None or init is not None):
            raise TypeError(_value_or_declaration(value, shape, init))
        if given and dtype is not None:
            value = jnp.asarray(value, as_dtype(dtype))
        super().__init__(
            value,
            shape=() if shape is None else shape,
            dtype="float32" if dtype is None else dtype,
            init=None if given else "zeros" if init is None else init,
            fallback=_Keep(value) if given and not isinstance(value, jax.core.Tracer) else None,
            fan_axes=(1, 0),
        )
        self.optional = optional


class Parameter(Declared):
    """A trained cell.

    Args:
        shape: the shape, with `None` for each dimension that is not known yet; or an array, whose
            values the parameter takes.
        init: an initialiser, a name or a function `f(key, shape, dtype)`. `None` leaves the choice
            to `initialize`, and without one to `fallback`.
        dtype: the dtype; by default that of the array, and float32 without one.
        trainable: false for a parameter that gets no gradient and no update.
        grad_req: what `ansatz.backward` does with a new gradient: `"write"` replaces the last
            one, `"add"` accumulates, `"null"` makes the parameter untrainable.
        fallback: the initialiser if nobody chose one; by default U(±1/√fan_in), and zeros for a
            parameter with fewer than two dimensions.
        fan_axes: the axes that inputs and outputs run along; `(1, 0)` for `(out, in, *kernel)`.
        zero_at: a position along the first axis that starts at zero whatever the initialiser is.

    Example:
        >>> import ansatz as az
        >>> weight = az.Parameter((3, None), init="ones")
        >>> weight.shape
        (3, None)
        >>> weight.shape = (3, 2)
        >>> weight.data[0, 0] = 42
        >>> print(weight.value)
        [[42.  1.]
         [ 1.  1.]
         [ 1.  1.]]
    """

    __slots__ = ("_grad", "_grad_req", "_trainable")

    _kind = "parameter"
    lr_mult = SpelledOtherwise()
    requires_grad = SpelledOtherwise()
    wd_mult = SpelledOtherwise()

    @hinted("self.weight = az.Parameter(shape, init): the attribute gives the name")
    def __init__(
        self,
        shape: int | Sequence[int | None] | jax.Array | np.ndarray[Any, Any],
        init: Any = None,
        *,
        dtype: DTypeLike | None = None,
        trainable: bool = True,
        grad_req: GradReq = "write",
        fallback: Any = None,
        fan_axes: FanAxes = (1, 0),
        zero_at: int | None = None,
    ) -> None:
        given = isinstance(shape, jax.Array | np.ndarray)
        if given and dtype is not None:
            shape = jnp.asarray(shape, as_dtype(dtype))
        super().__init__(
            shape if given else UNSET,
            shape=None if given else cast("Sequence[int | None]", shape),
            dtype="float32" if dtype is None else dtype,
            init=init,
            fallback=_Keep(shape) if given and fallback is None else fallback,
            fan_axes=fan_axes,
        )
        self.zero_at = zero_at
        self._grad: State | None = None
        self._trainable = True
        self.trainable = trainable
        self._grad_req: GradReq = "write"
        self.grad_req = grad_req if trainable else "null"

    def __getattr__(self, name: str) -> Any:
        # Only called for what is missing, and when a property raised AttributeError itself.
        if isinstance(getattr(type(self), name, None), property):
            return object.__getattribute__(self, name)
        raise no_attribute(self, name, dir(type(self)))

    @property
    def base(self) -> Parameter:
        """The parameter that holds the value: itself, unless this is a transposed tie."""
        return self

    @property
    def trainable(self) -> bool:
        """Whether gradients are taken and updates applied."""
        return self._trainable

    @trainable.setter
    def trainable(self, new: bool) -> None:
        if not isinstance(new, bool | np.bool_):
            raise TypeError(f"trainable of {self.describe()} is True or False, got {new!r}")
        if new != self._trainable:
            self._trainable = bool(new)
            clock.structure_changed()

    @property
    def grad_req(self) -> GradReq:
        """What `ansatz.backward` does with a new gradient: `"write"`, `"add"` or `"null"`."""
        return self._grad_req if self.trainable else "null"

    @grad_req.setter
    def grad_req(self, new: GradReq) -> None:
        if new not in ("write", "add", "null"):
            raise ValueError(
                f"grad_req of {self.describe()} must be 'write', 'add' or 'null', got {new!r}"
            )
        self.trainable = new != "null"
        if new != "null" and new != self._grad_req:
            self._grad_req = new
            clock.structure_changed()

    @property
    def grad_cell(self) -> State:
        """The state that holds the gradient, made when it is first asked for."""
        if self._grad is None:
            self._grad = State(shape=self._shape, dtype=self._dtype)
        if self._grad.is_deferred:
            self._grad.shape = self.shape
        return self._grad

    @property
    def grad(self) -> jax.Array | None:
        """What `ansatz.backward` left: zeros before the first call, `None` if untrainable.

        Raises:
            DeferredInitializationError: the shape is not known yet.
        """
        if not self.trainable:
            return None
        self._known_shape("it has no gradient")
        return cast("jax.Array", self.grad_cell.value)

    def zero_grad(self) -> None:
        """Set the gradient to zero."""
        if self._grad is not None:
            self._grad.value = jnp.zeros(self._known_shape("it has no gradient"), self._dtype)

    def drop_grad(self) -> None:
        """Zero the gradient's own array, whatever is being traced."""
        if self._grad is not None and self._grad.has_value:
            zeros = np.zeros(cast("tuple[int, ...]", self._grad.shape), self._dtype)
            self._grad.settle(on_device([zeros])[0], self._grad.origin, fresh=True)

    def cast(self, dtype: DTypeLike) -> None:
        """Convert the value, the gradient, and everything drawn later to another dtype."""
        super().cast(dtype)
        if self._grad is not None:
            self._grad.cast(dtype)

    def _remarks(self) -> str:
        return super()._remarks() + ("" if self.trainable else ", frozen")


def _value_or_declaration(value: Any, shape: Any, init: Any) -> str:
    """Why a state that has a value is declared no further."""
    if isinstance(value, tuple):
        sizes = all(size is None or isinstance(size, int) for size in value)
        shape = f"az.State(shape={value!r}) if it is a shape, or " if sizes else ""
        return (
            f"a state takes its value first, an array or a number, got {format_value(value)}: "
            f"write {shape}az.State(np.array({value!r})) if it is the value"
        )
    what = f"shape={shape!r}" if shape is not None else f"init={init!r}"
    return (
        f"a state that is given its value has no {what}, got both: leave out one of the two, "
        'as in az.State(value) or az.State(shape=(3,), init="ones")'
    )


class _Keep(Initializer):
    """The values that a cell was declared with."""

    blockwise = False

    def __init__(self, value: Any) -> None:
        self._value = np.array(value)

    def draw(self, rng: np.random.Generator, spec: Spec) -> Any:
        return self._value.copy()

    def __repr__(self) -> str:
        return "the declared values"
