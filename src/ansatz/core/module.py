"""Modules: ordinary Python objects with a `forward`, whose parameters are known by path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, Self, cast

import jax

from ansatz.core import clock, deferral, verbs, watch
from ansatz.core import initialize as initialization
from ansatz.core.callsite import CallSite
from ansatz.core.cell import Cell
from ansatz.core.collection import ParameterDict
from ansatz.core.containers import TrackedDict
from ansatz.core.declared import Declared, materialize_all
from ansatz.core.errors import (
    DeferredInitializationError,
    PathError,
    StructureError,
    TraceError,
    format_shape,
    format_value,
)
from ansatz.core.initialize import InitReport
from ansatz.core.node import (
    Node,
    StandIn,
    cells_of,
    children_first,
    declared_in,
    own_entries,
    standing_in,
    walk,
)
from ansatz.core.outline import outline
from ansatz.core.parameter import Parameter, State
from ansatz.core.paths import Selector, find, unreached
from ansatz.core.spelling import check_options, hint_about_call, hinted, mismatch

Hook = Callable[..., Any]


class Module(Node):
    """The base class of layers and networks.

    A subclass sets parameters, states and other modules as attributes (also in lists, tuples and
    dicts) and defines `forward`. Calling the module runs `forward`. A layer whose parameters
    depend on its input leaves those dimensions `None` and says in `infer_shape`, with the arguments
    of `forward`, what they are; it runs before each call, and so also checks later inputs.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import init, nn
        >>> class MyDense(nn.Module):
        ...     def __init__(self, units):
        ...         super().__init__()
        ...         self.units = units
        ...         self.weight = az.Parameter((units, None), init=init.Xavier())
        ...         self.bias = az.Parameter((units,), init="zeros")
        ...
        ...     def infer_shape(self, x):
        ...         self.weight.shape = (self.units, x.shape[-1])
        ...
        ...     def forward(self, x):
        ...         return x @ self.weight.value.T + self.bias.value
        >>> layer = MyDense(3)
        >>> layer.weight.shape
        (3, None)
        >>> layer(jnp.ones((2, 5))).shape
        (2, 3)
        >>> layer.weight.shape
        (3, 5)

    Attributes:
        training: true until `eval()`; layers such as dropout look at it.
    """

    training: bool
    _forward_hooks: Mapping[int, Hook] | None = None
    _infers: bool = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Made in training mode, whether or not the subclass calls `super().__init__()`."""
        if args or kwargs:  # Without any it may be `cls.__new__(cls)`, which needs none.
            check_options(cls, args, kwargs)
        return super().__new__(cls, *args, **kwargs)

    def _start(self) -> None:
        super()._start()
        self.__dict__["training"] = True

    def __init__(self) -> None:
        super().__init__()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if isinstance(value, Cell | Node):
                raise StructureError(
                    f"{cls.__name__}.{name} is a {type(value).__name__} of the class, which all "
                    f"instances would share; make it in __init__: self.{name} = …"
                )
        cls._infers = cls.infer_shape is not Module.infer_shape
        jax.tree_util.register_pytree_node(cls, _refuse_flattening, _refuse_unflattening)

    # -- calling ------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass that is called defines it."""
        named = next((n for n in ("call", "hybrid_forward") if hasattr(type(self), n)), None)
        raise NotImplementedError(
            f"{type(self).__name__} has no forward; "
            + (f"that is what {named!r} is called here: " if named else "")
            + "define what it computes:\n\n    def forward(self, x):\n        return ..."
        )

    def infer_shape(self, *args: Any, **kwargs: Any) -> None:
        """Set the shapes of this module's own parameters from the inputs of `forward`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` and the hooks, after settling what the first call has to settle."""
        if self._settled_at != clock.structure:
            self._settle(args, kwargs)
        try:
            if self._infers:
                self.infer_shape(*args, **kwargs)
            output = self.forward(*args, **kwargs)
        except Exception as error:
            self._explain(error, args, kwargs)
        if self._forward_hooks:
            for hook in tuple(self._forward_hooks.values()):
                replaced = hook(self, args, output)
                output = output if replaced is None else replaced
        if (watched := watch.current()) is not None:
            watched.note(self, output)
        return output

    def _settle(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Find unknown shapes before the first call, and after every change of the structure."""
        if deferral.is_under_way():
            return
        stamp = clock.structure
        initialization.plan_first_call(self)
        waiting = deferral.waiting_cells(declared_in(self))
        if any(cell.is_deferred for cell in waiting):
            deferral.settle(self, args, kwargs, draw=waiting)
        else:
            materialize_all(waiting)
        object.__setattr__(self, "_settled_at", stamp)

    def _explain(self, error: Exception, args: Any, kwargs: Any) -> NoReturn:
        """Re-raise with the path of the innermost layer, as seen from here, and its inputs."""
        site = getattr(error, "_ansatz_site", None)
        if site is None:
            site = CallSite(self, self._own_line(), args, kwargs, error)
            error._ansatz_site = site  # type: ignore[attr-defined]
            if isinstance(error, TypeError) and (wrong := mismatch(self.forward, args, kwargs)):
                # Python speaks of the method that it came to first, such as infer_shape of a base.
                error.args = (f"{type(self).__name__}.forward: {wrong}",)
            if hint := hint_about_call(self.forward, args, kwargs, error):
                error.add_note(f"{type(self).__name__}: {hint}")
        site.seen_from(self, error)
        raise error

    def register_forward_hook(self, hook: Hook) -> Callable[[], None]:
        """Call `hook(module, args, output)` after each forward.

        Args:
            hook: what it returns replaces the output, unless that is `None`.

        Returns:
            A function that removes the hook again.
        """
        if self._forward_hooks is None:
            self._forward_hooks = {}
        hooks = self._forward_hooks
        assert isinstance(hooks, TrackedDict)
        key = max(hooks, default=-1) + 1
        hooks[key] = hook

        def remove() -> None:
            hooks.pop(key, None)
            if not hooks and self.__dict__.get("_forward_hooks") is hooks:
                del self._forward_hooks  # As alike to other layers as it was before.

        return remove

    # -- structure ----------------------------------------------------------------------------

    def add_module(self, name: str, module: Module) -> Self:
        """Add a child under any name without a dot, also one with spaces.

        Raises:
            StructureError: the name is empty, holds a dot, or is taken.
        """
        if not name or "." in name:
            raise StructureError(
                f"a child cannot be called {name!r}: a name is not empty and holds no dot, which "
                "separates the parts of a path"
            )
        if name in self.__dict__ or hasattr(type(self), name):
            why = "an attribute of the class; choose another name"
            if name in self.__dict__:
                why = f"taken already: {self.__dict__[name]!r}; to replace it, assign to it"
            raise StructureError(
                f"a child of {type(self).__name__} cannot be called {name!r}, which is {why}"
            )
        if not isinstance(module, Module):
            raise TypeError(f"a child is a module, got {module!r} of type {type(module).__name__}")
        setattr(self, name, module)
        return self

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct children with their names, each distinct one once."""
        seen: set[int] = set()
        for name, entry in own_entries(self):
            if isinstance(entry, Module) and id(entry) not in seen:
                seen.add(id(entry))
                yield name, entry

    def children(self) -> Iterator[Module]:
        """The direct children, each distinct one once."""
        return (child for _, child in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module (under the empty path) and all below it, each distinct one once."""
        seen = {id(self)}
        yield "", self
        for path, entry in walk(self):
            if isinstance(entry, Module) and id(entry) not in seen:
                seen.add(id(entry))
                yield path, entry

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each distinct one once."""
        return (module for _, module in self.named_modules())

    @hinted("the pure function of values is az.functional_call(net, state, x)")
    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module below and on this one, children first, each once."""
        if not callable(function):
            raise TypeError(
                f"apply calls a function on each module, got {format_value(function)}; the pure "
                "function of values is az.functional_call(net, state, x)"
            )
        for node in children_first(self):
            if isinstance(node, Module):
                function(node)
        return self

    def get_submodule(self, path: str) -> Module:
        """The module at `path`; the empty path is this module itself.

        Raises:
            PathError: there is none; the message suggests near names.
        """
        found = self if path == "" else find(self, path)
        if not isinstance(found, Module):
            raise PathError(f"'{path}' is a {type(found).__name__}, not a module")
        return found

    def get_parameter(self, path: str) -> Parameter:
        """The parameter at `path`, under any of its names.

        Raises:
            PathError: there is none; the message suggests near names.
        """
        found = find(self, path)
        if not isinstance(found, Parameter):
            hint = f"; it is {found.formula()}" if isinstance(found, StandIn) else ""
            raise PathError(f"'{path}' is a {type(found).__name__}, not a parameter{hint}")
        return found

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below to training (or, with `False`, to evaluation)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch this module and all below to evaluation."""
        return self.train(False)

    # -- parameters ---------------------------------------------------------------------------

    def collect_params(self, select: Selector | None = None) -> ParameterDict:
        """The parameters by canonical path, each distinct one once, in definition order.

        Args:
            select: a glob over paths, a compiled regular expression, a module type or a predicate
                `f(path, parameter)`; without one, all.
        """
        return ParameterDict(self, select)

    def named_parameters(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their paths.

        Args:
            remove_duplicate: false to list a tied parameter under each of its names.
        """
        seen: set[Cell] = set()
        listed = cells_of(self).items() if remove_duplicate else ((c, p) for p, c in walk(self))
        for cell, path in listed:
            if isinstance(cell, Parameter) and not (remove_duplicate and cell.base in seen):
                seen.add(cell.base)
                yield path, cell

    def parameters(self) -> Iterator[Parameter]:
        """The parameters, each distinct one once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_states(self) -> Iterator[tuple[str, State]]:
        """The states (running statistics, random streams, …) with their canonical paths."""
        for cell, path in cells_of(self).items():
            if isinstance(cell, State):
                yield path, cell

    @hinted("the seed is a number, and an input settles shapes: initialize(seed=0, example=x)")
    def initialize(
        self,
        init: Any = None,
        *,
        seed: int | None = None,
        force_reinit: bool = False,
        example: Any = None,
    ) -> InitReport:
        """Initialise all parameters and states below, by one default or by rules.

        What has a value already is left alone. A parameter whose shape is not known yet is drawn
        as soon as it is; its values are the same as if it had been known at once.

        Args:
            init: one initialiser, name or function, for every parameter whose layer leaves the
                choice open; or rules `{selector: initialiser}`, of which the first that selects a
                parameter wins over what its layer declared. A selector is a glob over paths, a
                compiled regular expression, a module type (the parameters its modules leave
                open), or a predicate `f(path, parameter)`.
            seed: the seed of the event; without one, the next of the global stream.
            force_reinit: draw again what has a value.
            example: an input, or a tuple of inputs, as arrays or `jax.ShapeDtypeStruct`: settles
                all shapes first, by a run that computes nothing.

        Returns:
            For each path what was done, with which initialiser, and who chose it.

        Raises:
            InitializationError: an initialiser cannot fill the parameter; nothing has changed.
        """
        if example is not None:
            deferral.settle_by_example(self, example)
        return initialization.initialize(self, init, seed=seed, force_reinit=force_reinit)

    def settle_shapes(self, *args: Any, **kwargs: Any) -> Self:
        """Find the shapes of all parameters from example inputs, without computing anything.

        Args:
            *args: what `forward` takes, as arrays or `jax.ShapeDtypeStruct`.
            **kwargs: likewise.
        """
        deferral.settle(self, args, kwargs)
        return self

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self.collect_params().zero_grad()

    def freeze(self, select: Selector | None = None) -> Self:
        """Take the selected parameters (all, without a selector) out of training."""
        ParameterDict(self, select).freeze()
        return self

    def unfreeze(self, select: Selector | None = None) -> Self:
        """Put the selected parameters (all, without a selector) back into training."""
        ParameterDict(self, select).unfreeze()
        return self

    def state_dict(self, *, aliases: bool = False) -> dict[str, jax.Array]:
        """The values of all parameters and states by path; they do not change afterwards.

        Args:
            aliases: true to list a tied parameter under each of its names, as PyTorch does. By
                default each distinct one stands once, under its canonical path.

        Raises:
            DeferredInitializationError: a shape is unknown; the message names every such path.
        """
        waiting = unreached(self)
        if waiting:
            raise DeferredInitializationError(
                f"the shapes of {', '.join(repr(path) for path in waiting)} are not known yet, "
                "because no call has reached them. Pass one batch through the network, or call "
                "net.initialize(example=jax.ShapeDtypeStruct(shape, dtype))."
            )
        if aliases:
            held = {p: cell.value for p, cell in walk(self) if isinstance(cell, Declared)}
        else:
            standing = standing_in(self)
            held = {path: standing[path].value for path in declared_in(self).values()}
        verbs.tell("state_dict_given", self, held)
        return held

    def load_state_dict(self, state: Mapping[str, Any], **options: Any) -> Any:
        """Load values by path, all or nothing; see `Module.load` for the options."""
        return verbs.call("load_state_dict", self, state, **options)

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write all parameters and states to a file, whole or not at all.

        Args:
            path: the file; an existing one is replaced in one step.
            **options: see `ansatz.checkpoint.save`.
        """
        verbs.call("save", self, path, **options)

    def load(self, path: str | os.PathLike[str], **options: Any) -> Any:
        """Load what `save` wrote: planned, checked, and only then committed.

        Args:
            path: the file.
            **options: see `ansatz.checkpoint.load`.

        Raises:
            CheckpointError: with what would help, and the missing, unexpected and unfitting
                entries, of many of one kind the first ten; nothing changed.
        """
        return verbs.call("load", self, path, **options)

    def plan_load(self, source: Any, **options: Any) -> Any:
        """What loading would do, as a table, before it is done; `plan.commit()` does it.

        Args:
            source: a file, or arrays by name.
            **options: see `ansatz.checkpoint.plan_load`.
        """
        return verbs.call("plan_load", self, source, **options)

    def summary(self, *args: Any, **kwargs: Any) -> Any:
        """A table of all parameters; with inputs, shapes are settled first. Print it."""
        return verbs.call("summary", self, *args, **kwargs)

    def drift(self, select: Selector | None = None) -> Any:
        """Whether each parameter is still at its initial draw, and how far it has gone. Print it.

        Args:
            select: only the parameters that this picks.
        """
        return verbs.call("drift", self, select)

    def graph(self) -> str:
        """A drawing of the modules and their ties, as SVG; a notebook shows it."""
        return cast("str", verbs.call("graph", self))

    # -- printing -----------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands in the parentheses of this module's own line: by default, its own shapes."""
        return ", ".join(
            f"{name}={format_shape(cell.shape)}"
            for name, cell in own_entries(self)
            if isinstance(cell, Declared)
        )

    def _own_line(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def __repr__(self) -> str:
        return outline(self, lambda module: module.extra_repr())

    def _repr_html_(self) -> str:
        """The summary as a table, for notebooks."""
        return cast("str", verbs.call("html", self))

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name.isidentifier()]


# Networks of PyTorch have layers called `summary` or `graph`, and their files are loaded by name.
_methods = {name for name, own in vars(Module).items() if name[0] != "_" and callable(own)}
Module._reserved = frozenset(_methods - {"drift", "graph", "summary"})


def _refuse_flattening(module: Module) -> NoReturn:
    raise TraceError(
        f"{type(module).__name__} was passed to jax.jit, jax.grad, jax.tree or another JAX "
        "function, but a module is not a pytree: its ties and states would be lost. Use the "
        "transform of the same name from ansatz, az.jit(f)(net, x), or pass the values: "
        "az.functional_call(net, state, x) with state = net.state_dict()."
    )


def _refuse_unflattening(_: Any, __: Any) -> NoReturn:
    raise TraceError("a module is not a pytree")


jax.tree_util.register_pytree_node(Module, _refuse_flattening, _refuse_unflattening)
