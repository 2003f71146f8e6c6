"""Where values are loaded from: arrays by name, and what is known of their ties."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ansatz.checkpoint.contents import Contents, Described
from ansatz.checkpoint.formats import open_file
from ansatz.checkpoint.rename import Axes, New, Rename, order_of, renaming
from ansatz.checkpoint.ties import Alias, Ties
from ansatz.core.errors import CheckpointError, TraceError, format_value
from ansatz.core.foreign import to_numpy
from ansatz.core.operators import ArrayOperators


@dataclasses.dataclass(frozen=True, slots=True)
class Stored(Described):
    """What is known of one array before it is read.

    Attributes:
        name: its name in the file, whatever it was renamed to.
        weak: true for Python numbers, which have no dtype of their own.
        turns: the transpositions that a renaming asks for; `shape` is the one after them.
    """

    name: str
    weak: bool = False
    turns: tuple[Axes, ...] = ()

    def turned(self, turns: tuple[Axes, ...], label: str) -> Stored:
        """The same array with its axes in another order.

        Raises:
            CheckpointError: it has not as many axes.
        """
        shape = self.shape
        for axes in turns:
            order = order_of(axes, len(shape))
            if order is None:
                raise CheckpointError(
                    f"a rule of rename gives '{self.name}' in {label} the axes {axes}, but its "
                    f"shape is {shape}"
                )
            shape = tuple(shape[axis] for axis in order)
        return dataclasses.replace(self, shape=shape, turns=(*self.turns, *turns))


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Arrays by name, read when they are asked for.

    Attributes:
        label: the file or mapping, as messages call it.
        origin: the same, as the origin of a parameter tells it.
        entries: what is there, by the name that the network is to know it under.
        ties: the other names of these entries.
        left_out: the names that a renaming dropped.
        fetch: gives the array by its name in the file: a NumPy array that nobody else holds, or a
            JAX array.
        concurrent: whether several threads may call `fetch` at once, and gain by that.
    """

    label: str
    origin: str
    entries: dict[str, Stored]
    ties: Ties
    left_out: tuple[str, ...]
    fetch: Callable[[str], Any]
    concurrent: bool = False

    def read(self, name: str) -> Any:
        """The array of the entry called `name`."""
        stored = self.entries[name]
        array = self.fetch(stored.name)
        for axes in stored.turns:
            array = array.transpose(order_of(axes, array.ndim))
        return array

    @property
    def names(self) -> list[str]:
        """All names that are there, those that the file only tells included."""
        aliases = [alias.name for others in self.ties.values() for alias in others]
        return list(dict.fromkeys([*self.entries, *aliases]))

    def with_aliases(self) -> Source:
        """The same with an entry for every name, also for those that the file only tells."""
        entries = dict(self.entries)
        for kept, others in self.ties.items():
            for alias in others:
                turn: tuple[Axes, ...] = (None,) if alias.transposed else ()
                entries.setdefault(alias.name, self.entries[kept].turned(turn, self.label))
        return dataclasses.replace(self, entries=entries, ties={})

    def under(self, wanted: Callable[[str], bool]) -> Source:
        """Each array under the first of its names that is wanted, and none that has no such name.

        Its other names stay told, wanted or not.
        """
        entries: dict[str, Stored] = {}
        ties: Ties = {}
        for name, stored in self.entries.items():
            told = [alias for alias in self.ties.get(name, ()) if alias.name not in self.entries]
            group = (Alias(name), *self.ties.get(name, ()))
            first = next((a for a in (Alias(name), *told) if wanted(a.name)), None)
            if first is None:
                continue
            entries[first.name] = stored.turned((None,), self.label) if first.transposed else stored
            others = [a for a in group if a != first]
            if others:
                ties[first.name] = tuple(
                    Alias(a.name, a.transposed ^ first.transposed) for a in others
                )
        return dataclasses.replace(self, entries=entries, ties=ties)

    def renamed(self, rename: Rename | None, known: Sequence[str] | None = None) -> Source:
        """The same arrays under the names, and in the layouts, that the network has for them.

        Args:
            rename: see `ansatz.checkpoint.rename`.
            known: the names that a mapping may speak of, if not only those that are there.

        Raises:
            CheckpointError: two entries would have one name, a mapping names what is not there, or
                a transposition does not fit.
        """
        if rename is None:
            return self
        new_name = renaming(rename, self.names if known is None else known, self.label)
        left_out = [name for name in self.entries if new_name(name).name is None]
        # An array whose name is dropped is still there under its other names.
        kept = self.under(lambda name: new_name(name).name is not None)
        entries: dict[str, Stored] = {}
        for name, stored in kept.entries.items():
            new = new_name(name)
            assert new.name is not None
            if new.name in entries:
                raise CheckpointError(
                    f"'{entries[new.name].name}' and '{name}' in {self.label} are both renamed to "
                    f"'{new.name}'; give each a name of its own, or None to leave one out"
                )
            entries[new.name] = stored.turned(new.turns, self.label)
        return dataclasses.replace(
            self,
            entries=entries,
            ties=_renamed_ties(kept.ties, new_name),
            left_out=(*self.left_out, *left_out),
        )


def _renamed_ties(ties: Ties, new_name: Callable[[str], New]) -> Ties:
    renamed: Ties = {}
    for name, aliases in ties.items():
        kept = new_name(name)
        if kept.name is None:
            continue
        others = []
        for alias in aliases:
            new = new_name(alias.name)
            if new.name is None or not {*kept.turns, *new.turns} <= {None}:
                continue  # A tie can transpose, but not move axes in another way.
            turned = (len(kept.turns) + len(new.turns)) % 2 == 1
            others.append(Alias(new.name, alias.transposed ^ turned))
        renamed[kept.name] = tuple(others)
    return renamed


def from_file(path: str | os.PathLike[str]) -> Source:
    """The arrays of a file of any format.

    Raises:
        CheckpointError: its format is not known, or it is damaged.
    """
    return source_of(open_file(path))


def source_of(contents: Contents) -> Source:
    """The arrays of a file that was opened."""
    entries = {
        name: Stored(entry.shape, entry.dtype, name) for name, entry in contents.entries.items()
    }
    origin = os.path.basename(os.path.normpath(contents.path))
    label = f"'{contents.path}'"
    return Source(label, origin, entries, contents.ties, (), contents.read, contents.concurrent)


def from_mapping(mapping: Mapping[str, Any]) -> Source:
    """The arrays of a state dict; values are whatever NumPy can make an array of.

    Raises:
        CheckpointError: a name is not text, or a value is no array of numbers.
        TraceError: a value is a tracer.
    """
    given: Any = mapping
    if not isinstance(given, Mapping):
        raise TypeError(
            "the path of a file is wanted, such as 'net.safetensors', or a mapping from names to "
            f"arrays, such as net.state_dict(); got {format_value(given)}{_instead(given)}"
        )
    arrays: dict[str, Any] = {}
    entries: dict[str, Stored] = {}
    for name, value in mapping.items():
        if not isinstance(name, str):
            raise CheckpointError(f"a name in a state dict is text, got {name!r}")
        arrays[name] = array = _as_array(name, value)
        weak = not hasattr(value, "dtype") or getattr(array, "weak_type", False)
        entries[name] = Stored(array.shape, array.dtype, name, weak)

    def fetch(name: str) -> Any:
        array = arrays[name]
        # The caller may go on writing into a NumPy array of theirs.
        return array if isinstance(array, jax.Array) else np.array(array, order="C")

    return Source("the state dict", "a state dict", entries, {}, (), fetch)


def _instead(given: Any) -> str:
    """What somebody meant who gave this for a file or a mapping."""
    if hasattr(given, "read"):
        return "; pass the path, not an open file"
    return "; pass its state_dict()" if hasattr(given, "state_dict") else ""


def _as_array(name: str, value: Any) -> Any:
    if isinstance(value, ArrayOperators):
        value = value.value
    if isinstance(value, jax.core.Tracer):
        raise TraceError(
            f"the value for '{name}' is a tracer, so load_state_dict was called inside a JAX "
            "transformation; use az.functional_call(net, state, *args) there"
        )
    if isinstance(value, jax.Array | np.ndarray):
        return value
    if isinstance(value, Mapping):
        raise CheckpointError(
            f"the value for '{name}' is itself a mapping, so this is a whole checkpoint and not a "
            f"state dict; load the part of it that is one, such as checkpoint['{name}']"
        )
    try:
        array = to_numpy(value)
    except Exception as error:
        raise CheckpointError(
            f"the value for '{name}' is a {type(value).__name__}, of which NumPy can make no array "
            f"({error}); convert it first"
        ) from error
    if array.dtype.kind in "OSUMm":
        raise CheckpointError(
            f"the value for '{name}' is {format_value(value)}, not an array of numbers; leave it "
            "out, or convert it"
        )
    return array
