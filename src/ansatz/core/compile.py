"""`jit`: compiled functions that read and write cells, at the cost of hand-written JAX.

A call goes through three things:

* The `Compiled` function that the user holds keeps one `Program` for each *dependence*: the
  fingerprint of the modules involved, the static arguments, and where modules stand among the
  arguments.
* A `Program` is traced once. Its trace takes the values of all cells in reach as inputs and
  records which were read and written. The executable takes the written ones as donated inputs and
  the rest as plain ones; it reuses that one trace, because JAX caches the inner function.
* A `Plan` binds a program to the cells of particular modules. While the structure clock stands
  still, the plan of the last call is taken after a few identity checks.
"""

from __future__ import annotations

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp

from ansatz.core import clock, deferral, frame
from ansatz.core.cell import Cell
from ansatz.core.closures import Closure
from ansatz.core.deferral import Restart, RestartableFrame
from ansatz.core.errors import RecompilationWarning, TraceError
from ansatz.core.node import Node
from ansatz.core.parameter import Declared, Parameter, materialize_all
from ansatz.core.structure import Fingerprint

_MANY_PROGRAMS = 16
_MOST_TRACES = 12


class _Outgrown(BaseException):
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


class _Arguments:
    """The arguments of one call, split into modules, static values and arrays."""

    def __init__(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        static_positions: frozenset[int],
        static_names: frozenset[str],
    ) -> None:
        self.n_args = len(args)
        self.static = tuple((i, args[i]) for i in range(len(args)) if i in static_positions)
        self.static_kwargs = tuple(item for item in kwargs.items() if item[0] in static_names)
        free = [i for i in range(len(args)) if i not in static_positions]
        self.holders = tuple((i, args[i]) for i in free if deferral.is_holder(args[i]))
        held = {i for i, _ in self.holders}
        self.moving = tuple(i for i in free if i not in held)
        self.names = tuple(name for name in kwargs if name not in static_names)
        dynamic: Any = (
            tuple(args[i] for i in self.moving),
            {name: kwargs[name] for name in self.names},
        )
        leaves, treedef = deferral.flatten(dynamic)
        self.nested = tuple((i, leaf) for i, leaf in enumerate(leaves) if deferral.is_holder(leaf))
        self.treedef = treedef if self.nested else None
        if self.nested:
            dynamic = ([leaf for leaf in leaves if not deferral.is_holder(leaf)],)
        self.dynamic = dynamic

    @property
    def modules(self) -> list[Node | Cell]:
        return [leaf for _, leaf in (*self.holders, *self.nested)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Arguments) or self.key != other.key:
            return False
        pairs = zip(self.modules, other.modules, strict=True)
        return all(mine is theirs for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def key(self) -> Hashable:
        places = tuple(i for i, _ in self.holders), tuple(i for i, _ in self.nested)
        statics = tuple((i, type(v), v) for i, v in (*self.static, *self.static_kwargs))
        return (self.n_args, self.names, places, self.treedef, statics)

    def match(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The arrays of another call if all else is the same, or `None`."""
        if len(args) != self.n_args or self.nested:
            return None
        for i, holder in self.holders:
            if args[i] is not holder:
                return None
        for i, value in self.static:
            if type(args[i]) is not type(value) or args[i] != value:
                return None
        if not kwargs and not self.names and not self.static_kwargs:
            return tuple([args[i] for i in self.moving]), kwargs
        if len(kwargs) != len(self.names) + len(self.static_kwargs):
            return None
        for name, value in self.static_kwargs:
            if name not in kwargs or type(kwargs[name]) is not type(value) or kwargs[name] != value:
                return None
        if any(name not in kwargs for name in self.names):
            return None
        named = {name: kwargs[name] for name in self.names}
        return tuple([args[i] for i in self.moving]), named

    def rebuild(self, dynamic: Any) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of the function, with `dynamic` (arrays or tracers) filled in."""
        if self.nested:
            nested = dict(self.nested)
            assert self.treedef is not None
            arrays = iter(dynamic[0])
            leaves = [
                nested[i] if i in nested else next(arrays) for i in range(self.treedef.num_leaves)
            ]
            dynamic = jax.tree.unflatten(self.treedef, leaves)
        positional, named = dynamic
        filled = dict(zip(self.moving, positional, strict=True))
        filled.update(self.holders)
        filled.update(self.static)
        return [filled[i] for i in range(self.n_args)], {**named, **dict(self.static_kwargs)}


class Program:
    """One traced function and its executable, for all modules of one fingerprint."""

    def __init__(self, function: Callable[..., Any], *, donate: bool) -> None:
        self.function = function
        self.donate = donate and not _debugging_nans()
        self.active: Callable[[], Plan | None] = lambda: None
        self.inputs: list[_Address] = []
        self.outputs: list[_Address] = []
        self.donated: list[int] = []
        self.kept: list[int] = []
        self.traces = 0
        self._sealed = False
        self._avals: list[Any] = []
        self._inner = jax.jit(_named(self._trace, function))
        self.executable = jax.jit(_named(self._call_inner, function), donate_argnums=0)
        self.keep_alive: list[Any] = []

    def discover(self, plan: Plan) -> None:
        """Trace once, and find which cells are read and written.

        Raises:
            Restart: cells outside the inputs were met, or shapes were settled; trace anew.
        """
        self.active = plan.reference
        self.inputs = [plan.address(cell) for cell in plan.inputs]
        self._found: _TraceFrame | None = None
        values = [_value_or_shape(cell) for cell in plan.inputs]
        self._inner.trace(values, plan.arguments.dynamic)
        found = self._found
        assert found is not None
        self._found = None
        if found.missed:
            plan.extend(found.missed)
            raise Restart
        numbers = {cell: i for i, cell in enumerate(plan.inputs)}
        written = [c for c in found.writes if not isinstance(c._value, jax.core.Tracer)]
        self.outputs = [plan.address(cell) for cell in written]
        used = {numbers[c] for c in (*found.reads, *written) if c in numbers}
        self.donated = [numbers[c] for c in written if c in numbers and self.donate]
        self.kept = [i for i in range(len(values)) if i in used and i not in self.donated]
        self._avals = [_as_shapes(value) for value in values]
        self._sealed = True

    def _trace(self, values: list[Any], dynamic: Any) -> tuple[Any, list[Any]]:
        """The pure function that JAX traces."""
        self.traces += 1
        plan = self.active()
        assert plan is not None
        cells = [plan.resolve(address) for address in self.inputs]
        args, kwargs = plan.arguments.rebuild(dynamic)
        with _TraceFrame(dict(zip(cells, values, strict=True))) as inner:
            result = self.function(*args, **kwargs)
            if not self._sealed:
                self._found = inner
                local = [c for c in inner.writes if isinstance(c._value, jax.core.Tracer)]
                return result, [v for c, v in inner.written().items() if c not in local]
            outputs = [plan.resolve(address) for address in self.outputs]
            if inner.missed or not set(outputs).issuperset(inner.writes):
                raise _Outgrown
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
        return self._inner(values, dynamic)

    def nested(self, values: list[Any], dynamic: Any) -> tuple[Any, list[Any]]:
        """Call from within another trace: nothing is donated."""
        result: tuple[Any, list[Any]] = self._inner(values, dynamic)
        return result


class Plan:
    """A program bound to the cells of particular modules."""

    def __init__(
        self,
        stamp: int,
        closure: Closure,
        arguments: _Arguments,
        extra: Iterable[Cell] = (),
    ) -> None:
        self.stamp = stamp
        self.closure = closure
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
        if self.stamp != clock.structure or not self.closure.is_current():
            return False
        fingerprint = self.fingerprint
        return not fingerprint.volatile or fingerprint.volatile_contents() == fingerprint.contents

    def extend(self, cells: Iterable[Cell]) -> None:
        """Take further cells, met in a trace, among the inputs."""
        for cell in cells:
            if cell not in self.inputs:
                self.extra.append(cell)
                self.inputs.append(cell)

    def address(self, cell: Cell) -> _Address:
        """Where `cell` stands, in terms that hold for another network as well."""
        number = self._numbers.get(cell)
        if number is not None:
            return _Address("cell", number)
        for owner, number in self._numbers.items():
            if isinstance(owner, Parameter) and owner._grad is cell:
                return _Address("grad", number)
        return _Address("fixed", cell)

    def resolve(self, address: _Address) -> Cell:
        """The cell of this plan at `address`."""
        if address.kind == "fixed":
            fixed: Cell = address.which
            return fixed
        cell = self.fingerprint.cells[address.which]
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
        needed = [*self.donated, *self.kept]
        materialize_all(cell for cell in needed if isinstance(cell, Declared))
        for cell in needed:
            cell.materialize()

    def run(self, dynamic: Any) -> Any:
        """Execute at the top level, and commit what was written."""
        program = self.program
        assert program is not None
        program.active = self.reference
        if self._exposures != clock.exposures:
            self._exposures = clock.exposures
            for cell in self.donated:
                cell.protect()
            for cell in self.outputs:
                cell.note_update()
        result, values = program.executable(
            [cell._value for cell in self.donated], [cell._value for cell in self.kept], dynamic
        )
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
        result, written = program.nested(values, dynamic)
        frame.commit(dict(zip(self.outputs, written, strict=True)))
        return result


class Compiled:
    """What `jit` returns: call it like the function."""

    def __init__(
        self, function: Callable[..., Any], static_argnames: Sequence[str], donate: bool
    ) -> None:
        self._function = function
        self._donate = donate
        self._static_names = frozenset(static_argnames)
        self._static_positions = _positions(function, self._static_names)
        self._programs: dict[Hashable, Program] = {}
        self._plan: Plan | None = None
        self._holder_position: int | None = None
        self._warned = False
        self._traces_before = 0
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the compiled function; it is traced first if need be."""
        if frame.current() is None and frame.at_top_level():
            plan = self._known_plan(args)
            if plan is not None and plan.is_current():
                dynamic = plan.arguments.match(args, kwargs)
                if dynamic is not None:
                    try:
                        return plan.run(dynamic)
                    except (Restart, _Outgrown, TraceError):
                        pass  # Nothing was committed; look again with care.
        return self._call_with_care(args, kwargs)

    @property
    def traces(self) -> int:
        """How often the function was traced so far."""
        return self._traces_before + sum(program.traces for program in self._programs.values())

    def _known_plan(self, args: tuple[Any, ...]) -> Plan | None:
        position = self._holder_position
        if position is None:
            return self._plan
        if position < len(args):
            plans = getattr(args[position], "_plans", None)
            if plans is not None:
                known: Plan | None = plans.get(self)
                return known
        return None

    def _call_with_care(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        plan = self._planned(args, kwargs)
        dynamic = plan.arguments.dynamic
        if frame.current() is not None or not frame.at_top_level():
            return plan.run_nested(dynamic)
        try:
            return plan.run(dynamic)
        except (Restart, _Outgrown):
            # Other shapes took another way through the function: trace it for them alone.
            return self._planned(args, kwargs, anew=True).run(dynamic)

    def _planned(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, anew: bool = False
    ) -> Plan:
        """A plan for this call: an existing program bound to its modules, or a new one."""
        arguments = _Arguments(args, kwargs, self._static_positions, self._static_names)
        known = self._known_plan(args)
        if known is not None and not anew and known.is_current() and known.arguments == arguments:
            known.arguments = arguments
            return known
        extra: list[Cell] = []
        for _ in range(_MOST_TRACES):
            plan = Plan(clock.structure, Closure(self._function), arguments, extra)
            key = self._key(plan.fingerprint, arguments)
            program = None if anew else self._programs.get(key)
            if program is None:
                program = Program(self._function, donate=self._donate)
                try:
                    program.discover(plan)
                except Restart:
                    extra = plan.extra
                    continue
                finally:
                    self._traces_before += program.traces
                    program.traces = 0
                program.keep_alive = plan.fingerprint.kept
                self._programs[key] = program
                self._warn_if_many()
            plan.bind(program)
            self._remember(plan)
            return plan
        raise TraceError(
            f"{self!r} was traced {_MOST_TRACES} times and met new states or parameters each "
            "time; create states, parameters and modules outside of the compiled function"
        )

    def _key(self, fingerprint: Fingerprint, arguments: _Arguments) -> Hashable:
        key = (fingerprint.key, arguments.key, _debugging_nans())
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(
                f"a static argument of {self!r} is not hashable: {error}; static arguments are "
                "compared between calls and have to be hashable (use a tuple for a list)"
            ) from None
        return key

    def _remember(self, plan: Plan) -> None:
        """Keep the plan with the first module among the arguments, so that it dies with it."""
        holders = plan.arguments.holders
        first = next(((i, h) for i, h in holders if isinstance(h, Node)), None)
        if first is None or plan.closure.holders:
            self._plan, self._holder_position = plan, None
            return
        position, holder = first
        self._plan, self._holder_position = None, position
        if holder._plans is None:
            object.__setattr__(holder, "_plans", weakref.WeakKeyDictionary())
        holder._plans[self] = plan

    def _warn_if_many(self) -> None:
        if len(self._programs) >= _MANY_PROGRAMS and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self!r} was compiled for {len(self._programs)} different structures. An "
                "attribute of a module that changes on every call (a counter, a list of results) "
                "causes this: hold it in an az.State, or keep it outside of the module.",
                RecompilationWarning,
                stacklevel=5,
            )

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """What `jax.jit(...).lower` gives: the program before compilation, to look at.

        `lower(...).as_text()` is StableHLO, `lower(...).compile().as_text()` the optimised HLO.
        """
        plan = self._planned(args, kwargs)
        program = plan.program
        assert program is not None
        program.active = plan.reference
        return program.executable.lower(
            [cell._value for cell in plan.donated],
            [cell._value for cell in plan.kept],
            plan.arguments.dynamic,
        )

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"az.jit({getattr(self._function, '__qualname__', self._function)})"


@overload
def jit(
    function: Callable[..., Any], *, static_argnames: str | Sequence[str] = (), donate: bool = True
) -> Compiled: ...
@overload
def jit(
    *, static_argnames: str | Sequence[str] = (), donate: bool = True
) -> Callable[[Callable[..., Any]], Compiled]: ...
def jit(
    function: Callable[..., Any] | None = None,
    *,
    static_argnames: str | Sequence[str] = (),
    donate: bool = True,
) -> Any:
    """Compile a function that may read and write parameters and states.

    Modules may be arguments, stand in containers among them, or be closed over. The function is
    traced once, and again only if something that the trace depends on has changed: shapes and
    dtypes of arrays, static arguments, or the structure of a module (its layers, `training`, an
    activation, what is frozen).

    Args:
        function: a function, a module, or a method of a module; also as a decorator in a class.
        static_argnames: names of arguments that are constants of the program.
        donate: whether the memory of written cells is reused for their new values. An array that
            you read from a cell stays valid either way.

    Raises:
        TraceError: when called, if the function would lose a write.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> net = nn.Sequential(nn.Dense(4, activation="relu"), nn.Dense(1))
        >>> @az.jit
        ... def step(x):
        ...     loss, grads = az.value_and_grad(lambda net: (net(x) ** 2).mean())(net)
        ...     for path, p in net.collect_params().items():
        ...         p.value -= 0.1 * grads[path]
        ...     return loss
        >>> first, second = step(jnp.ones((2, 3))), step(jnp.ones((2, 3)))
        >>> bool(second < first)
        True
    """
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    if function is None:
        return functools.partial(jit, static_argnames=names, donate=donate)
    if inspect.ismethod(function) and isinstance(function.__self__, Node):
        compiled = Compiled(function.__func__, names, donate)
        return functools.partial(compiled, function.__self__)
    return Compiled(function, names, donate)


def _positions(function: Callable[..., Any], names: frozenset[str]) -> frozenset[int]:
    if not names:
        return frozenset()
    parameters = list(inspect.signature(function).parameters)
    unknown = names.difference(parameters)
    if unknown:
        raise ValueError(
            f"static_argnames names {sorted(unknown)}, but {function!r} takes {parameters}"
        )
    return frozenset(parameters.index(name) for name in names)


def _debugging_nans() -> bool:
    """Whether JAX will repeat a faulty call operation by operation, for which inputs must live."""
    return bool(getattr(jax.config, "jax_debug_nans", False))


def _named(trace: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """`trace` under the name of the user's function, for profiles and compiled text."""

    def traced(*args: Any) -> Any:
        return trace(*args)

    traced.__name__ = traced.__qualname__ = getattr(function, "__name__", type(function).__name__)
    return traced


def _is_ready(cell: Cell) -> bool:
    return not cell.is_deferred if isinstance(cell, Declared) else cell.has_value


def _value_or_shape(cell: Cell) -> Any:
    if frame.current() is not None or not frame.at_top_level():
        return cell.value
    if cell.has_value:
        return cell.materialize()
    assert isinstance(cell, Declared)
    return jax.ShapeDtypeStruct(cell.shape, cell.dtype)


def _as_shapes(value: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), a.dtype), value)


def _zeros(avals: Any) -> Any:
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), avals)
