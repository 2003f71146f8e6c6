"""Laying out a summary as lines of styled text, which plain text and rich share."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.text import Text

from ansatz.core.errors import format_shape
from ansatz.core.html import html_table
from ansatz.inspect.cost import Cost
from ansatz.inspect.outputs import calls_in_words
from ansatz.inspect.rows import SummaryRow, Totals

Segment = tuple[str, str]
"""Some text and its style."""

_GAP = "  "
_INDENT = " " * 12
_SHORTEST_PATH = 12
_SHORTEST_ORIGIN = 16
_SHORTEST_OUTPUT = 12
_LONGEST_OUTPUT = 36  # A wider one, of a layer that gives a nested structure, is cut.
_HTML_WIDTH = 1000  # The browser breaks lines itself.
_LISTED = 10  # More names than this in one sentence are only counted.
_EXPENDABLE = ("dtype", "mean", "std", "layer", "kind")  # Left out in this order.


@dataclasses.dataclass(frozen=True, slots=True)
class _Column:
    """One column: what it is called, what it says of a row, and how."""

    header: str
    cell: Callable[[SummaryRow], str]
    style: Callable[[SummaryRow], str] = lambda row: ""
    right: bool = False


def _shape(row: SummaryRow) -> str:
    if row.kind == "layer":
        return ""
    return _plural(row.entries) if row.shape is None else format_shape(row.shape)


def _count(row: SummaryRow) -> str:
    if row.kind == "layer":
        return ""
    return "?" if row.count is None else f"{row.count:,}"


_COLUMNS = (
    _Column("path", lambda row: row.path, lambda row: "bold" if row.shared_with is None else ""),
    _Column("layer", lambda row: row.layer, lambda row: "cyan"),
    _Column("output", lambda row: calls_in_words(row.outputs), lambda row: "green"),
    _Column(
        "kind",
        lambda row: "" if row.kind == "layer" else row.kind,
        lambda row: "" if row.trainable else "yellow",
    ),
    _Column(
        "shape",
        _shape,
        lambda row: "yellow" if row.count is None and row.shared_with is None else "",
    ),
    _Column("dtype", lambda row: row.dtype),
    _Column("count", _count, right=True),
    _Column("mean", lambda row: _number(row.mean), lambda row: _alarm(row.mean), right=True),
    _Column("std", lambda row: _number(row.std), lambda row: _alarm(row.std), right=True),
)


def _short_origin(row: SummaryRow) -> str:
    """The origin with what matters first, since a narrow table cuts its end."""
    text = row.origin.removeprefix("initialised by ")
    if text.endswith(_UPDATED):
        return f"updated, was {text.removesuffix(_UPDATED)}"
    return text


_UPDATED = ", then updated"
_ORIGIN = _Column("origin", _short_origin, lambda row: "dim")


def lines(
    title: str,
    rows: Sequence[SummaryRow],
    totals: Totals,
    width: int,
    *,
    outputs: Sequence[Any] = (),
    cost: Cost | None = None,
) -> Iterator[list[Segment]]:
    """The lines of the table, as segments of text and style.

    Args:
        title: what stands above.
        rows: the rows.
        totals: what stands below.
        width: how many characters a line may have.
        outputs: what the calls of the whole network gave.
        cost: what one call costs, if that is known.
    """
    yield [(title, "bold"), (_shortened(_arrow(outputs), max(0, width - len(title))), "green")]
    yield []
    if rows:
        yield from _table(rows, width)
        yield []
    yield from _footer(totals, width, cost)


def _arrow(outputs: Sequence[Any]) -> str:
    return f" → {calls_in_words(outputs)}" if outputs else ""


def html(
    title: str,
    rows: Sequence[SummaryRow],
    totals: Totals,
    *,
    outputs: Sequence[Any] = (),
    cost: Cost | None = None,
) -> str:
    """The same as an HTML table, in which everything finds room.

    Args:
        title: what stands above.
        rows: the rows.
        totals: what stands below.
        outputs: what the calls of the whole network gave.
        cost: what one call costs, if that is known.
    """
    own = [row for row in rows if row.shared_with is None]
    columns = [column for column in (*_COLUMNS, _ORIGIN) if _tells_something(column, own)]
    cells = [_html_cells(row, columns) for row in rows]
    foot = ["".join(text for text, _ in line) for line in _footer(totals, _HTML_WIDTH, cost)]
    headers, right = [column.header for column in columns], [column.right for column in columns]
    return html_table(title + _arrow(outputs), headers, cells, right=right, foot=foot)


def _html_cells(row: SummaryRow, columns: Sequence[_Column]) -> list[str]:
    if row.shared_with is None:
        return [column.cell(row) for column in columns]
    before = [column.cell(row) for column in _before_pointer(columns)]
    between = [""] * (len(columns) - len(before) - 1)
    return [*before, *between, f"= {row.shared_with}{_ending(row)}"]


def _table(rows: Sequence[SummaryRow], width: int) -> Iterator[list[Segment]]:
    columns, widths = _fitting(rows, width)
    yield _line(columns, widths, lambda column: (column.header, "bold"))
    yield _line(columns, widths, lambda column: ("─" * widths[column.header], "dim"))
    for row in rows:
        if row.shared_with is None:
            yield _line(columns, widths, _content_of(row))
        else:
            yield _shared(row, columns, widths, width)


def _content_of(row: SummaryRow) -> Callable[[_Column], Segment]:
    return lambda column: (column.cell(row), column.style(row))


def _fitting(rows: Sequence[SummaryRow], width: int) -> tuple[list[_Column], dict[str, int]]:
    """The columns that find room, and their widths."""
    own = [row for row in rows if row.shared_with is None]
    widths = {
        column.header: max(len(column.header), *(len(column.cell(row)) for row in rows))
        for column in (*_COLUMNS, _ORIGIN)
    }
    widths["output"] = min(_LONGEST_OUTPUT, widths["output"])
    columns = [column for column in _COLUMNS if _tells_something(column, own)]
    for header in _EXPENDABLE:
        if _needed(rows, columns, widths) <= width:
            break
        columns = [column for column in columns if column.header != header]
    excess = _needed(rows, columns, widths) - width
    if excess > 0 and widths["output"] > _SHORTEST_OUTPUT:
        widths["output"] = max(_SHORTEST_OUTPUT, widths["output"] - excess)
        excess = _needed(rows, columns, widths) - width
    if excess > 0:
        shortest = min(_SHORTEST_PATH, widths["path"])
        widths["path"] = max(shortest, widths["path"] - excess)
    room = width - _total(columns, widths) - len(_GAP)
    if room >= min(_SHORTEST_ORIGIN, widths["origin"]) and any(row.origin for row in own):
        columns.append(_ORIGIN)
        widths["origin"] = min(widths["origin"], room)
    return columns, widths


def _needed(rows: Sequence[SummaryRow], columns: Sequence[_Column], widths: dict[str, int]) -> int:
    """The width of the columns, or of a row that points to another if that is more."""
    pointers = [
        len(_GAP) + len("= ") + min(_SHORTEST_PATH, len(row.shared_with)) + len(_ending(row))
        for row in rows
        if row.shared_with is not None
    ]
    before = _total(_before_pointer(columns), widths)
    return max([_total(columns, widths), *(before + pointer for pointer in pointers)])


def _before_pointer(columns: Sequence[_Column]) -> Sequence[_Column]:
    headers = [column.header for column in columns]
    return columns[: headers.index("shape") + 1]


def _ending(row: SummaryRow) -> str:
    return ", transposed" if row.transposed else ""


def _tells_something(column: _Column, rows: Sequence[SummaryRow]) -> bool:
    if column.header == "kind":
        return any(row.kind not in ("trained", "layer") for row in rows)
    if column.header in ("mean", "std"):
        return any(row.mean is not None for row in rows)
    if column.header in ("layer", "output", "origin"):
        return any(column.cell(row) for row in rows)
    return True


def _total(columns: Iterable[_Column], widths: dict[str, int]) -> int:
    sizes = [widths[column.header] for column in columns]
    return sum(sizes) + len(_GAP) * (len(sizes) - 1)


def _line(
    columns: Iterable[_Column],
    widths: dict[str, int],
    content: Callable[[_Column], Segment],
) -> list[Segment]:
    segments: list[Segment] = []
    for column in columns:
        text, style = content(column)
        room = widths[column.header]
        text = _shortened_path(text, room) if column.header == "path" else _shortened(text, room)
        if segments:
            segments.append((_GAP, ""))
        segments.append((text.rjust(room) if column.right else text.ljust(room), style))
    return segments


def _shared(
    row: SummaryRow, columns: Sequence[_Column], widths: dict[str, int], width: int
) -> list[Segment]:
    """A row that only points to another; the text takes the room of all columns behind shape."""
    before = _before_pointer(columns)
    segments = _line(before, widths, _content_of(row))
    room = width - _total(before, widths) - len(_GAP) - len("= ") - len(_ending(row))
    target = _shortened_path(row.shared_with or "", max(_SHORTEST_PATH, room))
    return [*segments, (f"{_GAP}= {target}{_ending(row)}", "magenta")]


def _shortened(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _shortened_path(path: str, room: int) -> str:
    """The end of a path says more than its beginning."""
    return path if len(path) <= room else "…" + path[len(path) - room + 1 :]


def _plural(count: int) -> str:
    return "1 array" if count == 1 else f"{count} arrays"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _alarm(value: float | None) -> str:
    return "bold red" if value is not None and not math.isfinite(value) else ""


def _footer(totals: Totals, width: int, cost: Cost | None) -> Iterator[list[Segment]]:
    if totals.frozen and totals.trainable:
        share = f" ({totals.trainable:,} trained, {totals.frozen:,} frozen)"
    else:
        share = ", all frozen" if totals.frozen else ", all trained" if totals.trainable else ""
    facts = [
        f"{totals.parameters:,}{share}",
        *totals.dtypes,
        _bytes(totals.parameter_bytes),
    ]
    yield from _sentence("parameters", ", ".join(facts), width)
    if totals.states:
        yield from _sentence("states", f"{totals.states:,}, {_bytes(totals.state_bytes)}", width)
    if cost is not None:
        yield from _sentence("one call", str(cost), width)
    by_reason: dict[str, list[str]] = {}
    for path, reason in totals.deferred.items():
        by_reason.setdefault(reason, []).append(path)
    for reason, paths in by_reason.items():
        yield from _sentence("not known", f"{len(paths)}: {reason}", width, "yellow")
        for path in paths[:_LISTED]:
            yield [
                (f"            {_shortened_path(path, max(_SHORTEST_PATH, width - 12))}", "yellow")
            ]
        if len(paths) > _LISTED:
            yield [(f"            and {len(paths) - _LISTED} more", "yellow")]


def _sentence(head: str, text: str, width: int, style: str = "") -> Iterator[list[Segment]]:
    """A heading, and text that is broken between words where it is too long."""
    for i, part in enumerate(textwrap.wrap(text, max(1, width - len(_INDENT)))):
        heading = head if i == 0 else ""
        yield [(f"{heading:<{len(_INDENT)}}", f"bold {style}".strip()), (part, style)]


def _bytes(count: int) -> str:
    if count < 1000:
        return f"{count} bytes"
    size = float(count)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} TB"


def coloured(lines: Iterable[Sequence[Segment]]) -> Iterator[Text]:
    """The lines for a rich console."""
    for segments in lines:
        yield Text.assemble(*segments, no_wrap=True, end="\n")
