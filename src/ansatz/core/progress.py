"""How work that takes a while tells how far it has come."""

from __future__ import annotations

from collections.abc import Callable

ReadProgress = Callable[[str, int], None]
"""Told the name and the bytes of each array, or other part of a file, that was read."""
