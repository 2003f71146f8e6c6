r"""Which name, and which layout, the entry of a file has in the network.

A renaming is one of these, or a list of them, each applied to what the one before it gave:

* a mapping from names to names. A name may be a glob, where `*` stands for anything: in the new
  name, each `*` is what it stood for. The first that fits is taken, exact names before globs;
  names that fit none stay. Every key has to fit something.
* a `Rule`: a glob or regular expression, the name that replaces it, and the axes of the layout.
* a function from name to name.

`None` in place of a name leaves the entry out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import Any, NamedTuple

from ansatz.core.errors import CheckpointError, did_you_mean

Axes = tuple[int | EllipsisType, ...] | None
"""The order of the axes, as NumPy's `transpose` takes it, where `...` is those that are not named;
`None` reverses them."""


_SAME = "\0"  # No name has it.


class New(NamedTuple):
    """What an entry becomes.

    Attributes:
        name: its name in the network; `None` if it is left out.
        turns: the transpositions on its way, one after the other.
    """

    name: str | None
    turns: tuple[Axes, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    r"""Renames, transposes or leaves out every entry that a pattern fits; the others stay.

    Args:
        pattern: a glob over the whole name (`"h.*.attn.c_attn.weight"`), or a compiled regular
            expression, searched in the name.
        name: the new name: for a glob, with a `*` for each of its `*`; for a regular expression,
            what the part found is replaced by, with `\1` for its groups. Without it the name stays;
            `None` leaves the entry out.
        transpose: true to reverse the axes; or their new order, such as `(3, 2, 0, 1)` for a
            convolution of Keras. `...` stands for the axes that are not named, in their order:
            `(-1, -2, ...)` is the same for a kernel of any rank.

    Example:
        >>> import numpy as np
        >>> from ansatz import nn
        >>> from ansatz.checkpoint import Rule
        >>> net = nn.Sequential(nn.Dense(3, use_bias=False))
        >>> held = {"layers.0.kernel": np.ones((2, 3), "float32")}
        >>> net.load_state_dict(held, rename=Rule("layers.*.kernel", "*.weight", transpose=True))
        loaded 1 of 1 from the state dict into Sequential: 1 settled
          settled  0.weight  (3, None)  float32  now (3, 2)
    """

    pattern: str | re.Pattern[str]
    name: str | None = _SAME
    transpose: bool | tuple[int | EllipsisType, ...] = False

    def __call__(self, name: str) -> New:
        """What the entry called `name` becomes."""
        found = _fit(self.pattern, name)
        if found is None:
            return New(name)
        if self.name is None:
            return New(None)
        turns = (_axes(self.transpose),) if self.transpose else ()
        if self.name == _SAME:
            return New(name, turns)
        if isinstance(self.pattern, str):
            return New(_filled(self.name, found), turns)
        return New(name[: found.start()] + found.expand(self.name) + name[found.end() :], turns)


def order_of(axes: Axes, rank: int) -> tuple[int, ...] | None:
    """Where each axis of an array of so many comes from; `None` if it cannot be turned so.

    Example:
        >>> from ansatz.checkpoint.rename import order_of
        >>> order_of((-1, -2, ...), 4)
        (3, 2, 0, 1)
    """
    if axes is None:
        return tuple(reversed(range(rank)))
    named = [axis % rank for axis in axes if not isinstance(axis, EllipsisType) and rank]
    rest = [axis for axis in range(rank) if axis not in named]
    order: list[int] = []
    for axis in axes:
        order += rest if isinstance(axis, EllipsisType) else [axis]
    sound = all(-rank <= axis < rank for axis in order)
    order = [axis % rank for axis in order] if sound and rank else order
    return tuple(order) if sorted(order) == list(range(rank)) else None


def _axes(transpose: bool | tuple[int | EllipsisType, ...]) -> Axes:
    return None if transpose is True else tuple(transpose)  # type: ignore[arg-type]


Step = Mapping[str, str | None] | Rule | Callable[[str], str | None]
Rename = Step | Sequence[Step]
"""See the head of this module."""


def strip_prefix(prefix: str) -> Rule:
    """Takes a prefix from the names that have it, as `module.` of PyTorch's DataParallel.

    Where it is used, at least one name has to have it.

    Example:
        >>> from ansatz.checkpoint import strip_prefix
        >>> strip_prefix("module.")("module.0.weight").name
        '0.weight'
    """
    return _Prefix(re.compile(f"^{re.escape(prefix)}"), "", prefix=prefix)


@dataclasses.dataclass(frozen=True, slots=True)
class _Prefix(Rule):
    """What `strip_prefix` gives: unlike other rules, it has to fit something."""

    prefix: str = ""

    def check(self, known: Sequence[str], label: str) -> None:
        """Refuse a prefix that no name has, or after which all names go on with a dot."""
        rests = [name.removeprefix(self.prefix) for name in known if name.startswith(self.prefix)]
        if known and not rests:
            heads = [name[: name.find(".") + 1] for name in known if "." in name]
            raise CheckpointError(
                f"no name in {label} begins with {self.prefix!r}, which is to be stripped"
                f"{did_you_mean(self.prefix, heads)}; it holds {_some_of(known)}"
            )
        if rests and all(rest.startswith(".") for rest in rests):
            raise CheckpointError(
                f"without {self.prefix!r}, names in {label} would begin with a dot, such as "
                f"{rests[0]!r}; strip {self.prefix + '.'!r}"
            )


def renaming(rename: Rename, known: Sequence[str], label: str) -> Callable[[str], New]:
    """The function that a renaming describes.

    Args:
        rename: the renaming.
        known: the names that are there.
        label: the file, for messages.

    Raises:
        CheckpointError: a mapping names what is not there.
    """
    single = isinstance(rename, Mapping | Rule) or callable(rename)
    steps: Any = rename if isinstance(rename, list | tuple) and not single else [rename]
    functions: list[Callable[[str], New]] = []

    def so_far(name: str) -> New:
        turns: tuple[Axes, ...] = ()
        for function in functions:
            new = function(name)
            if new.name is None:
                return new
            name, turns = new.name, (*turns, *new.turns)
        return New(name, turns)

    for step in steps:
        if isinstance(step, Mapping):
            names = [new.name for new in map(so_far, known) if new.name is not None]
            function: Callable[[str], New] = _of_mapping(step, names, label)
        elif isinstance(step, Rule):
            if isinstance(step, _Prefix):
                names = [new.name for new in map(so_far, known) if new.name is not None]
                step.check(names, label)
            function = step
        elif callable(step):
            function = _of_function(step)
        else:
            raise TypeError(
                "rename is a mapping, a function, a Rule or a list of these, got "
                f"{type(step).__name__}"
            )
        functions.append(function)
    return so_far


def _of_function(function: Callable[[str], str | None]) -> Callable[[str], New]:
    return lambda name: New(function(name))


def _of_mapping(
    chosen: Mapping[str, str | None], known: Sequence[str], label: str
) -> Callable[[str], New]:
    present = set(known)
    globs = [Rule(key, new) for key, new in chosen.items() if _is_glob(key, present)]
    idle = {key for key in chosen if key not in present}
    for rule in globs:
        if any(_fit(rule.pattern, name) for name in known):
            idle.discard(str(rule.pattern))
    if idle:
        raise CheckpointError(
            f"rename speaks of {', '.join(repr(key) for key in chosen if key in idle)}, but "
            f"{label} holds no such name; it holds {_some_of(known)}"
        )

    def new_name(name: str) -> New:
        if name in chosen:
            return New(chosen[name])
        return next((rule(name) for rule in globs if _fit(rule.pattern, name)), New(name))

    return new_name


def _is_glob(key: str, known: set[str]) -> bool:
    return "*" in key and key not in known


def _fit(pattern: str | re.Pattern[str], name: str) -> re.Match[str] | None:
    if isinstance(pattern, re.Pattern):
        return pattern.search(name)
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch("(.*)".join(parts), name, re.DOTALL)


def _filled(template: str, found: re.Match[str]) -> str:
    first, *rest = template.split("*")
    if len(rest) > len(found.groups()):
        raise CheckpointError(
            f"the new name {template!r} has more * than the pattern that it replaces"
        )
    return first + "".join(found.group(i) + part for i, part in enumerate(rest, 1))


def _some_of(names: Sequence[str]) -> str:
    shown = [repr(name) for name in list(names)[:8]]
    more = len(names) - len(shown)
    return (", ".join(shown) or "nothing") + (f" and {more} more" if more else "")
