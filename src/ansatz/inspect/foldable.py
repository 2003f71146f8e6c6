"""What treescope shows of modules, parameters and states: objects that can be folded.

Nothing here is imported before treescope itself asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from ansatz.core import verbs
from ansatz.core.cell import Cell
from ansatz.core.declared import Declared
from ansatz.core.node import Node
from ansatz.core.parameter import Parameter


@verbs.provide("treescope")
def foldable(shown: Node | Cell, path: str | None, subtree_renderer: Callable[..., Any]) -> Any:
    """What `__treescope_repr__` of modules, parameters and states returns.

    A value that is not drawn yet stays so. Whatever stands in several places is marked as shared by
    treescope itself.

    Args:
        shown: the module, parameter or state.
        path: where it stands, as treescope writes it.
        subtree_renderer: what renders the parts.
    """
    from treescope.formatting_util import color_from_string
    from treescope.repr_lib import render_object_constructor

    def render(part: Any, path: str | None = None) -> Any:
        return subtree_renderer(part, path=_spelled(path))

    if isinstance(shown, Cell):
        return render_object_constructor(type(shown), _parts_of_cell(shown), path, render)
    colour = color_from_string(type(shown).__qualname__)
    return render_object_constructor(type(shown), _parts_of_node(shown), path, render, color=colour)


def _parts_of_node(node: Node) -> dict[str, Any]:
    return {name: value for name, value in vars(node).items() if not name.startswith("_")}


def _parts_of_cell(cell: Cell) -> dict[str, Any]:
    if isinstance(cell, Declared) and cell.base is not cell:
        return {"base": cell.base}
    parts: dict[str, Any] = {}
    if cell.has_value:
        # Not cell.value, which would have the next training step copy it instead of donating it.
        value = cell.materialize()
        parts["value"] = value if not isinstance(value, jax.core.Tracer) else str(value)
    elif isinstance(cell, Declared):
        parts |= {"shape": cell.shape, "dtype": str(cell.dtype)}
    if isinstance(cell, Parameter):
        parts["trainable"] = cell.trainable
    return parts


def _spelled(path: str | None) -> str | None:
    """The path as Python: the layers of a `Sequential` are called `0`, `1`, …."""
    if path is None:
        return None
    owner, _, name = path.rpartition(".")
    if name.isidentifier():
        return path
    return f"{owner}[{name}]" if name.isdecimal() else f"getattr({owner}, {name!r})"
