"""What parameters and states have in common: a declared shape, a dtype and an initialiser.

The life of such a cell: *declared* (its shape may hold `None` for a dimension that is not known
yet), *settled* (the shape is known), *initialised* (the value is there). A value is drawn when it
is first needed, or when `initialize` is called; an initialisation that came before the shape is
kept as `Planned` and carried out as soon as it can be.
"""

from __future__ import annotations

import dataclasses
import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core import clock, frame, random
from ansatz.core.cell import UNSET, Cell
from ansatz.core.errors import (
    AlreadyInitializedWarning,
    DeferredInitializationError,
    DTypeError,
    ShapeError,
    TraceError,
    format_shape,
)
from ansatz.core.initializer import (
    Derived,
    FanAxes,
    FanInUniform,
    Initializer,
    Spec,
    as_initializer,
)
from ansatz.core.operators import ArrayOperators
from ansatz.core.shapes import (
    Shape,
    as_dtype,
    as_shape,
    merge_shapes,
    strong,
    suggest_infer_shape,
)
from ansatz.core.spelling import hinted
from ansatz.core.view import Viewed, as_array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


drawing = threading.RLock()
"""Held while shapes are settled and values are drawn, so that threads share one first call."""


class Planned(NamedTuple):
    """An initialisation that waits for the shape, or for the first use of the value.

    Attributes:
        initializer: what will fill the cell.
        seed: the seed of the event.
        path: the path that enters the draw.
        reason: who chose the initialiser.
        alone: true if it was given for this cell alone, which no rule overrides.
    """

    initializer: Initializer
    seed: int
    path: str
    reason: str
    alone: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """Where the value of a parameter comes from.

    Attributes:
        kind: `"declared"`, `"initialised"`, `"loaded"` or `"edited"`.
        detail: by whom or from where.
        updated: true once a compiled function (a training step, say) has written the value.
    """

    kind: Literal["declared", "initialised", "loaded", "edited"]
    detail: str = ""
    updated: bool = False

    def __str__(self) -> str:
        text = f"{self.kind} {self.detail}".strip()
        return f"{text}, then updated" if self.updated else text


class Declared(Cell, Viewed):
    """A cell with a declared shape, dtype and initialiser. Use `Parameter` or `State`."""

    __slots__ = (
        "_dtype",
        "_fallback",
        "_init",
        "_planned",
        "_shape",
        "fan_axes",
        "origin",
        "zero_at",
    )

    def __init__(
        self,
        value: Any = UNSET,
        *,
        shape: int | Sequence[int | None] | None,
        dtype: DTypeLike,
        init: Any,
        fallback: Any,
        fan_axes: FanAxes,
    ) -> None:
        super().__init__()
        self._init = None if init is None else as_initializer(init)
        self._fallback = None if fallback is None else as_initializer(fallback)
        self._planned: Planned | None = None
        self.fan_axes = fan_axes
        self.zero_at: int | None = None
        self.origin = Origin("declared")
        if value is UNSET:
            self._shape = as_shape(shape)
            self._dtype: Any = as_dtype(dtype)
            return
        array = strong(value if isinstance(value, jax.Array) else jnp.array(value))
        self._shape, self._dtype = array.shape, array.dtype
        self._value = array
        self._exposed = True
        self.origin = Origin("declared", "with a value")

    # -- shape and dtype ----------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        """The shape, with `None` for each dimension that is not known yet.

        Assigning fills unknown dimensions; known ones must agree.

        Raises:
            ShapeError: on assignment, a known dimension or the rank differs.
        """
        if None in self._shape:
            for open_frame in frame.enclosing():
                if self in open_frame.shapes:
                    return open_frame.shapes[self]
        return self._shape

    @shape.setter
    def shape(self, new: int | Sequence[int | None]) -> None:
        current = self.shape
        if current == new:  # The usual case: every call of a layer says what it expects.
            return
        merged = merge_shapes(current, as_shape(new))
        if merged is None:
            raise ShapeError(
                f"{self.describe()} has shape {format_shape(current)}, which does not fit "
                f"{format_shape(as_shape(new))}. Known dimensions never change: build the layer "
                "anew, or check the width of the input.",
                self,
            )
        tentative = next((f for f in frame.enclosing() if isinstance(f, TentativeFrame)), None)
        if tentative is None:
            self._shape = merged
        else:
            tentative.shapes[self] = cast("tuple[int, ...]", merged)

    @property
    def is_deferred(self) -> bool:
        """True while a dimension, or what the initialiser depends on, is not known."""
        if None in self.shape:
            return True
        if self.has_value:
            return False
        chosen = self._init if self._planned is None else self._planned.initializer
        source = None if chosen is None else chosen.depends_on
        return source is not None and source is not self and source.is_deferred

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions, known from the declaration on."""
        return len(self._shape)

    @property
    def size(self) -> int:
        """The number of elements.

        Raises:
            DeferredInitializationError: a dimension is not known yet.
        """
        return int(np.prod(self._known_shape("its size is unknown"), dtype=np.int64))

    def _known_shape(self, consequence: str) -> tuple[int, ...]:
        shape = self.shape
        if None in shape:
            raise DeferredInitializationError(
                f"{self.describe()} has the shape {format_shape(shape)}, in which None is not "
                f"known yet, so {consequence}. Pass one batch through the network, or settle the "
                "shapes without computing anything by net.initialize(example="
                "jax.ShapeDtypeStruct(shape, dtype)), or give the input size when you build the "
                "layer. A layer of your own has to define infer_shape:\n\n"
                f"{suggest_infer_shape(self.path.rpartition('.')[2] or 'weight', shape)}"
            )
        return cast("tuple[int, ...]", shape)

    # -- initialisation -----------------------------------------------------------------------

    @property
    def init(self) -> Initializer | None:
        """The initialiser that was declared; `None` leaves the choice to `initialize`."""
        return self._init

    @init.setter
    def init(self, choice: Any) -> None:
        self._init = None if choice is None else as_initializer(choice)

    def plan(self, planned: Planned) -> None:
        """Remember an initialisation without carrying it out."""
        self._planned = planned

    @property
    def drawn(self) -> Planned | None:
        """The initialisation that was, or will be, carried out; `None` if none was chosen yet."""
        return self._planned

    @property
    def planned(self) -> Planned:
        """The initialisation that will be, or was, carried out: chosen now if none was."""
        if self._planned is None:
            home = self._home() if self._home is not None else None
            seed = random.seeds.next() if home is None else home._root_event_seed()
            self._planned = self.choose(None, seed, self.path)
        return self._planned

    def choose(self, default: Initializer | None, seed: int, path: str) -> Planned:
        """What initialises this cell if no rule does: its own, the default, or the fallback."""
        path = self.drawn_as(path)
        if self._init is not None:
            return Planned(self._init, seed, path, "declared by its layer")
        if default is not None:
            return Planned(default, seed, path, "the default given to initialize")
        return Planned(self._fallback or FanInUniform(), seed, path, "the layer's fallback")

    def materialize(self) -> Any:
        """The cell's own value, drawn now if it is still to be drawn."""
        value = self._value
        if value is UNSET:
            materialize_all([self])
            value = self._value
        if isinstance(value, np.ndarray):
            value = self._value = on_device([value])[0]
        return value

    def settle(self, value: Any, origin: Origin, *, fresh: bool = False) -> None:
        """Take a checked value from an initialisation or a file.

        Args:
            value: an array of the settled shape.
            origin: where it comes from.
            fresh: true if nobody else holds the array, so that its buffer may be given away.
        """
        self._shape = value.shape
        self._value = value
        self._exposed = False
        self.origin = origin
        if not fresh:
            self.mark_exposed()
        clock.array_exposed()  # So that the next compiled update is noted in `origin`.

    def drop_grad(self) -> None:
        """Zero the gradient, where there is one."""

    @hinted("the seed is a number: initialize(seed=0)")
    def initialize(
        self, init: Any = None, *, seed: int | None = None, force_reinit: bool = False
    ) -> None:
        """Initialise this cell alone; the choice is not remembered by a later `initialize`.

        Args:
            init: an initialiser, a name or a function; without one, the declared one.
            seed: the seed of the draw; without one, the next of the global stream.
            force_reinit: draw again although there is a value.
        """
        if self.has_value and not force_reinit:
            _warn_already_initialized(self.describe())
            return
        refuse_in_trace(self.describe(), self.has_value)
        seed = random.seeds.next() if seed is None else random.as_seed(seed)
        planned = self.choose(None, seed, self.path)
        if init is not None:
            planned = Planned(
                as_initializer(init), seed, planned.path, "given for it alone", alone=True
            )
        carry_out({self: planned})

    # -- value --------------------------------------------------------------------------------

    def assign(self, new: Any) -> None:
        """Check `new` against the declared shape and dtype and make it the value."""
        checked = self.check_value(new)
        super().assign(checked)
        self.shape = checked.shape
        if frame.current() is None:
            self.origin = Origin("edited")

    def write_outside(self, value: Any) -> None:
        """Take what a transform brought out."""
        self._value = value
        self.note_update()

    def note_update(self) -> None:
        """Remember that the value is no longer the one that `origin` tells of."""
        if not self.origin.updated:
            self.origin = dataclasses.replace(self.origin, updated=True)

    def check_value(self, new: Any) -> Any:
        """`new` as an array of the declared shape and dtype.

        Raises:
            ShapeError: another shape; nothing is broadcast.
            DTypeError: another dtype; nothing is cast.
        """
        if isinstance(new, ArrayOperators):
            new = new.value
        new = as_array(self, new, self._dtype)
        if merge_shapes(self.shape, new.shape) is None:
            raise ShapeError(
                f"{self.describe()} has shape {format_shape(self.shape)}, but the new value has "
                f"shape {format_shape(new.shape)}; nothing was changed. Values are never "
                "broadcast: write p.data[:] = value to fill it, or reshape the value."
            )
        if new.dtype != self._dtype:
            raise DTypeError(
                f"{self.describe()} has dtype {self._dtype}, but the new value has dtype "
                f"{new.dtype}; nothing was changed. Cast the value: value.astype('{self._dtype}')."
            )
        return strong(new if isinstance(new, jax.Array) else jnp.array(new))

    def cast(self, dtype: DTypeLike) -> None:
        """Convert the value, and everything drawn later, to another floating dtype.

        Raises:
            DTypeError: the conversion would leave the kind (floating to integer, say).
        """
        if not (frame.current() is None and frame.at_top_level()):
            raise TraceError(
                f"{self.describe()} was cast inside a JAX trace or an Ansatz transform; cast it "
                "outside, or cast what is read there: p.value.astype(…)"
            )
        new = as_dtype(dtype)
        if jnp.issubdtype(self._dtype, jnp.floating) != jnp.issubdtype(new, jnp.floating):
            raise DTypeError(
                f"{self.describe()} has dtype {self._dtype}; casting it to {new} would lose its "
                "values. Build the layer with that dtype instead."
            )
        if self.has_value:
            self._value = self.materialize().astype(new)
        self._dtype = new
        clock.structure_changed()

    def __repr__(self) -> str:
        path = self.path
        named = f" {path}" if path else ""
        text = f"{type(self).__name__}{named} (shape={self.shape}, dtype={self._dtype}"
        return f"{text}{self._remarks()})"

    def _remarks(self) -> str:
        if self.has_value:
            return ""
        return ", deferred" if self.is_deferred else ", not initialised yet"

    def __str__(self) -> str:
        value = self.materialize() if self.has_value else None
        if value is None or isinstance(value, jax.core.Tracer):
            return repr(self)
        return f"{self!r}:\n{np.asarray(value)}"


class TentativeFrame(frame.Frame):
    """A frame in which shapes may be found that are committed only if all goes well."""

    __slots__ = ()


def materialize_all(cells: Iterable[Declared]) -> None:
    """Draw what is still to be drawn of `cells`, together."""
    with drawing:
        waiting = [cell for cell in dict.fromkeys(cells) if not cell.has_value]
        carry_out({cell: cell.planned for cell in waiting}, deferrable=False)


def carry_out(plans: dict[Declared, Planned], *, deferrable: bool = True) -> None:
    """Draw all cells whose shape is known, and only then change any; plan the others.

    Raises:
        InitializationError: an initialiser gave an array that does not fit; nothing has changed.
        DeferredInitializationError: a shape is unknown and `deferrable` is false.
    """
    ready = [(c, p) for c, p in plans.items() if not (deferrable and c.is_deferred)]
    for cell, planned in plans.items():
        if deferrable and planned.initializer.needs_fans:
            shape = cast("tuple[int, ...]", cell.shape)  # Only how many there are is asked for.
            Spec(shape, path=planned.path, fan_axes=cell.fan_axes).require_fans()
    values = draw_values(ready)
    with jax.ensure_compile_time_eval():
        values = [
            # Where the user had put the old value, the new one belongs as well.
            jax.device_put(value, cell._value.sharding)
            if isinstance(cell._value, jax.Array)
            else value
            for (cell, _), value in zip(ready, values, strict=True)
        ]
    for cell, planned in plans.items():
        cell.plan(planned)
    for (cell, planned), value in zip(ready, values, strict=True):
        cell.settle(value, origin_of(planned), fresh=True)
        cell.drop_grad()


def draw_values(plans: Sequence[tuple[Declared, Planned]]) -> list[Any]:
    """The values that the cells would be initialised with, on the device; changes no cell."""
    derived = [(cell, p) for cell, p in plans if isinstance(p.initializer, Derived)]
    drawn = _drawn([(cell, p) for cell, p in plans if not isinstance(p.initializer, Derived)])
    for cell, planned in derived:
        initializer = cast("Derived", planned.initializer)
        source: Declared = initializer.depends_on
        if source not in drawn and source.has_value:
            drawn[source] = np.asarray(source.materialize())
        elif source not in drawn:
            drawn.update(_drawn([(source, source.planned)]))
        given = initializer.given(drawn[source])
        drawn.update(_drawn([(cell, planned._replace(initializer=given))]))
    return on_device([drawn[cell] for cell, _ in plans])


def _drawn(plans: Sequence[tuple[Declared, Planned]]) -> dict[Declared, np.ndarray[Any, Any]]:
    jobs = [
        random.Job(
            planned.initializer,
            Spec(cell._known_shape("it has no value"), cell.dtype, planned.path, cell.fan_axes),
            planned.seed,
        )
        for cell, planned in plans
    ]
    drawn = {}
    for (cell, _), array in zip(plans, random.draw(jobs), strict=True):
        if cell.zero_at is not None:
            array[cell.zero_at] = 0
        drawn[cell] = array
    return drawn


def origin_of(planned: Planned) -> Origin:
    """The origin of a value that was drawn as planned."""
    detail = f"by {planned.initializer!r} ({planned.reason}, seed {planned.seed})"
    return Origin("initialised", detail)


def refuse_in_trace(what: str, anew: bool) -> None:
    """Refuse to draw a value again inside of a trace, which goes on with the one of before.

    Raises:
        TraceError: a JAX trace or an Ansatz transform is under way.
    """
    if anew and not (frame.current() is None and frame.at_top_level()):
        raise TraceError(
            f"{what} was initialised anew inside a JAX trace or an Ansatz transform, which goes on "
            "with the values of before; call initialize outside of it"
        )


def on_device(arrays: list[np.ndarray[Any, Any]]) -> list[Any]:
    """The arrays on the default device; host arrays where a trace (shard_map) forbids that."""
    with jax.ensure_compile_time_eval():
        placed = jax.device_put(arrays)
    if any(isinstance(array, jax.core.Tracer) for array in placed):
        return list(arrays)
    return list(placed)


def _warn_already_initialized(what: str) -> None:
    warnings.warn(
        f"{what} is initialised already and keeps its value; pass force_reinit=True to draw again",
        AlreadyInitializedWarning,
        stacklevel=4,
    )
