"""Tables for notebooks: plain HTML that takes its colours from the page around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

# Colours are those of the notebook, at most mixed with transparency: right in light and in dark.
_TABLE = "border-collapse:collapse;font-size:90%;font-variant-numeric:tabular-nums"
_HEAD = "border-bottom:1px solid rgba(128,128,128,.6);padding:.15em .7em"
_CELL = "padding:.1em .7em"


def html_table(
    title: str,
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[bool],
    foot: Iterable[str] = (),
) -> str:
    """A table in which everything is escaped; it needs no script and no style sheet.

    Args:
        title: what stands above.
        headers: the names of the columns.
        rows: their cells.
        right: for each column, whether it stands to the right, as numbers do.
        foot: lines below.

    Example:
        >>> from ansatz.core.html import html_table
        >>> "&lt;b&gt;" in html_table("net", ["path"], [["<b>"]], right=[False])
        True
    """
    sides = ["right" if each else "left" for each in right]
    head = "".join(
        f'<th scope="col" style="{_HEAD};text-align:{side}">{escape(header)}</th>'
        for header, side in zip(headers, sides, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{_CELL};text-align:{side}">{escape(cell)}</td>'
            for cell, side in zip(row, sides, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    caption = f'<caption style="text-align:left"><b>{escape(title)}</b></caption>'
    below = "".join(f"<div>{escape(line)}</div>" for line in foot)
    return (
        f'<div><table style="{_TABLE}">{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>{below}</div>"
    )
