"""Programs, which are traced once, and plans, which bind them to particular modules."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from ansatz.core import clock, frame
from ansatz.core.arguments import Arguments
from ansatz.core.cell import Cell
from ansatz.core.closures import Closure
from ansatz.core.declared import Declared, materialize_all
from ansatz.core.deferral import Restart, RestartableFrame, is_under_way, waiting_cells
from ansatz.core.node import Node
from ansatz.core.parameter import Parameter
from ansatz.core.structure import Fingerprint


class Outgrown(BaseException):
    """A trace for other shapes touched cells that the program does not know of."""


class _Address(NamedTuple):
    """Which cell, said in a way that holds for every network of the same fingerprint."""

    kind: str  # "cell": by number; "grad": the gradient of that one; "fixed": the cell itself
    which: Any


class _TraceFrame(RestartableFrame):
    """The frame of a trace whose inputs are known beforehand."""

    __slots__ = ("missed", "reads")

    def __init__(self, values: dict[Cell, Any]) -> None:
        super().__init__(values)
        self.reads: dict[Cell, None] = {}
        self.missed: dict[Cell, None] = {}

    def read(self, cell: Cell) -> Any:
        """The traced value; a cell that is none of the inputs is noted down."""
        self.reads[cell] = None
        try:
            return self.values[cell]
        except KeyError:
            pass
        if isinstance(cell._value, jax.core.Tracer):
            return cell._value  # Made in this trace, and gone with it.
        self.missed[cell] = None
        if isinstance(cell, Declared) and not cell.has_value:
            return jnp.zeros(cell._known_shape("it has no value"), cell.dtype)
        return cell.materialize() if self.parent is None else self.parent.read(cell)


class _Record(NamedTuple):
    """What a trace did, without the tracers, which must not outlive it."""

    reads: list[Cell]
    missed: list[Cell]
    written: list[Cell]


class Program:
    """One traced function and its executable, for all modules of one fingerprint."""

    def __init__(self, function: Callable[..., Any], *, donate: bool) -> None:
        self.function = function
        self.donate = donate and not debugging_nans()
        self.active: Callable[[], Plan | None] = lambda: None
        self.inputs: list[_Address] = []
        self.outputs: list[_Address] = []
        self.donated: list[int] = []
        self.kept: list[int] = []
        self.traces = 0
        self._sealed = False
        self._avals: list[Any] = []
        self.call = jax.jit(_named(self._trace, function))
        self.executable = jax.jit(_named(self._call_inner, function), donate_argnums=0)
        self.keep_alive: list[Any] = []

    def discover(self, plan: Plan, dynamic: Any, narrower: Program | None = None) -> None:
        """Trace once, and find which cells are read and written.

        Args:
            plan: the modules at hand.
            dynamic: the arrays among the arguments.
            narrower: a program that this one replaces; what it reads and writes is kept, so that
                one program serves all shapes, whichever way they take through the function.

        Raises:
            Restart: cells outside the inputs were met, or shapes were settled; trace anew.
        """
        self.active = plan.reference
        if narrower is not None:
            plan.extend(map(plan.resolve, narrower.touched))
        self.inputs = plan.addresses(plan.inputs)
        self._found: _Record | None = None
        values = [_value_or_shape(cell) for cell in plan.inputs]
        self.call.trace(values, dynamic)
        found = self._found
        assert found is not None
        self._found = None
        if found.missed:
            plan.extend(found.missed)
            raise Restart
        before = [] if narrower is None else [plan.resolve(each) for each in narrower.outputs]
        reads = [] if narrower is None else [plan.resolve(each) for each in narrower.touched]
        written = list(dict.fromkeys([*before, *found.written]))
        if written != found.written:  # The trace at hand does not give all that is wanted.
            self.call = jax.jit(_named(self._trace, self.function))
        numbers = {cell: i for i, cell in enumerate(plan.inputs)}
        self.outputs = plan.addresses(written)
        used = {numbers[c] for c in (*found.reads, *reads, *written) if c in numbers}
        self.donated = [numbers[c] for c in written if c in numbers and self.donate]
        self.kept = sorted(used.difference(self.donated))
        self._avals = [_as_shapes(value) for value in values]
        self._sealed = True

    @property
    def touched(self) -> list[_Address]:
        """The cells that are read or written."""
        used = [self.inputs[i] for i in (*self.donated, *self.kept)]
        return list(dict.fromkeys([*used, *self.outputs]))

    def _trace(self, values: list[Any], dynamic: Any) -> tuple[Any, list[Any]]:
        """The pure function that JAX traces."""
        self.traces += 1
        plan = self.active()
        assert plan is not None
        cells = [plan.resolve(address) for address in self.inputs]
        visible = dict(zip(cells, values, strict=True))
        if self._sealed:  # What is not used has no value here: another branch may ask for it.
            visible = {cells[i]: values[i] for i in (*self.donated, *self.kept)}
        args, kwargs = plan.arguments.rebuild(dynamic)
        with _TraceFrame(visible) as inner:
            result = self.function(*args, **kwargs)
            if not self._sealed:
                # Cells that were made in this trace are gone with it.
                written = {
                    cell: value
                    for cell, value in inner.written().items()
                    if not isinstance(cell._value, jax.core.Tracer)
                }
                self._found = _Record(list(inner.reads), list(inner.missed), list(written))
                return result, list(written.values())
            outputs = [plan.resolve(address) for address in self.outputs]
            local = {cell for cell in inner.writes if isinstance(cell._value, jax.core.Tracer)}
            if inner.missed or inner.writes.keys() - local - set(outputs):
                raise Outgrown
            return result, [inner.read(cell) for cell in outputs]

    def _call_inner(self, donated: list[Any], kept: list[Any], dynamic: Any) -> Any:
        values: list[Any] = [None] * len(self.inputs)
        for i, value in zip(self.donated, donated, strict=True):
            values[i] = value
        for i, value in zip(self.kept, kept, strict=True):
            values[i] = value
        for i, value in enumerate(values):
            if value is None:  # In reach, but the trace never looked at it.
                values[i] = _zeros(self._avals[i])
        return self.call(values, dynamic)


class Plan:
    """A program bound to the cells of particular modules."""

    def __init__(
        self,
        stamp: int,
        closure: Closure,
        arguments: Arguments,
        extra: Iterable[Cell] = (),
    ) -> None:
        self.stamp = stamp
        self.debugging_nans = debugging_nans()
        self.closure = closure
        self._watched = closure.is_watched
        fingerprint = Fingerprint([*closure.holders, *arguments.modules])
        self.reference: Callable[[], Plan | None] = weakref.ref(self)
        self.fingerprint = fingerprint
        self.arguments = arguments
        self._numbers = {cell: i for i, cell in enumerate(fingerprint.cells)}
        self.inputs: list[Cell] = [cell for cell in fingerprint.cells if _is_ready(cell)]
        self.extra: list[Cell] = []
        self.extend(extra)
        self.program: Program | None = None
        self._exposures = -1

    def is_current(self) -> bool:
        """Whether nothing that the trace depended on can have changed since this plan was made."""
        if self.stamp != clock.structure or self.debugging_nans != debugging_nans():
            return False
        if self._watched and not self.closure.is_current():
            return False
        fingerprint = self.fingerprint
        return not fingerprint.volatile or fingerprint.volatile_contents() == fingerprint.contents

    def extend(self, cells: Iterable[Cell]) -> None:
        """Take further cells, met in a trace, among the inputs."""
        for cell in cells:
            if cell not in self.inputs:
                self.extra.append(cell)
                self.inputs.append(cell)

    def addresses(self, cells: Iterable[Cell]) -> list[_Address]:
        """Where `cells` stand, in terms that hold for another network as well."""
        gradients = {
            owner._grad: number
            for owner, number in self._numbers.items()
            if isinstance(owner, Parameter) and owner._grad is not None
        }
        addresses = []
        for cell in cells:
            if cell in self._numbers:
                addresses.append(_Address("cell", self._numbers[cell]))
            elif cell in gradients:
                addresses.append(_Address("grad", gradients[cell]))
            else:
                addresses.append(_Address("fixed", cell))
        return addresses

    def resolve(self, address: _Address) -> Cell:
        """The cell of this plan at `address`."""
        if address.kind == "fixed":
            return cast("Cell", address.which)
        number: int = address.which
        cell = self.fingerprint.cells[number]
        if address.kind == "grad":
            assert isinstance(cell, Parameter)
            return cell.grad_cell
        return cell

    def bind(self, program: Program) -> None:
        """Take the cells that `program` needs from these modules."""
        self.program = program
        inputs = [self.resolve(address) for address in program.inputs]
        self.donated = [inputs[i] for i in program.donated]
        self.kept = [inputs[i] for i in program.kept]
        self.outputs = [self.resolve(address) for address in program.outputs]
        self.nested_inputs = inputs
        if is_under_way():
            return  # Only shapes are wanted, and the whole run may still fail.
        needed = [*self.donated, *self.kept]
        materialize_all(cell for cell in needed if isinstance(cell, Declared))
        for cell in needed:
            cell.materialize()

    def run(self, dynamic: Any) -> Any:
        """Execute at the top level, and commit what was written.

        Raises:
            Restart: a plain JAX trace is under way after all, and nothing was committed.
        """
        program = self.program
        assert program is not None
        program.active = self.reference
        # Asking JAX for its state takes long, and a trace shows in what is about to be committed.
        if self._exposures != clock.exposures or not self.outputs:
            if not frame.at_top_level():
                raise Restart
            self._exposures = clock.exposures
            for cell in self.donated:
                cell.protect()
            for cell in self.outputs:
                cell.note_update()
        result, values = program.executable(
            [cell._value for cell in self.donated], [cell._value for cell in self.kept], dynamic
        )
        if values and isinstance(values[0], jax.core.Tracer):
            raise Restart
        for cell, value in zip(self.outputs, values, strict=True):
            cell._value = value
        return result

    def run_nested(self, dynamic: Any) -> Any:
        """Run inside another trace or frame."""
        program = self.program
        assert program is not None
        program.active = self.reference
        values = [
            cell.value if i in program.kept or i in program.donated else _zeros(program._avals[i])
            for i, cell in enumerate(self.nested_inputs)
        ]
        result, written = program.call(values, dynamic)  # Nothing is donated.
        frame.commit(dict(zip(self.outputs, written, strict=True)))
        return result


def _named(trace: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """`trace` under the name of the user's function, for profiles and compiled text."""

    def traced(*args: Any) -> Any:
        return trace(*args)

    own = inspect.signature(traced)
    place: Any = function
    while isinstance(place, functools.partial):
        place = place.func
    # JAX's messages tell where a function stands: where the user wrote it, not here.
    forward = getattr(type(place), "forward", place) if isinstance(place, Node) else place
    vars(traced).update(__wrapped__=forward, __signature__=own)
    traced.__name__ = traced.__qualname__ = getattr(function, "__name__", type(function).__name__)
    return traced


def debugging_nans() -> bool:
    """Whether JAX will repeat a faulty call operation by operation, for which inputs must live."""
    return bool(getattr(jax.config, "jax_debug_nans", False))


def _is_ready(cell: Cell) -> bool:
    return not cell.is_deferred if isinstance(cell, Declared) else cell.has_value


def _value_or_shape(cell: Cell) -> Any:
    if isinstance(cell, Declared) and waiting_cells([cell]):
        # Drawn once the trace has succeeded, so that a call that fails leaves nothing behind.
        return jax.ShapeDtypeStruct(cell.shape, cell.dtype)
    if frame.current() is not None or not frame.at_top_level():
        return cell.value
    return cell.materialize()


def _as_shapes(value: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), a.dtype), value)


def _zeros(avals: Any) -> Any:
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), avals)
