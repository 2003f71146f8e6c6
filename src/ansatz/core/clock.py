"""The two counters by which compiled functions notice change without looking at every module.

* `structure` grows whenever an attribute or container of any module changes. While it stands
  still, a compiled function takes the program of its last call without any check.
* `exposures` grows whenever an array that lives in a cell is handed out to the user, so that the
  next donating call knows that it has to look for arrays that must stay alive.

Both only ever take fresh values (`itertools.count` is atomic), so a lost race between two threads
makes a check run once more, never once less.
"""

from __future__ import annotations

import itertools

_structures = itertools.count(1)
_exposures = itertools.count(1)

structure: int = 0
exposures: int = 0


def structure_changed() -> None:
    """Say that a module changed in a way that a trace may depend on."""
    global structure
    structure = next(_structures)


def array_exposed() -> None:
    """Say that some cell's own array is now also in the user's hands."""
    global exposures
    exposures = next(_exposures)
