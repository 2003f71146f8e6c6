"""Tables of what is in files, as rich shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ansatz.inspect.arrays import ArrayRow
from ansatz.inspect.difference import Difference
from ansatz.inspect.text import name_in_table, printable


def table_of(rows: Sequence[ArrayRow], remarks: Mapping[str, str], *, values: bool) -> Table:
    """One line for each array.

    Args:
        rows: the arrays.
        remarks: what is worth knowing of some of them, by name.
        values: whether the values were read.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", overflow="fold")
    table.add_column("shape", no_wrap=True)
    table.add_column("dtype", style="cyan", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    if values:
        for header in ("mean", "std", "min", "max"):
            table.add_column(header, justify="right", no_wrap=True)
    table.add_column("remarks", style="yellow")
    for row in rows:
        numbers = [_short(x) for x in (row.mean, row.std, row.min, row.max)] if values else []
        notes = "; ".join(filter(None, (remarks.get(row.name, ""), *faults_of(row))))
        table.add_row(
            # A name is data: brackets in it are no markup.
            Text(name_in_table(row.name)),
            str(row.shape),
            row.dtype,
            f"{row.size:,}",
            f"{row.nbytes:,}",
            *numbers,
            Text(printable(notes)),
        )
    return table


def faults_of(row: ArrayRow) -> list[str]:
    """What is wrong, or odd, with an array."""
    found = []
    if row.nans:
        found.append(f"{row.nans:,} NaN")
    if row.infs:
        found.append(f"{row.infs:,} infinite")
    if row.constant:
        found.append("all zero" if row.zeros == row.size else "constant")
    elif row.dead_rows:
        found.append(f"{row.dead_rows:,} of {row.shape[0]:,} rows zero")
    elif row.size > 1 and 10 * row.zeros > row.size:
        found.append(f"{100 * row.zeros / row.size:.0f}% zero")
    return found


def difference_table(found: Difference) -> Table:
    """One line for each name that is not the same on both sides."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("", "name", "largest difference", "relative", "cosine", "remarks"):
        table.add_column(header, overflow="fold")
    for name in found.removed:
        table.add_row("[red]removed[/red]", Text(name_in_table(name)))
    for name in found.added:
        table.add_row("[green]added[/green]", Text(name_in_table(name)))
    for old, new in found.renamed:
        both = f"{name_in_table(old)} → {name_in_table(new)}"
        table.add_row("[blue]renamed[/blue]", Text(both))
    for change in found.changed:
        numbers = [_short(x) for x in (change.largest, change.relative, change.cosine)]
        shown = Text(name_in_table(change.name))
        table.add_row("[yellow]changed[/yellow]", shown, *numbers, Text(change.what))
    return table


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:.4g}"


def as_json(row: ArrayRow, remark: str) -> dict[str, Any]:
    """A row for other programs; NaN has no place in JSON."""
    told: dict[str, Any] = {
        "name": row.name,
        "shape": list(row.shape),
        "dtype": row.dtype,
        "size": row.size,
        "nbytes": row.nbytes,
    }
    if row.digest:
        told |= {
            key: getattr(row, key)
            for key in ("mean", "std", "min", "max", "zeros", "nans", "infs", "constant")
        }
        told["dead_rows"] = row.dead_rows
    if remark:
        told["remark"] = remark
    return told
