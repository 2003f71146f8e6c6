"""What a load will do, or did, one row for each parameter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, overload

from ansatz.core.errors import format_shape

Status = Literal[
    "match",
    "settled",
    "cast",
    "optional",
    "kept",
    "reinitialised",
    "left out",
    "missing",
    "unexpected",
    "shape",
    "dtype",
    "tie conflict",
    "value",
]

MEANINGS: dict[Status, str] = {
    "match": "fits as it is",
    "settled": "fits, and fixes dimensions that were not known",
    "cast": "fits after the conversion that was allowed",
    "optional": "not in the file, which may leave it out",
    "kept": "another shape; left as it is, as on_shape says",
    "reinitialised": "another shape; drawn anew, as on_shape says",
    "left out": "in the file, but not asked for",
    "missing": "not in the file",
    "unexpected": "in the file, but not in the network",
    "shape": "another shape",
    "dtype": "another dtype",
    "tie conflict": "two names of one parameter contradict each other",
    "value": "values that were refused",
}
"""What each status says."""


@dataclasses.dataclass(frozen=True, slots=True)
class LoadRow:
    """What a load does with one parameter, or with one entry that fits none.

    Attributes:
        path: the canonical path; of an entry that fits nothing, its name in the file.
        status: see `MEANINGS`.
        fault: whether it keeps the load from happening.
        entries: the names in the file that give its value.
        shape: the shape in the network, with `None` for what was not known.
        dtype: the dtype in the network.
        note: what is wrong, or worth knowing.
    """

    path: str
    status: Status
    fault: bool = False
    entries: tuple[str, ...] = ()
    shape: tuple[int | None, ...] | None = None
    dtype: str = ""
    note: str = ""

    @property
    def loads(self) -> bool:
        """Whether the value is taken from the file."""
        return self.status in ("match", "settled", "cast")


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class LoadReport(Sequence[LoadRow]):
    """What a load did with every parameter and every entry of the file.

    Attributes:
        rows: one for each parameter and state, then one for each entry that fits none.
        label: the file or mapping.
        target: the class of the module.
        done: true once the values were loaded.

    Example:
        >>> import numpy as np
        >>> import ansatz.checkpoint
        >>> from ansatz import nn
        >>> net = nn.Sequential(nn.Dense(3))
        >>> net.load_state_dict({"0.weight": np.ones((3, 2), "float32")}, strict=False)
        loaded 1 of 2 from the state dict into Sequential: 1 settled, 1 missing
          settled  0.weight  (3, None)  float32  now (3, 2)
          missing  0.bias    (3,)       float32
    """

    rows: tuple[LoadRow, ...]
    label: str
    target: str
    done: bool = False

    @overload
    def __getitem__(self, index: int) -> LoadRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LoadRow, ...]: ...
    def __getitem__(self, index: int | slice) -> LoadRow | tuple[LoadRow, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[LoadRow]:
        return iter(self.rows)

    def paths(self, *statuses: Status) -> list[str]:
        """The paths with one of these statuses."""
        return [row.path for row in self.rows if row.status in statuses]

    @property
    def missing_keys(self) -> list[str]:
        """The parameters and states that the file does not hold, but has to."""
        return self.paths("missing")

    @property
    def unexpected_keys(self) -> list[str]:
        """The entries of the file that the network has no place for."""
        return self.paths("unexpected")

    @property
    def faults(self) -> list[LoadRow]:
        """What keeps the load from happening."""
        return [row for row in self.rows if row.fault]

    def headline(self) -> str:
        """How much was, or would be, loaded, and a count of each status."""
        known = [row for row in self.rows if row.shape is not None]
        loaded = sum(row.loads for row in known)
        counts = [
            f"{len(self.paths(status))} {status}" for status in MEANINGS if self.paths(status)
        ]
        verb = "loaded" if self.done else "would load"
        return (
            f"{verb} {loaded} of {len(known)} from {self.label} into {self.target}: "
            f"{', '.join(counts) or 'nothing to load'}"
        )

    def table(self, *, everything: bool = True) -> str:
        """The rows as aligned text.

        Args:
            everything: false to leave out rows that fit and have nothing to tell.
        """
        rows = [row for row in self.rows if everything or row.status != "match" or row.note]
        cells = [
            (row.status, row.path, _shape(row), row.dtype, ("! " if row.fault else "") + row.note)
            for row in rows
        ]
        widths = [max((len(cell[i]) for cell in cells), default=0) for i in range(4)]
        return "\n".join(
            "  " + "  ".join([*map(str.ljust, cell[:4], widths), cell[4]]).rstrip()
            for cell in cells
        )

    def __repr__(self) -> str:
        table = self.table(everything=not self.done)
        return f"{self.headline()}\n{table}" if table else self.headline()


def _shape(row: LoadRow) -> str:
    return "" if row.shape is None else format_shape(row.shape)
