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
from typing import Any, overload

import jax

from ansatz.core import clock, watch
from ansatz.core.arguments import Arguments
from ansatz.core.cell import Cell
from ansatz.core.closures import Closure
from ansatz.core.deferral import Restart, is_under_way
from ansatz.core.errors import RecompilationWarning, TraceError, format_function, format_value
from ansatz.core.frame import at_top_level, current
from ansatz.core.node import Node
from ansatz.core.program import Outgrown, Plan, Program, debugging_nans
from ansatz.core.spelling import hinted

_MANY_PROGRAMS = 16
_MOST_TRACES = 12


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
        position = self._holder_position
        plan = self._plan if position is None else self._known_plan(args, position)
        if plan is not None and current() is None and plan.is_current():
            dynamic = plan.arguments.match(args, kwargs)
            if dynamic is not None:
                try:
                    return plan.run(dynamic)
                except (Restart, Outgrown, TraceError):
                    pass  # Nothing was committed; look again with care.
                except TypeError:
                    self.check(*args, **kwargs)
                    raise
        return self._call_with_care(args, kwargs)

    @property
    def traces(self) -> int:
        """How often the function was traced so far."""
        return self._traces_before + sum(program.traces for program in self._programs.values())

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Refuse arguments that cannot be traced; calls do so themselves.

        Raises:
            TypeError: an argument is a string, an array of another library or the like.
        """
        self._arguments(args, kwargs).check(self._function)

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        return Arguments(args, kwargs, self._static_positions, self._static_names)

    def _known_plan(self, args: tuple[Any, ...], position: int) -> Plan | None:
        if position < len(args):
            plans = getattr(args[position], "_plans", None)
            if plans is not None:
                known: Plan | None = plans.get(self)
                return known
        return None

    def _call_with_care(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if watch.current() is not None:  # A program that was traced before calls no module.
            return self._function(*args, **kwargs)
        narrower: Program | None = None
        for _ in range(_MOST_TRACES):
            plan, dynamic = self._planned(args, kwargs, narrower)
            try:
                if current() is not None or not at_top_level():
                    return plan.run_nested(dynamic)
                return plan.run(dynamic)
            except Restart:  # Shapes were settled on a way that other arrays had not taken.
                narrower = None
            except Outgrown:  # These shapes touch other cells; one program shall serve them all.
                narrower = plan.program
        raise self._endless()

    def _planned(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], narrower: Program | None = None
    ) -> tuple[Plan, Any]:
        """A plan for this call and its arrays: of an existing program, or of a new one."""
        arguments = self._arguments(args, kwargs)
        arguments.check(self._function)
        # The arrays of a call do not stay with the plan.
        dynamic, arguments.dynamic = arguments.dynamic, None
        known = self._plan_of(arguments)
        if (
            known is not None
            and narrower is None
            and known.is_current()
            and known.arguments == arguments
        ):
            return known, dynamic
        extra: list[Cell] = []
        for _ in range(_MOST_TRACES):
            plan = Plan(clock.structure, Closure(self._function), arguments, extra)
            key = self._key(plan, arguments)
            program = None if narrower is not None else self._programs.get(key)
            if program is None:
                program = Program(self._function, donate=self._donate)
                try:
                    program.discover(plan, dynamic, narrower)
                except Restart:
                    extra = plan.extra
                    continue
                finally:
                    self._traces_before += program.traces
                    program.traces = 0
                program.keep_alive = plan.fingerprint.kept
                replaced = self._programs.get(key)
                self._traces_before += replaced.traces if replaced is not None else 0
                self._programs[key] = program
                self._warn_if_many()
            plan.bind(program)
            if not is_under_way():
                self._remember(plan)
            return plan, dynamic
        raise self._endless()

    def _endless(self) -> TraceError:
        return TraceError(
            f"{self!r} was traced {_MOST_TRACES} times and met new states or parameters each "
            "time; create states, parameters and modules outside of the compiled function, and "
            "the layers of a module in __init__, not in forward"
        )

    def _key(self, plan: Plan, arguments: Arguments) -> Hashable:
        key = (plan.fingerprint.key, plan.closure.statics, arguments.key, debugging_nans())
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(
                f"a static argument of {self!r} is not hashable: {error}; static arguments are "
                "compared between calls and have to be hashable (use a tuple for a list)"
            ) from None
        return key

    def _plan_of(self, arguments: Arguments) -> Plan | None:
        first = arguments.first_module
        if first is None or self._plan is not None:
            return self._plan
        known: Plan | None = first._plans.get(self) if first._plans is not None else None
        return known

    def _remember(self, plan: Plan) -> None:
        """Keep the plan with the first module among the arguments, so that it dies with it."""
        first = plan.arguments.first_module
        if first is None or plan.closure.holders:
            self._plan, self._holder_position = plan, None
            return
        positions = (i for i, holder in plan.arguments.holders if holder is first)
        self._plan, self._holder_position = None, next(positions, None)
        if first._plans is None:
            object.__setattr__(first, "_plans", weakref.WeakKeyDictionary())
        first._plans[self] = plan

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
        plan, dynamic = self._planned(args, kwargs)
        program = plan.program
        assert program is not None
        program.active = plan.reference
        return program.executable.lower(
            [cell._value for cell in plan.donated],
            [cell._value for cell in plan.kept],
            dynamic,
        )

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else BoundCompiled(self, instance)

    def __repr__(self) -> str:
        return f"az.jit({getattr(self._function, '__qualname__', self._function)})"


class BoundCompiled(functools.partial[Any]):
    """A compiled method of one module: call it like the method."""

    @property
    def traces(self) -> int:
        """How often the method was traced so far, for all modules together."""
        traces: int = self.func.traces  # type: ignore[attr-defined]
        return traces

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """The program before compilation; see `Compiled.lower`."""
        lowered: jax.stages.Lowered = self.func.lower(  # type: ignore[attr-defined]
            *self.args, *args, **kwargs
        )
        return lowered


@overload
def jit(
    function: Callable[..., Any], *, static_argnames: str | Sequence[str] = (), donate: bool = True
) -> Compiled: ...
@overload
def jit(
    *, static_argnames: str | Sequence[str] = (), donate: bool = True
) -> Callable[[Callable[..., Any]], Compiled]: ...
@hinted()
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
        >>> az.seed(0)
        >>> net = nn.Sequential(nn.Dense(4), nn.Dense(1))
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
    names = _checked_names(static_argnames)
    if not isinstance(donate, bool):
        raise TypeError(
            f"donate is True or False, for all cells that are written, got {format_value(donate)}"
        )
    if not (function is None or callable(function)):
        raise TypeError(
            f"jit compiles a function or a module, got {format_value(function)}; write az.jit(f), "
            "and call what it returns"
        )
    if function is None:
        return functools.partial(jit, static_argnames=names, donate=donate)
    if inspect.ismethod(function) and isinstance(function.__self__, Node):
        compiled = Compiled(function.__func__, names, donate)
        return BoundCompiled(compiled, function.__self__)
    return Compiled(function, names, donate)


def _checked_names(given: Any) -> tuple[str, ...]:
    if given is None:  # As `jax.jit` has it.
        return ()
    listed = isinstance(given, Iterable) and not isinstance(given, str)
    names = tuple(given) if listed else (given,)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(
            "static_argnames is the name of an argument, or a tuple of names, got "
            f"{format_value(given)}"
        )
    return names


def _positions(function: Any, names: frozenset[str]) -> frozenset[int]:
    if not names:
        return frozenset()
    called: Any = getattr(function, "forward", function) if isinstance(function, Node) else function
    parameters = inspect.signature(called).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = names.difference(parameters)
    if unknown and not open_ended:
        raise ValueError(
            f"static_argnames names {sorted(unknown)}, but {format_function(function)} takes "
            f"{list(parameters)}"
        )
    positional = [
        name
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return frozenset(i for i, name in enumerate(positional) if name in names)
