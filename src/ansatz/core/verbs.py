"""What every module can do that is built on higher floors.

`net.save(path)` belongs to a module as the user sees it, and to the checkpoint floor as the code
is layered. So the method stands in `Module`, and the floor that knows how hands its function in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_verbs: dict[str, Callable[..., Any]] = {}


def provide(name: str) -> Callable[[F], F]:
    """Make a function `f(module, …)` what the method `name` of every module calls."""

    def register(function: F) -> F:
        _verbs[name] = function
        return function

    return register


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    """Call what was provided for `name`."""
    return _verbs[name](*args, **kwargs)


def tell(name: str, *args: Any) -> None:
    """Call what was provided for `name`, if anything was: a higher floor may want to know."""
    if name in _verbs:
        _verbs[name](*args)
