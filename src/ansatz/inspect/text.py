"""What rich shows on a terminal, as plain text."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType


def as_text(shown: RenderableType, width: int = 100) -> str:
    """The lines of a table without colours.

    Args:
        shown: what rich can show.
        width: how many characters a line may have.
    """
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(shown)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())
