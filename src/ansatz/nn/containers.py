"""Containers: modules that hold layers in an order, and run them one after the other."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from ansatz.core.errors import PathError, did_you_mean
from ansatz.core.module import Module


class Container(Module):
    """The base of modules that hold layers in an order; a subclass says how it runs them.

    Args:
        *layers: the layers, called `"0"`, `"1"`, …; or one mapping from names to layers.
    """

    def __init__(self, *layers: Module | Mapping[str, Module]) -> None:
        super().__init__()
        first = layers[0] if layers else None
        if isinstance(first, Mapping) and len(layers) == 1:
            for name, layer in first.items():
                self.add_module(name, checked_layer(layer))
        else:
            self.extend(layers)

    # -- reading ------------------------------------------------------------------------------

    def _named_layers(self) -> list[tuple[str, Module]]:
        return [(name, v) for name, v in self.__dict__.items() if isinstance(v, Module)]

    def _layers(self) -> list[Module]:
        return [value for value in self.__dict__.values() if isinstance(value, Module)]

    def __len__(self) -> int:
        return len(self._layers())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers())

    def __bool__(self) -> bool:
        return True  # `if net:` asks whether there is a network, not whether it has layers.

    @overload
    def __getitem__(self, index: int | str) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | str | slice) -> Module:
        if isinstance(index, slice):
            return self._part(self._named_layers()[index])
        module: Module = self.__dict__[self._name_at(index)]
        return module

    def _part(self, named: list[tuple[str, Module]]) -> Self:
        """A container of this type with some of the layers, and with all other attributes."""
        part = self._blank()
        for name, value in self.__dict__.items():
            if name[:1] != "_" and not isinstance(value, Module):
                setattr(part, name, value)
        for name, layer in named:
            setattr(part, name, layer)
        return part

    def _name_at(self, index: int | str) -> str:
        """The name of the layer at a position or with a name.

        Raises:
            PathError: no layer has this name.
            IndexError: there are fewer layers.
        """
        names = [name for name, _ in self._named_layers()]
        if isinstance(index, str):
            if index not in names:
                raise PathError(
                    f"no layer is called {index!r}{did_you_mean(index, names)} "
                    f"(the layers are: {', '.join(names) or 'none'})"
                )
            return index
        position = operator.index(index)
        if not -len(names) <= position < len(names):
            raise IndexError(f"index {position} is out of range for {len(names)} layers")
        return names[position]

    # -- changing -----------------------------------------------------------------------------

    def __setitem__(self, index: int | str, layer: Module) -> None:
        setattr(self, self._name_at(index), checked_layer(layer))

    def __delitem__(self, index: int | str | slice) -> None:
        named = self._named_layers()
        if isinstance(index, slice):
            gone = {name for name, _ in named[index]}
        else:
            gone = {self._name_at(index)}
        self._arrange([item for item in named if item[0] not in gone])

    def pop(self, index: int | str = -1) -> Module:
        """Take out a layer, the last one by default, and return it."""
        layer = self[index]
        del self[index]
        return layer

    def add(self, *layers: Module) -> Self:
        """Append several layers; returns the container."""
        return self.extend(layers)

    def append(self, layer: Module) -> Self:
        """Append a layer; returns the container."""
        return self.extend([layer])

    def extend(self, layers: Iterable[Any]) -> Self:
        """Append layers, all or none, under the next numbers; returns the container.

        Raises:
            TypeError: something is not a module; nothing was appended.
        """
        checked = [checked_layer(layer) for layer in layers]
        for layer in checked:
            setattr(self, self._next_number(), layer)
        return self

    def _next_number(self) -> str:
        names = [name for name, _ in self._named_layers()]
        numbers = [int(name) + 1 for name in names if _is_number(name)]
        return str(max([len(names), *numbers]))

    def insert(self, index: int, layer: Module) -> Self:
        """Insert a layer before `index`; numbered layers are numbered anew.

        Returns:
            The container.
        """
        named = self._named_layers()
        named.insert(operator.index(index), ("0", checked_layer(layer)))
        self._arrange(named)
        return self

    def _arrange(self, named: list[tuple[str, Module]]) -> None:
        """Hold these layers in this order, with positions for the names that are numbers."""
        for name, _ in self._named_layers():
            delattr(self, name)
        for position, (name, layer) in enumerate(named):
            setattr(self, str(position) if _is_number(name) else name, layer)


class Sequential(Container):
    """Runs its layers one after the other.

    Layers are called by their number, or by a name of their own, which may hold spaces. A layer
    is reached by position or by name, and a slice is a container that holds the same layers under
    the same names. Inserting and deleting numbers the numbered layers anew; layers with a name of
    their own keep it.

    Args:
        *layers: the layers, called `"0"`, `"1"`, …; or one mapping from names to layers.

    Raises:
        TypeError: something is not a module.
        StructureError: a name is empty, holds a dot, or is taken.

    Example:
        >>> from ansatz import nn
        >>> net = nn.Sequential(nn.Dense(4, activation="relu"), nn.Dense(2))
        >>> net.append(nn.Dense(1))
        Sequential(
          (0): Dense(None -> 4, relu)
          (1): Dense(None -> 2)
          (2): Dense(None -> 1)
        )
        >>> net[-1], len(net), len(net[:2])
        (Dense(None -> 1), 3, 2)
        >>> named = nn.Sequential({"block 0": nn.Dense(4), "head": nn.Dense(1)})
        >>> named["head"] is named[1]
        True
    """

    def forward(self, x: Any) -> Any:
        """What the last layer makes of what the layers before made of `x`, in its shape."""
        for layer in self._layers():
            x = layer(x)
        return x


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def checked_layer(layer: Any) -> Module:
    """`layer`, if it is a module.

    Raises:
        TypeError: it is none; the message shows what to write.
    """
    if isinstance(layer, Module):
        return layer
    if isinstance(layer, type) and issubclass(layer, Module):
        hint = f"make a layer of the class: {layer.__name__}(…)"
    elif isinstance(layer, list | tuple):
        hint = "unpack it: nn.Sequential(*layers)"
    elif callable(layer):
        hint = "wrap the function: nn.Lambda(function)"
    else:
        hint = "pass layers such as nn.Dense(8)"
    raise TypeError(f"a layer is a module, got {layer!r} of type {type(layer).__name__}; {hint}")
