"""Containers: modules that run others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self, overload

from ansatz.core.errors import PathError, did_you_mean
from ansatz.core.module import Module


class Sequential(Module):
    """Runs its children one after the other.

    Args:
        *layers: the children, called `"0"`, `"1"`, …; or one mapping from names to children.

    Example:
        >>> from ansatz import nn
        >>> net = nn.Sequential(nn.Dense(4), nn.Dense(2))
        >>> net.append(nn.Dense(1))
        Sequential(
          (0): Dense(None -> 4)
          (1): Dense(None -> 2)
          (2): Dense(None -> 1)
        )
        >>> net[-1], len(net), len(net[:2])
        (Dense(None -> 1), 3, 2)
    """

    def __init__(self, *layers: Module | dict[str, Module]) -> None:
        super().__init__()
        if len(layers) == 1 and isinstance(layers[0], dict):
            for name, layer in layers[0].items():
                self.add_module(name, layer)
        else:
            self.extend(layers)  # type: ignore[arg-type]

    def forward(self, x: Any) -> Any:
        for layer in self._layers():
            x = layer(x)
        return x

    def _named_layers(self) -> list[tuple[str, Module]]:
        return [(name, v) for name, v in vars(self).items() if isinstance(v, Module)]

    def _layers(self) -> list[Module]:
        return [value for value in vars(self).values() if isinstance(value, Module)]

    def __len__(self) -> int:
        return len(self._layers())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers())

    def __bool__(self) -> bool:
        return True

    @overload
    def __getitem__(self, index: int | str) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | str | slice) -> Module:
        named = self._named_layers()
        if isinstance(index, slice):
            part = type(self).__new__(type(self))
            for name, layer in named[index]:
                setattr(part, name, layer)
            return part
        if isinstance(index, str):
            return dict(named)[self._known_name(index)]
        if not -len(named) <= index < len(named):
            raise IndexError(f"index {index} is out of range for {len(named)} layers")
        return named[index][1]

    def __setitem__(self, index: int | str, layer: Module) -> None:
        name = index if isinstance(index, str) else self._named_layers()[index][0]
        setattr(self, self._known_name(name), _checked(layer))

    def __delitem__(self, index: int | str) -> None:
        name = index if isinstance(index, str) else self._named_layers()[index][0]
        self._put([item for item in self._named_layers() if item[0] != self._known_name(name)])

    def _known_name(self, name: str) -> str:
        known = [held for held, _ in self._named_layers()]
        if name not in known:
            raise PathError(f"no layer is called {name!r}{did_you_mean(name, known)}")
        return name

    def add(self, *layers: Module) -> Self:
        """Append several layers; returns the container."""
        return self.extend(layers)

    def append(self, layer: Module) -> Self:
        """Append a layer; returns the container."""
        return self.extend([layer])

    def extend(self, layers: Iterable[Module]) -> Self:
        """Append layers; returns the container."""
        self._put([*self._named_layers(), *(("", _checked(layer)) for layer in layers)])
        return self

    def insert(self, index: int, layer: Module) -> Self:
        """Insert a layer before `index`; numbered layers behind it move up by one."""
        named = self._named_layers()
        named.insert(index, ("", _checked(layer)))
        self._put(named)
        return self

    def _put(self, named: list[tuple[str, Module]]) -> None:
        """Hold these layers, numbering by position those that have no name of their own."""
        for name, _ in self._named_layers():
            delattr(self, name)
        for position, (name, layer) in enumerate(named):
            setattr(self, str(position) if not name or name.isdigit() else name, layer)


def _checked(layer: Any) -> Module:
    if not isinstance(layer, Module):
        raise TypeError(
            f"a layer of Sequential is a module, got {layer!r} of type {type(layer).__name__}; "
            "wrap a function as nn.Lambda(function)"
        )
    return layer
