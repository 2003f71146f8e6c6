"""Where values are loaded from: arrays by name, and what is known of their ties."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ansatz.checkpoint.formats import open_file
from ansatz.checkpoint.ties import Alias, Ties
from ansatz.core.errors import CheckpointError, TraceError
from ansatz.core.operators import ArrayOperators

Rename = Mapping[str, str | None] | Callable[[str], str | None]
"""From a name in the file to the name in the network; `None` leaves the entry out."""


class Stored(NamedTuple):
    """What is known of one array before it is read.

    Attributes:
        name: its name in the file, whatever it was renamed to.
        shape: its shape.
        dtype: its dtype.
        weak: true for Python numbers, which have no dtype of their own.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    weak: bool = False


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
    """

    label: str
    origin: str
    entries: dict[str, Stored]
    ties: Ties
    left_out: tuple[str, ...]
    fetch: Callable[[str], Any]

    def read(self, name: str) -> Any:
        """The array of the entry called `name`."""
        return self.fetch(self.entries[name].name)

    def renamed(self, rename: Rename | None) -> Source:
        """The same arrays under the names that the network is to know them by.

        Raises:
            CheckpointError: two entries would have one name, or a mapping names what is not there.
        """
        if rename is None:
            return self
        if isinstance(rename, Mapping):
            self._check_known(rename)
            chosen = dict(rename)
            new_name: Callable[[str], str | None] = lambda name: chosen.get(name, name)  # noqa: E731
        else:
            new_name = rename
        entries: dict[str, Stored] = {}
        left_out = []
        for name, stored in self.entries.items():
            new = new_name(name)
            if new is None:
                left_out.append(name)
            elif new in entries:
                raise CheckpointError(
                    f"'{entries[new].name}' and '{name}' in {self.label} are both renamed to "
                    f"'{new}'; nothing was loaded"
                )
            else:
                entries[new] = stored
        return dataclasses.replace(
            self,
            entries=entries,
            ties=_renamed_ties(self.ties, new_name),
            left_out=(*self.left_out, *left_out),
        )

    def _check_known(self, rename: Mapping[str, str | None]) -> None:
        aliases = {alias.name for others in self.ties.values() for alias in others}
        unknown = [name for name in rename if name not in self.entries and name not in aliases]
        if unknown:
            raise CheckpointError(
                f"rename speaks of {', '.join(map(repr, unknown))}, but {self.label} holds no such "
                f"name; it holds {_some_of(self.entries)}"
            )


def _renamed_ties(ties: Ties, new_name: Callable[[str], str | None]) -> Ties:
    renamed: Ties = {}
    for name, aliases in ties.items():
        kept = new_name(name)
        others = [(new_name(alias.name), alias.transposed) for alias in aliases]
        if kept is not None:
            renamed[kept] = tuple(Alias(new, flag) for new, flag in others if new is not None)
    return renamed


def _some_of(names: Mapping[str, Any]) -> str:
    shown = [repr(name) for name in list(names)[:8]]
    more = len(names) - len(shown)
    return (", ".join(shown) or "nothing") + (f" and {more} more" if more else "")


def from_file(path: str | os.PathLike[str]) -> Source:
    """The arrays of a file of any format.

    Raises:
        CheckpointError: its format is not known, or it is damaged.
    """
    contents = open_file(path)
    entries = {
        name: Stored(name, entry.shape, entry.dtype) for name, entry in contents.entries.items()
    }
    origin = os.path.basename(os.path.normpath(contents.path))
    return Source(f"'{contents.path}'", origin, entries, contents.ties, (), contents.read)


def from_mapping(mapping: Mapping[str, Any]) -> Source:
    """The arrays of a state dict; values are whatever NumPy can make an array of.

    Raises:
        CheckpointError: a name is not text, or a value is no array of numbers.
        TraceError: a value is a tracer.
    """
    if not isinstance(mapping, Mapping):
        raise TypeError(
            "a mapping from names to arrays is wanted, such as net.state_dict(), got "
            f"{type(mapping).__name__}; to load a file use net.load(path)"
        )
    arrays: dict[str, Any] = {}
    entries: dict[str, Stored] = {}
    for name, value in mapping.items():
        if not isinstance(name, str):
            raise CheckpointError(f"a name in a state dict is text, got {name!r}")
        arrays[name] = array = _as_array(name, value)
        weak = not hasattr(value, "dtype") or getattr(array, "weak_type", False)
        entries[name] = Stored(name, array.shape, array.dtype, weak)

    def fetch(name: str) -> Any:
        array = arrays[name]
        # The caller may go on writing into a NumPy array of theirs.
        return array if isinstance(array, jax.Array) else np.array(array, order="C")

    return Source("the state dict", "a state dict", entries, {}, (), fetch)


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
    try:
        array = np.asarray(value)
    except Exception as error:
        raise CheckpointError(
            f"the value for '{name}' is a {type(value).__name__}, of which NumPy can make no array "
            f"({error}); convert it first"
        ) from error
    if array.dtype.kind in "OSUMm":
        raise CheckpointError(
            f"the value for '{name}' is a {type(value).__name__}, not an array of numbers"
        )
    return array
