"""What a load will do, or did, one row for each parameter."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, overload

from ansatz.checkpoint.hints import computed_hint, prefix_hint, table_hint
from ansatz.core.errors import format_shape
from ansatz.core.html import html_table

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

_SHOWN = 10  # Rows of one status in an error: enough to see what they have in common.
_OPTIMIZERS = ("optimizer.", "optim.", "opt_state.", "optimizer_state_dict.")
_ALIKE = 3  # From so many rows on that say the same, a report has one line for all of them.


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
            everything: false to leave out rows that fit and have nothing to tell, and to have one
                line for many that say the same.
        """
        cells = _cells(self.rows) if everything else _short_cells(self.rows)
        widths = [max((len(cell[i]) for cell in cells), default=0) for i in range(4)]
        return "\n".join(
            "  " + "  ".join([*map(str.ljust, cell[:4], widths), cell[4]]).rstrip()
            for cell in cells
        )

    def complaint(self) -> str:
        """Why the load does not happen: how much is wrong, what would help, then what it is.

        Of many faults of one kind the first ten are shown; the plan has them all.
        """
        faults = {
            status: [row for row in self.faults if row.status == status] for status in MEANINGS
        }
        counts = [f"{len(rows)} {status}" for status, rows in faults.items() if rows]
        lines = [
            f"{self.label} does not fit {self.target}; nothing was loaded: {', '.join(counts)}"
        ]
        names = self.unexpected_keys, self.missing_keys
        hint = table_hint(*names) or prefix_hint(*names) or computed_hint(*names)
        if hint:
            lines.append(f"Hint: {hint}")
        if faults["shape"]:
            lines.append(
                "Hint: on_shape='skip' leaves what has another shape as it is, "
                "on_shape='reinitialise' draws it anew"
            )
        optimizer = [name for name in self.unexpected_keys if name.startswith(_OPTIMIZERS)]
        if optimizer and faults["unexpected"]:
            head = optimizer[0].partition(".")[0]
            lines.append(
                f"Hint: the state of an optimizer is left out by rename={{'{head}.*': None}}, "
                "everything unexpected by strict=False"
            )
        width = max(len(row.status) for row in self.faults)
        for status, rows in faults.items():
            lines += [
                f"  {status:<{width}}  '{row.path}'"
                # Guesses for each name are noise where one prefix explains them all.
                + (f": {row.note}" if row.note and not (hint and _is_guess(row)) else "")
                for row in rows[:_SHOWN]
            ]
            if len(rows) > _SHOWN:
                lines.append(f"  {status:<{width}}  and {len(rows) - _SHOWN} more")
        if any(len(rows) > _SHOWN for rows in faults.values()):
            lines.append("print(net.plan_load(...)), with the same arguments, shows all")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        cells = _short_cells(self.rows) if self.done else _cells(self.rows)
        return html_table(self.headline(), _HEADERS, cells, right=[False] * len(_HEADERS))

    def __repr__(self) -> str:
        table = self.table(everything=not self.done)
        return f"{self.headline()}\n{table}" if table else self.headline()


_HEADERS = ("status", "path", "shape", "dtype", "note")


def _is_guess(row: LoadRow) -> bool:
    return row.status in ("missing", "unexpected")


def _cells(rows: Iterable[LoadRow]) -> list[tuple[str, ...]]:
    return [
        (row.status, row.path, _shape(row), row.dtype, ("! " if row.fault else "") + row.note)
        for row in rows
    ]


def _short_cells(rows: Iterable[LoadRow]) -> list[tuple[str, ...]]:
    """Without what fits, and with one line for conversions, or for what may be absent, alike."""
    alike: dict[tuple[str, ...], list[LoadRow]] = {}
    for row in rows:
        if row.status == "match" and not row.note:
            continue
        said = re.sub(r" \(as '[^']*'\)", "", row.note)  # Its name in the file is its own.
        same = row.status in ("cast", "optional") and not row.fault
        alike.setdefault((row.status, row.dtype, said) if same else (row.path,), []).append(row)
    cells = []
    for (*_, said), group in alike.items():
        if len(group) < _ALIKE:
            cells += _cells(group)
        else:
            first = group[0]
            others = f"{first.path} and {len(group) - 1} more"
            cells.append((first.status, others, "", first.dtype, said))
    return cells


def _shape(row: LoadRow) -> str:
    return "" if row.shape is None else format_shape(row.shape)
