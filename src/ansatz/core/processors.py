"""How many threads are worth starting."""

from __future__ import annotations

import os


def available() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only.
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
