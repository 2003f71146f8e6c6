"""The modules of a network as a drawing: a tree, with arcs between what is shared."""

from __future__ import annotations

from html import escape

from ansatz.core import verbs
from ansatz.core.declared import Declared
from ansatz.core.errors import format_shape
from ansatz.core.module import Module
from ansatz.core.node import walk
from ansatz.core.paths import names_of

_LINE, _INDENT, _LETTER, _EDGE = 22, 20, 7.3, 12  # Pixels; letters are those of a 12 px monospace.


class Drawing(str):
    """SVG as a string, which notebooks show."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)


@verbs.provide("graph")
def graph(module: Module) -> Drawing:
    """A drawing of the modules and parameters of a network, with an arc for each tie.

    Each name has a line of its own, below the module that it belongs to. A module or parameter that
    stands in several places is joined to its first by an arc. Lines and letters take the colour of
    the text around them, where the drawing is part of a page.

    Args:
        module: the network.

    Returns:
        An SVG document as a string.

    Example:
        >>> from ansatz import nn
        >>> from ansatz.inspect import graph
        >>> shared = nn.Linear(2, 2)
        >>> graph(nn.Sequential(shared, shared)).count('class="tie"')
        1
    """
    tied = {name for names in names_of(module).values() for name in names.all[1:]}
    lines = [("", type(module).__name__)]
    firsts: dict[object, int] = {}
    again: list[str] = []  # Modules that were drawn before; what is below them is not repeated.
    ties: list[tuple[int, int]] = []
    for path, entry in walk(module):
        if any(path.startswith(f"{above}.") for above in again):
            continue
        if isinstance(entry, Module):
            key: object = entry
            text = type(entry).__name__
        elif isinstance(entry, Declared):
            key = entry.base
            text = format_shape(entry.shape)
        else:
            continue
        if key in firsts:
            ties.append((firsts[key], len(lines)))
            if isinstance(entry, Module):
                again.append(path)
            elif path in tied and entry.base is not entry:
                text += ", transposed"
        else:
            firsts[key] = len(lines)
        lines.append((path, text))
    return Drawing(_svg(type(module).__name__, lines, ties))


def _svg(title: str, lines: list[tuple[str, str]], ties: list[tuple[int, int]]) -> str:
    depths = [path.count(".") + 1 if path else 0 for path, _ in lines]
    texts = [f"{path.rpartition('.')[2]} {text}".strip() for path, text in lines]
    right = max(
        _EDGE + depth * _INDENT + _LETTER * len(text)
        for depth, text in zip(depths, texts, strict=True)
    )
    reach = max((_bend(a, b) for a, b in ties), default=0)
    height = len(lines) * _LINE + _EDGE
    parts = []
    above: list[int] = []  # The line of the last entry at each depth.
    for i, ((path, _), depth, text) in enumerate(zip(lines, depths, texts, strict=True)):
        x, y = _EDGE + depth * _INDENT, _middle(i)
        del above[depth:]
        if above:
            start = _EDGE + (len(above) - 1) * _INDENT + 4
            parts.append(
                f'<path class="branch" d="M{start} {_middle(above[-1]) + 8}V{y}H{x - 4}"/>'
            )
        above += [i] * (depth + 1 - len(above))
        parts.append(
            f'<text x="{x}" y="{y + 4}">{escape(text)}<title>{escape(path or title)}</title></text>'
        )
    for a, b in ties:
        bend = right + 4 + _bend(a, b)
        begin, end = (_EDGE + depths[i] * _INDENT + _LETTER * len(texts[i]) + 4 for i in (a, b))
        parts.append(
            f'<path class="tie" d="M{begin:.0f} {_middle(a)}'
            f'C{bend:.0f} {_middle(a)} {bend:.0f} {_middle(b)} {end:.0f} {_middle(b)}"/>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + reach + _EDGE:.0f}" '
        f'height="{height}" role="img" font-family="monospace" font-size="12" fill="currentColor">'
        f"<title>{escape(title)}</title>"
        '<g fill="none" stroke="currentColor" stroke-opacity=".4">'
        + "".join(part for part in parts if 'class="branch"' in part[:20])
        + '</g><g fill="none" stroke="#c8571f" stroke-width="1.5">'
        + "".join(part for part in parts if 'class="tie"' in part[:20])
        + "</g>"
        + "".join(part for part in parts if part.startswith("<text"))
        + "</svg>"
    )


def _middle(line: int) -> int:
    return _EDGE + line * _LINE + 4


def _bend(a: int, b: int) -> int:
    """How far an arc reaches out: the longer it is, the farther."""
    return min(160, 24 + 6 * abs(b - a))
