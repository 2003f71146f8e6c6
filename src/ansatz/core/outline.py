"""What `print(net)` shows: the modules as a tree, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansatz.core.node import Node, StandIn, own_entries, stood_for
from ansatz.core.parameter import Parameter


def outline(root: Node, remarks_of: Callable[[Any], str]) -> str:
    """The modules from `root` on, one on each line.

    Args:
        root: the outermost of them.
        remarks_of: what stands in the parentheses of a module.
    """
    return _lines(root, remarks_of, {}, ())


def _lines(
    node: Node,
    remarks_of: Callable[[Any], str],
    shown: dict[int, str],
    around: tuple[str, ...],
) -> str:
    head = f"{type(node).__name__}({remarks_of(node)}"
    if id(node) in shown:
        return f"{head})  # shared with {shown[id(node)] or 'the root'}"
    shown[id(node)] = ".".join(around)
    lines = []
    for name, entry in own_entries(node):
        if isinstance(entry, Parameter | StandIn):
            stood = stood_for(name)
            if id(entry.base) in shown:
                lines.append(f"  # {stood} shared with {shown[id(entry.base)]}")
                continue
            shown[id(entry.base)] = ".".join((*around, stood))
            if isinstance(entry, StandIn):
                lines.append(f"  # {stood} is {entry.formula()}")
        elif isinstance(entry, Node):
            below = _lines(entry, remarks_of, shown, (*around, name))
            lines.append(f"  ({name}): " + below.replace("\n", "\n  "))
    return "\n".join([head, *lines, ")"]) if lines else f"{head})"
