"""Which entries of a file give the value of which parameter, ties included."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

from ansatz.checkpoint.source import Source
from ansatz.core.declared import Declared
from ansatz.core.errors import CheckpointError, did_you_mean
from ansatz.core.module import Module
from ansatz.core.parameter import State
from ansatz.core.paths import Names, Selector, matches, names_of


class Claim(NamedTuple):
    """An entry that gives the value of a parameter.

    Attributes:
        name: the parameter's name under which it was found.
        entry: the entry.
        transposed: true if the parameter holds the transpose of the entry.
    """

    name: str
    entry: str
    transposed: bool


@dataclasses.dataclass(slots=True)
class Target:
    """A parameter or state to be loaded, with the entries that give its value.

    Attributes:
        cell: the parameter or state.
        names: where it stands.
        claims: the entries, each once for each way it is seen.
        absent: the names that the file does not give, if it gives others.
    """

    cell: Declared
    names: Names
    claims: tuple[Claim, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def optional(self) -> bool:
        """Whether a file may leave it out."""
        return isinstance(self.cell, State) and self.cell.optional

    @property
    def also(self) -> str:
        """The other names in words, for messages."""
        aliases = self.names.aliases
        return f"also called {', '.join(map(repr, aliases))}" if aliases else ""

    @property
    def flipped(self) -> bool:
        """Whether even the canonical path sees the transposed value (the base is elsewhere)."""
        return self.names.path in self.names.transposed


def targets_of(module: Module, select: Selector | None) -> list[Target]:
    """The parameters and states to be loaded or saved.

    Raises:
        CheckpointError: the selector picks nothing.
    """
    chosen: list[Target] = []
    others: list[str] = []
    for cell, names in names_of(module).items():
        if not isinstance(cell, Declared):
            continue
        if select is None or matches(select, names, cell):
            chosen.append(Target(cell, names))
        else:
            others.extend(names.all)
    if select is not None and not chosen:
        hint = did_you_mean(select, others) if isinstance(select, str) else ""
        raise CheckpointError(
            f"the selector {getattr(select, 'pattern', select)!r} picks nothing of "
            f"{type(module).__name__}{hint}"
        )
    return chosen


def match(targets: Iterable[Target], source: Source) -> None:
    """Find the entries that give each target, by its names and by the ties of the file."""
    tied = {
        alias.name: (kept, alias.transposed)
        for kept, aliases in source.ties.items()
        for alias in aliases
    }
    for target in targets:
        found: dict[tuple[str, bool], Claim] = {}
        absent = []
        for name in target.names.all:
            flipped = name in target.names.transposed
            if name in source.entries:
                claim = Claim(name, name, flipped)
            elif name in tied:
                entry, transposed = tied[name]
                claim = Claim(name, entry, flipped ^ transposed)
            else:
                absent.append(name)
                continue
            found.setdefault((claim.entry, claim.transposed), claim)
        target.claims = tuple(found.values())
        target.absent = tuple(absent) if found else ()


def notes_on_ties(targets: list[Target], source: Source) -> tuple[dict[int, str], dict[int, str]]:
    """Where the ties of the file are not those of the network, by position of the target.

    Returns:
        What is worth knowing (the file ties what the network holds apart), and what is wrong (each
        of them ties the parameter to something else).
    """
    position = {name: i for i, target in enumerate(targets) for name in target.names.all}
    notes: dict[int, str] = {}
    faults: dict[int, str] = {}
    for kept, aliases in source.ties.items():
        group = [name for name in (kept, *(a.name for a in aliases)) if name in position]
        touched = sorted({position[name] for name in group})
        if len(touched) < 2:
            continue
        together = " and ".join(map(repr, group))
        for i in touched:
            own = targets[i].names.all
            if set(own) <= set(group):
                notes[i] = f"the file ties {together}, the network does not"
            else:
                faults[i] = (
                    f"the file ties {together}, but the network ties "
                    f"{' and '.join(map(repr, own))}; tie them alike before (az.tie, az.untie)"
                )
    return notes, faults
