"""`parametrize` and `unparametrize`: let weights be computed, and undo it.

What is selected is looked for below the module that is given. A weight that several layers share is
replaced in all of them, also in those that stand outside of that module: it stays one weight.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ansatz.core import deferral, frame
from ansatz.core.containers import track
from ansatz.core.errors import PathError, StructureError, TieError, TraceError, did_you_mean
from ansatz.core.module import Module
from ansatz.core.node import Node, StandIn, root_of, stood_for, walk
from ansatz.core.parameter import Parameter
from ansatz.core.parametrized import Function, Parametrized, is_invertible
from ansatz.core.paths import Names, Selector, matches, owner_of, put

M = TypeVar("M", bound=Module)
Weight = Parameter | Parametrized
"""A weight before it is parametrised, or parametrised once more."""


def parametrize(
    net: M,
    select: Selector,
    function: Callable[[Any], Any],
    *,
    right_inverse: Callable[[Any], Any] | None = None,
) -> M:
    """Let weights be computed: `layer.weight` becomes `function(original)`.

    The declared parameter lives on as `layer.weight.original`, with the path
    `parametrizations.weight.original` below the layer (PyTorch's name), and is what is trained,
    saved, frozen and initialised. The computed weight is no parameter. Shapes may still be unknown.

    If the weight has a value and there is a right inverse, the original is set so that the value
    stays; otherwise the original has the value of before, or what initialises it.

    Args:
        net: the module that the paths are seen from.
        select: what to parametrise. A glob, regular expression or predicate picks parameters by
            path; a glob or regular expression that fits the path of a layer picks its `weight`, as
            does a type of layer.
        function: computes the weight from the original, with the same shape and dtype. A module
            may hold parameters and states of its own, which it declares in `__init__` and, where
            sizes are open, settles in `infer_shape(original)`; each weight gets a module of its
            own, the given one or a copy. If the module defines `right_inverse`, that is used. One
            that computes the weight from several parameters defines `originals(weight)`, which
            returns them by name, the declared one among them, in the order of `forward`.
        right_inverse: computes an original from a weight; makes `layer.weight.value = w` possible.

    Returns:
        `net`.

    Raises:
        PathError: nothing is selected.
        ShapeError: `function` changes the shape; nothing was changed.
        DTypeError: `function` changes the dtype; nothing was changed.
        TieError: the weight is tied to the transpose of another.
        TraceError: called inside a JAX transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> net = nn.Sequential(nn.Dense(3, in_units=3))
        >>> symmetric = lambda w: jnp.triu(w) + jnp.triu(w, 1).T
        >>> net = az.parametrize(net, "0.weight", symmetric, right_inverse=jnp.triu)
        >>> bool((net[0].weight.value == net[0].weight.value.T).all())
        True
        >>> list(net.collect_params())
        ['0.bias', '0.parametrizations.weight.original']
    """
    if isinstance(function, type):
        raise TypeError(
            f"parametrize takes a function of one array, or a module; got the class "
            f"{function.__name__}: make an object of it, {function.__name__}(…)"
        )
    if not callable(function):
        raise TypeError(f"parametrize takes a function of one array, or a module; got {function!r}")
    if isinstance(function, Module) and right_inverse is not None:
        raise TypeError(
            f"{type(function).__name__} is a module; define right_inverse(self, weight) in it "
            "instead of passing right_inverse="
        )
    given = function if isinstance(function, Module) and function._home_is_open() else None

    def build(weight: Weight) -> Module:
        nonlocal given
        if not isinstance(function, Module):
            return Function(function, right_inverse)
        if given is None:
            return copy.deepcopy(function)
        first, given = given, None
        return first

    return attach(net, select, build)


def attach(
    net: M,
    select: Selector,
    build: Callable[[Weight], Module],
    *,
    least_ndim: int = 0,
) -> M:
    """Put a step of its own on each selected weight, or on none if one of them does not fit.

    Args:
        net: the module that the paths are seen from.
        select: see `parametrize`.
        build: makes the step for a weight.
        least_ndim: leave out what is selected and has fewer dimensions.
    """
    _refuse_in_trace("parametrised")
    chosen = [place for place in _selected(net, select) if place.weight.ndim >= least_ndim]
    if not chosen:
        raise PathError(f"{select!r} selects no parameter with {least_ndim} or more dimensions")
    steps = [build(place.weight) for place in chosen]
    undo: list[Callable[[], None]] = []
    parts: list[tuple[Parametrized, dict[Parameter, Any]]] = []
    try:
        for place, step in zip(chosen, steps, strict=True):
            weight = place.weight
            steps_before = weight.steps if isinstance(weight, Parametrized) else []
            keeps = weight.has_value and is_invertible([*steps_before, step])
            before = weight.value if keeps else None
            if isinstance(weight, Parametrized):
                weight.append(step)
                undo.append(functools.partial(weight._put_steps, steps_before))
                computed = weight
            else:
                computed = _replace_parameter(place, Parametrized(weight, step), undo)
            if not computed.main.is_deferred:
                # Settles the shapes of the step's own parameters, and checks what it gives.
                deferral.settle(lambda weight: weight.value, (computed,), {})
            if before is not None:
                parts.append((computed, computed.parts_of(before)))
    except BaseException:
        for take_back in reversed(undo):
            take_back()
        raise
    for computed, values in parts:
        computed.write(values)
    return net


def unparametrize(net: M, select: Selector | None = None, *, leave_parametrized: bool = True) -> M:
    """Make computed weights parameters again, with exactly the value that they have.

    The value is that of evaluation mode: nothing is updated to compute it. What was frozen stays
    frozen.

    Args:
        net: the module that the paths are seen from.
        select: which weights, as in `parametrize`; without it, all that are computed.
        leave_parametrized: false to go back to the original, as if it had never been parametrised.

    Returns:
        `net`.

    Raises:
        PathError: nothing that is selected is computed.
        DeferredInitializationError: a shape is not known yet; nothing was changed.
        StructureError: `leave_parametrized` is false, and there are several originals.
        TraceError: called inside a JAX transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> layer = az.parametrize(nn.Linear(2, 2), "weight", jnp.tanh)
        >>> before = layer.weight.value
        >>> layer = az.unparametrize(layer)
        >>> layer.weight
        Parameter weight (shape=(2, 2), dtype=float32)
        >>> bool((layer.weight.value == before).all())
        True
    """
    return bake(net, select, keep_value=leave_parametrized)


def bake(
    net: M, select: Selector | None, kind: type[Module] = Module, *, keep_value: bool = True
) -> M:
    """Take the steps of one kind away, and have the originals give the value of before.

    Args:
        net: the module that the paths are seen from.
        select: see `unparametrize`.
        kind: which steps.
        keep_value: false to leave the originals as they are.
    """
    _refuse_in_trace("unparametrised")
    plain = _places(root_of(net))
    jobs = []
    for place in _selected(net, select):
        weight = place.weight
        if not isinstance(weight, Parametrized):
            continue
        kept = [step for step in weight.steps if not isinstance(step, kind)]
        if len(kept) == len(weight.steps):
            continue
        if not kept and weight.main in plain:
            raise TieError(
                f"the original of {weight.describe()} is also '{plain[weight.main].paths[0]}', "
                "which would change with it; az.untie one of them"
            )
        if not keep_value and len(weight.originals) > 1:
            raise StructureError(
                f"{weight.describe()} is {weight.formula()}: there is no single original to go "
                "back to; leave out leave_parametrized=False"
            )
        parts: dict[Parameter, Any] = {}
        if keep_value:
            with _evaluating(weight):
                value = weight.value
            if kept:
                parts = weight.parts_of(value, kept)
            else:
                parts = {weight.main: weight.main.check_value(value)}
        jobs.append((place, weight, kept, parts))
    if not jobs:
        wanted = "" if select is None else f" that {select!r} selects"
        what = "computed" if kind is Module else f"computed by {kind.__name__}"
        raise PathError(f"no weight of {type(net).__name__}{wanted} is {what}")
    for place, weight, kept, parts in jobs:
        weight.write(parts)
        for cell in parts:
            cell.drop_grad()  # It was the gradient of another value.
        if kept:
            weight._put_steps(kept)
        else:
            weight.main._home = None  # So that the layer becomes the home of the parameter again.
            for layer, name in place.spots():
                put(layer, name, weight.main)
    return net


# -- where weights stand ----------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class _Place:
    """A weight, and everywhere it stands.

    Attributes:
        weight: the parameter, or what stands in for it.
        paths: its paths, those of a parameter also where it is computed.
        owners: for each path, the path of the layer, the layer, and the name there.
        transposed: whether a path sees it transposed.
    """

    weight: Weight
    paths: list[str] = dataclasses.field(default_factory=list)
    owners: list[tuple[str, Node, str]] = dataclasses.field(default_factory=list)
    transposed: str = ""

    def spots(self) -> list[tuple[Node, str]]:
        """The layers that hold it, each with the name that it has there."""
        return list(dict.fromkeys((layer, name) for _, layer, name in self.owners))

    def fits(self, select: Selector) -> bool:
        """Whether `select` picks the weight, or a layer of which it is the `weight`."""
        holders = [(path, layer) for path, layer, name in self.owners if name == "weight"]
        if isinstance(select, type):
            return any(isinstance(layer, select) for _, layer in holders)
        names = [*self.paths]
        if not callable(select):
            names.extend(path for path, _ in holders)
        known = Names(names[0], tuple(names[1:]), frozenset(), (), ())
        return bool(matches(select, known, self.weight))


def _places(root: Node) -> dict[Weight, _Place]:
    """Every weight below `root`, apart from those that are part of a parametrisation."""
    found: dict[Weight, _Place] = {}
    nodes: dict[str, Node] = {"": root}
    inside = ""
    for path, entry in walk(root):
        if inside and path.startswith(inside):
            continue
        if isinstance(entry, Parametrized):
            inside = f"{path}."
        elif isinstance(entry, Node):
            nodes[path] = entry
            continue
        elif not isinstance(entry, Parameter):
            continue
        path = stood_for(path) if isinstance(entry, StandIn) else path
        owner = owner_of(path, nodes)
        name = path[len(owner) :].removeprefix(".")
        place = found.setdefault(entry.base, _Place(entry.base))
        place.paths.append(path)
        place.owners.append((owner, nodes[owner], name))
        if entry.base is not entry:
            place.transposed = path
    return found


def _selected(net: Node, select: Selector | None) -> list[_Place]:
    """What is selected below `net`, with all places where it stands, also outside of `net`."""
    own, everywhere = _places(net), _places(root_of(net))
    chosen = [weight for weight, place in own.items() if select is None or place.fits(select)]
    if not chosen and select is not None:
        known = [path for place in own.values() for path in place.paths]
        hint = did_you_mean(select, known) if isinstance(select, str) else ""
        raise PathError(
            f"{getattr(select, 'pattern', select)!r} selects no weight of {type(net).__name__}"
            f"{hint} (there are: {', '.join(known) or 'none'})"
        )
    return [everywhere.get(weight, own[weight]) for weight in chosen]


def _replace_parameter(
    place: _Place, computed: Parametrized, undo: list[Callable[[], None]]
) -> Parametrized:
    weight = computed.main
    if place.transposed:
        raise TieError(
            f"'{place.paths[0]}' cannot be parametrised, because '{place.transposed}' is tied to "
            "its transpose and would go on with the original; az.untie that one before"
        )
    for layer, name in place.spots():
        put(layer, name, computed)
        undo.append(functools.partial(put, layer, name, weight))
    track(weight, computed._ref)  # Now that no layer holds it, this is its home.
    undo.append(functools.partial(setattr, weight, "_home", None))
    return computed


@contextlib.contextmanager
def _evaluating(weight: Parametrized) -> Iterator[None]:
    """Compute it as in evaluation, whatever mode its steps are in."""
    modes = {module: module.training for step in weight.steps for module in step.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _refuse_in_trace(what: str) -> None:
    if frame.current() is not None or not frame.at_top_level():
        raise TraceError(
            f"a weight was {what} inside a JAX trace or an Ansatz transform; do it outside"
        )
