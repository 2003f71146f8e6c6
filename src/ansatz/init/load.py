"""First values from a mapping: a state dict, or arrays of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.core.errors import InitializationError, did_you_mean, format_shape
from ansatz.core.initializer import Initializer, Spec, as_initializer
from ansatz.core.operators import ArrayOperators

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Load(Initializer, name="load"):
    """Takes each parameter from a mapping by its path, and leaves the others to an initialiser.

    The path is the one seen from where `initialize` is called. As every initialiser this one is for
    parameters, not for states such as running statistics; `net.load` and `net.load_state_dict` take
    whole files, with states, other names and all. Give it in a rule: a single default would leave
    biases alone, whose initialiser is declared.

    Args:
        arrays: arrays by path, such as `other.state_dict()`, the state dict of a PyTorch module, or
            what `ansatz.checkpoint.load_arrays` reads from a file.
        default: what fills a parameter that is not in the mapping; without one it is an error.

    Raises:
        TypeError: `arrays` is not a mapping, or `default` no initialiser.
        InitializationError: when drawn, a parameter is missing and there is no default, or shape or
            kind of number differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import init, nn
        >>> net = nn.Sequential(nn.Dense(2, in_units=2), nn.Dense(1, in_units=2))
        >>> pretrained = {"0.weight": jnp.eye(2)}
        >>> report = net.initialize({"*": init.Load(pretrained, default="zeros")})
        >>> print(net[0].weight.value, net[1].weight.value)
        [[1. 0.]
         [0. 1.]] [[0. 0.]]
    """

    def __init__(self, arrays: Mapping[str, Any], default: Any = None) -> None:
        if not isinstance(arrays, Mapping):
            raise TypeError(
                "Load takes arrays by path, such as net.state_dict(); got a "
                f"{type(arrays).__name__}. Files are read by net.load(path), or by "
                "ansatz.checkpoint.load_arrays(path)"
            )
        self.arrays = {
            path: array.value if isinstance(array, ArrayOperators) else array
            for path, array in arrays.items()
        }
        self.default = None if default is None else as_initializer(default)

    def bind(self, spec: Spec) -> Initializer:
        """Itself where the parameter is in the mapping, else the default."""
        if spec.path in self.arrays:
            return self
        if self.default is not None:
            return self.default
        hint = did_you_mean(spec.path, self.arrays) or "."
        raise InitializationError(
            f"{spec.name} is not in the mapping given to Load{hint} Pass default= for what is "
            "missing, or select what the mapping has by a rule"
        )

    def draw(self, rng: np.random.Generator, spec: Spec) -> NDArray[Any]:
        """The array of the mapping."""
        given = self.arrays[spec.path]
        try:
            array = np.asarray(given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InitializationError(
                f"the array '{spec.path}' given to Load is a {type(given).__name__}, which NumPy "
                f"cannot read: {error}"
            ) from error
        if array.shape != spec.shape:
            raise InitializationError(
                f"{spec.name} has shape {format_shape(spec.shape)}, but the array '{spec.path}' "
                f"given to Load has shape {format_shape(array.shape)}; nothing was changed"
            )
        return array

    def _arguments(self) -> tuple[tuple[str, Any], ...]:
        return (("arrays", self.arrays), ("default", self.default))

    def __repr__(self) -> str:
        default = "" if self.default is None else f", default={self.default!r}"
        return f"Load({len(self.arrays)} arrays{default})"
