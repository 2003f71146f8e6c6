"""The mapping that `collect_params` gives: parameters by path, with verbs for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from ansatz.core import verbs
from ansatz.core.errors import PathError, did_you_mean, format_shape
from ansatz.core.initialize import InitReport, initialize
from ansatz.core.node import Node, standing_in
from ansatz.core.parameter import Parameter
from ansatz.core.paths import Selector, find, matches, names_of, warn_unmatched
from ansatz.core.spelling import hinted, no_attribute


class ParameterDict(Mapping[str, Parameter]):
    """Parameters by canonical path, each distinct one once, with verbs for all of them.

    Example:
        >>> from ansatz import nn
        >>> net = nn.Sequential(nn.Dense(256), nn.Dense(10))
        >>> net.collect_params()
        Sequential (
          Parameter 0.weight (shape=(256, None), dtype=float32, deferred)
          Parameter 0.bias (shape=(256,), dtype=float32, not initialised yet)
          Parameter 1.weight (shape=(10, None), dtype=float32, deferred)
          Parameter 1.bias (shape=(10,), dtype=float32, not initialised yet)
        )
        >>> net.collect_params("*.bias").freeze()
        >>> [path for path, p in net.collect_params().items() if p.trainable]
        ['0.weight', '1.weight']
    """

    __slots__ = ("_held", "_root")  # A mistyped attribute is refused.

    def __init__(self, root: Node, select: Selector | None = None) -> None:
        standing = standing_in(root)
        everything = {
            names.path: (entry, names)
            for names in names_of(root).values()
            if isinstance(entry := standing[names.path], Parameter)
        }
        self._root = root
        self._held = {
            path: (cell, names)
            for path, (cell, names) in everything.items()
            if select is None or matches(select, names, cell)
        }
        if select is not None and not self._held:
            warn_unmatched(select, everything)

    def __getitem__(self, path: str) -> Parameter:
        if path in self._held:
            return self._held[path][0]
        for cell, names in self._held.values():
            if path in names.aliases:
                # A tied name may see the parameter transposed.
                return cast("Parameter", find(self._root, path)) if names.transposed else cell
        every = [name for _, names in self._held.values() for name in names.all]
        raise PathError(
            f"no parameter stands at '{path}'{did_you_mean(path, every)} "
            f"(there are: {', '.join(every) or 'none'})"
        )

    def __getattr__(self, name: str) -> Any:
        # Only called for what is missing.
        raise no_attribute(self, name, dir(type(self)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, path: object) -> bool:
        return any(path in names.all for _, names in self._held.values())

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """The other names of each tied parameter, by canonical path."""
        return {path: n.aliases for path, (_, n) in self._held.items() if n.aliases}

    @property
    def root(self) -> Node:
        """The module that the paths are seen from."""
        return self._root

    # -- verbs --------------------------------------------------------------------------------

    @hinted("the seed is a number: initialize(seed=0)")
    def initialize(
        self, init: Any = None, *, seed: int | None = None, force_reinit: bool = False
    ) -> InitReport:
        """Initialise these parameters; see `Module.initialize`."""
        only = set(self.values())
        return initialize(self._root, init, seed=seed, force_reinit=force_reinit, only=only)

    def freeze(self) -> None:
        """Take these parameters out of training."""
        for parameter in self.values():
            parameter.trainable = False

    def unfreeze(self) -> None:
        """Put these parameters back into training."""
        for parameter in self.values():
            parameter.trainable = True

    def zero_grad(self) -> None:
        """Set the gradients to zero."""
        for parameter in self.values():
            parameter.zero_grad()

    def cast(self, dtype: Any) -> None:
        """Convert these parameters to another floating dtype."""
        for parameter in self.values():
            parameter.cast(dtype)

    def set(self, values: Mapping[str, Any]) -> None:
        """Set values by path: all of them, or none if one does not fit.

        Raises:
            PathError: a name that no parameter has.
            ShapeError, DTypeError: a value that does not fit.
        """
        checked = [(self[path], self[path].check_value(value)) for path, value in values.items()]
        for parameter, value in checked:
            parameter.value = value

    def save(self, path: Any) -> None:
        """Write these parameters to a safetensors file; see `Module.save`."""
        held = set(self.values())
        verbs.call("save", self._root, path, select=lambda _, cell: cell in held)

    def __repr__(self) -> str:
        lines = [f"{type(self._root).__name__} ("]
        for path, (cell, names) in self._held.items():
            remarks = cell._remarks()
            if names.aliases:
                remarks += ", also " + " and ".join(names.aliases)
            shape = format_shape(cell.shape)
            lines.append(f"  Parameter {path} (shape={shape}, dtype={cell.dtype}{remarks})")
        return "\n".join([*lines, ")"])

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        return cast("str", verbs.call("html", self))
