"""Cells: mutable boxes that hold one JAX value each.

Everything that changes over time lives in a *cell*; nothing else does. A cell's `value` is an
array or a pytree of arrays. Inside a transform it is whatever the innermost frame says; outside,
it is the cell's own.

A cell whose array was handed out is *exposed*: `ansatz.jit` copies such an array before it gives
the buffer away, so nobody ever meets "Array has been deleted".
"""

from __future__ import annotations

import copy
import warnings
import weakref
from typing import Any, Final, NoReturn

import jax
import numpy as np

from ansatz.core import clock, frame, verbs
from ansatz.core.errors import StaleParameterWarning, TraceError


class _Unset:
    """The type of `UNSET`: no value has been drawn, loaded or assigned."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"

    def __copy__(self) -> _Unset:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _Unset:
        return self


UNSET: Final = _Unset()

_last_warned_trace: Any = None


class Cell:
    """A mutable box for one JAX value (an array or a pytree of arrays).

    Args:
        value: the initial value; without one, reading raises until a value is assigned.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz.core.cell import Cell
        >>> counter = Cell(jnp.zeros((), "int32"))
        >>> counter.value += 1
        >>> int(counter.value)
        1
    """

    __slots__ = ("__weakref__", "_exposed", "_home", "_value")

    _kind = "cell"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_as_pytree(cls, "a parameter or state")

    def __init__(self, value: Any = UNSET) -> None:
        self._value = value
        self._exposed = value is not UNSET
        self._home: weakref.ref[Any] | None = None

    # -- reading and writing ------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """The value of the cell as seen from here. Assigning checks what the cell declares."""
        innermost = frame.current()
        if innermost is None:
            return self.read_outside(stale=frame.keeps_constants())
        return innermost.read(self)

    @value.setter
    def value(self, new: Any) -> None:
        self.assign(new)

    def assign(self, new: Any) -> None:
        """Make `new` the value of the cell, in the innermost frame or in the cell itself."""
        innermost = frame.current()
        if innermost is not None:
            innermost.write(self, new)
            return
        if not frame.at_top_level() or any(
            isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(new)
        ):
            raise TraceError(
                f"{self.describe()} was written inside a plain JAX transformation (jax.jit, "
                "jax.grad, jax.vmap, jax.lax.scan, …), which would lose the update or leave a "
                "tracer behind. Use the transform of the same name from ansatz (az.jit, az.grad, "
                "az.vmap, az.scan): it carries writes of cells out. For a pure function, use "
                "az.functional_call(net, state, *args, return_state=True)."
            )
        self.write_outside(new)
        self.mark_exposed()  # The caller may keep a reference to what was assigned.

    def read_outside(self, *, stale: bool) -> Any:
        """The cell's own value, for a reader that may keep it.

        Args:
            stale: whether the reader is a trace that will keep it for ever.
        """
        value = self.materialize()
        if stale:
            self._warn_of_stale_read()
        self.mark_exposed()
        return value

    def write_outside(self, value: Any) -> None:
        """Set the cell's own value without any check (what transforms commit is right)."""
        self._value = value

    def note_update(self) -> None:
        """Remember that a transform wrote the cell; a plain cell has nothing to remember."""

    def materialize(self) -> Any:
        """The cell's own value, made now if it is still to be made."""
        if self._value is UNSET:
            raise RuntimeError(f"{self.describe()} has no value yet; assign one to `.value`")
        return self._value

    def __treescope_repr__(self, path: str | None, subtree_renderer: Any) -> Any:
        return verbs.call("treescope", self, path, subtree_renderer)

    @property
    def has_value(self) -> bool:
        """True once a value was drawn, loaded or assigned."""
        return self._value is not UNSET

    def protect(self) -> None:
        """Copy an exposed array, so that the cell's own buffer may be given away."""
        if self._exposed:
            self._exposed = False
            if self._value is not UNSET:
                self._value = jax.tree.map(_copied, self._value)

    def mark_exposed(self) -> None:
        """Remember that somebody else may hold the array."""
        if not self._exposed:
            self._exposed = True
            clock.array_exposed()

    def _warn_of_stale_read(self) -> None:
        global _last_warned_trace
        trace = frame.trace_state()
        if _last_warned_trace is not None and trace == _last_warned_trace:
            return
        _last_warned_trace = trace
        warnings.warn(
            f"{self.describe()} was read inside a plain JAX trace (jax.jit or another staged "
            "transformation), which keeps the value it has now as a constant: later updates are "
            "not seen by the compiled function. Use az.jit, or pass the values through "
            "az.functional_call(net, state, *args).",
            StaleParameterWarning,
            stacklevel=4,
        )

    @property
    def base(self) -> Cell:
        """The cell that holds the value: itself, unless it is a view of another (a tie)."""
        return self

    # -- naming -------------------------------------------------------------------------------

    def _home_is_open(self) -> bool:
        home = self._home() if self._home is not None else None
        return home is None or not home._holds(self)

    @property
    def path(self) -> str:
        """Where the cell stands, seen from the outermost module that holds it ('' if none)."""
        home = self._home() if self._home is not None else None
        return "" if home is None else home._path_from_root(self)

    def drawn_as(self, path: str) -> str:
        """The path that enters the draw of the first value, for a cell that stands at `path`."""
        home = self._home() if self._home is not None else None
        return path if home is None else str(home._drawn_as(self, path))

    def describe(self) -> str:
        """The cell in words, for messages: its kind and its path."""
        path = self.path
        kind = self._kind
        return f"{kind} '{path}'" if path else f"{kind} (not part of a module)"

    # -- copying ------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Cell:
        new = self.__class__.__new__(self.__class__)
        memo[id(self)] = new
        # Arrays cannot be written in place, so the copy shares them until one of the two cells
        # gives its buffer away; both are exposed, so that one copies first.
        self.mark_exposed()
        new.__setstate__(
            {
                name: value if name == "_value" else copy.deepcopy(value, memo)
                for name, value in self.__getstate__().items()
            }
        )
        return new

    def __getstate__(self) -> dict[str, Any]:
        state = {}
        for cls in type(self).__mro__:
            for name in getattr(cls, "__slots__", ()):
                if name not in ("__weakref__", "_home") and hasattr(self, name):
                    state[name] = getattr(self, name)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._home = None
        for name, value in state.items():
            setattr(self, name, value)
        self._exposed = True


def _copied(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
        return jax.device_put(leaf, may_alias=False)  # Unlike leaf.copy(), compiles nothing.
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def refuse_as_pytree(kind: type, name: str) -> None:
    """Let JAX's functions refuse objects of `kind`, which have a value but are none.

    Args:
        kind: a class whose objects have `describe()`.
        name: what such an object is called in the error.
    """

    def flatten(held: Any) -> NoReturn:
        raise TraceError(
            f"{held.describe()} was passed to jax.jit, jax.grad, jax.tree or another JAX function, "
            "or returned from one; pass or return its value (p.value), or use the transform of the "
            "same name from ansatz"
        )

    def unflatten(_: Any, __: Any) -> NoReturn:
        raise TraceError(f"{name} is not a pytree")

    jax.tree_util.register_pytree_node(kind, flatten, unflatten)


refuse_as_pytree(Cell, "a parameter or state")
