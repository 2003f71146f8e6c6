"""What is shown on a terminal: tables as plain text, and names that cannot steer it."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

_LONGEST = 200  # Characters of a name in a table.


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


def printable(text: str, *, lines: bool = False) -> str:
    r"""Text from a file, with what would steer a terminal written out.

    Args:
        text: the text.
        lines: true to let it have several lines.

    Example:
        >>> from ansatz.inspect.text import printable
        >>> print(printable("\x1b[2Jweight"))
        \x1b[2Jweight
    """
    return "".join(
        sign
        if sign.isprintable() or (lines and sign == "\n")
        else sign.encode("unicode_escape").decode()
        for sign in text
    )


def name_in_table(name: str) -> str:
    """A name from a file, printable, and without its middle if it would fill the screen."""
    shown = printable(name)
    return shown if len(shown) <= _LONGEST else f"{shown[:100]}…{shown[-60:]}"
