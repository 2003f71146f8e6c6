"""Which trainer updates which parameters, so that two do not fight over one unnoticed."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Iterable

from ansatz.core.parameter import Parameter
from ansatz.train.errors import SharedTrainingWarning


class Owner:
    """One trainer's claim on parameters; it ends when the trainer is gone."""

    __slots__ = ("__weakref__", "_warned")

    def __init__(self) -> None:
        self._warned = False

    def claim(self, parameters: Iterable[tuple[str, Parameter]]) -> None:
        """Take these parameters, and no others; warn once if another living trainer has some."""
        contested = []
        with _lock:
            for parameter in [p for p, owner in _owners.items() if owner() is self]:
                del _owners[parameter]
            for path, parameter in parameters:
                other = _owners.get(parameter)
                if other is not None and other() is not None:
                    contested.append(path)
                _owners[parameter] = weakref.ref(self)
        if contested and not self._warned:
            self._warned = True
            warnings.warn(
                f"two trainers update the same parameters ({_shortened(contested)}), each with an "
                "optimizer state of its own that does not know of the other's steps. Train with "
                "one, freeze the parameters that the other one trains, or drop the trainer that "
                "is no longer needed (del trainer).",
                SharedTrainingWarning,
                stacklevel=5,
            )


def _shortened(paths: list[str]) -> str:
    shown = ", ".join(f"'{path}'" for path in paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"


_lock = threading.Lock()
_owners: weakref.WeakKeyDictionary[Parameter, weakref.ref[Owner]] = weakref.WeakKeyDictionary()
