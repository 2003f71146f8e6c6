"""What an initialiser is: an object that fills a parameter from a host generator.

An *initialiser* is chosen by rule or by declaration and is *bound* to a `Spec` (shape, dtype,
path, fans) when the parameter's shape is known. Most are distributions whose elements are
independent: they override `sample` (or `fill`) and are drawn block by block. One that needs the
whole array at once, or the parameter's name, overrides `draw`.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core.errors import InitializationError, did_you_mean, format_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

FanAxes = tuple[int | tuple[int, ...], int | tuple[int, ...]]
"""The axes of a weight that its inputs and its outputs run along; the others are the kernel."""


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """What an initialiser may know of the parameter that it fills.

    Attributes:
        shape: the settled shape.
        dtype: the dtype of the parameter.
        path: the canonical path, such as `"0.weight"`.
        fan_axes: the axes that inputs and outputs run along, `(1, 0)` for `(out, in, *kernel)`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any] = dataclasses.field(default_factory=lambda: np.dtype(np.float32))
    path: str = ""
    fan_axes: FanAxes = (1, 0)

    @property
    def fans(self) -> tuple[int, int]:
        """`(fan_in, fan_out)`: how many inputs feed one output, and how many outputs one input.

        Raises:
            InitializationError: the shape has fewer dimensions than the fan axes need.
        """
        inputs, outputs = (_as_tuple(axes) for axes in self.fan_axes)
        needed = max((*inputs, *outputs), default=-1) + 1
        if len(self.shape) < needed:
            raise InitializationError(
                f"parameter '{self.path}' has shape {format_shape(self.shape)}, but fan-in and "
                f"fan-out need at least {needed} dimensions; choose an initialiser that does not "
                "depend on them, such as init.Zeros(), init.Uniform(scale) or init.Normal(sigma)"
            )
        size_in = math.prod(self.shape[axis] for axis in inputs)
        size_out = math.prod(self.shape[axis] for axis in outputs)
        kernel = math.prod(
            size for axis, size in enumerate(self.shape) if axis not in inputs + outputs
        )
        return size_in * kernel, size_out * kernel


def _as_tuple(axes: int | tuple[int, ...]) -> tuple[int, ...]:
    return axes if isinstance(axes, tuple) else (axes,)


class Initializer:
    """Fills a parameter with its first values.

    Subclasses override one of

    * `sample(rng, shape, dtype)`, for elements that are independent of each other;
    * `draw(rng, spec)`, for whatever needs the whole array, its path or its fans;
    * `bind(spec)`, to return the initialiser that does the work once the fans are known.

    A subclass made with `name="…"` can be chosen by that name: `init="zeros"`.

    Attributes:
        blockwise: true where elements are independent, so that blocks are drawn apart.

    Example:
        >>> import numpy as np
        >>> from ansatz import init, nn
        >>> class Masked(init.Initializer):
        ...     def draw(self, rng, spec):
        ...         print("Init", spec.path, spec.shape)
        ...         values = rng.uniform(-10, 10, spec.shape)
        ...         return (values * (abs(values) >= 5)).astype(spec.dtype)
        >>> net = nn.Sequential(nn.Dense(2, in_units=3))
        >>> report = net.initialize(Masked(), seed=0)
        Init 0.weight (2, 3)
    """

    blockwise: bool = True
    by_name: ClassVar[dict[str, type[Initializer]]] = {}

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "draw" in vars(cls):
            cls.blockwise = False
        if name is not None:
            for alias in name.split():
                Initializer.by_name[alias] = cls

    def bind(self, spec: Spec) -> Initializer:
        """The initialiser that fills a parameter of this spec."""
        return self

    def sample(
        self, rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Independent draws of the given shape."""
        raise NotImplementedError(
            f"{type(self).__name__} has to override sample(rng, shape, dtype) or draw(rng, spec)"
        )

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Draw one block, of shape `(elements,)`, in place."""
        out[...] = self.sample(rng, out.shape, out.dtype)

    def draw(self, rng: np.random.Generator, spec: Spec) -> NDArray[Any]:
        """All values of the parameter, with the shape of `spec`."""
        return np.asarray(self.sample(rng, spec.shape, spec.dtype))

    def _arguments(self) -> tuple[tuple[str, Any], ...]:
        return tuple((name, value) for name, value in vars(self).items() if name[0] != "_")

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._arguments())
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class FanInUniform(Initializer, name="fan_in_uniform"):
    """U(-1/√fan_in, 1/√fan_in), and zeros below two dimensions: the fallback of the library.

    This is PyTorch's default for the weights of linear and convolutional layers (written there
    as `kaiming_uniform_(a=√5)`).
    """

    def bind(self, spec: Spec) -> Initializer:
        """The uniform distribution with the bound that the fan-in gives."""
        if len(spec.shape) < 2:
            return BoundedUniform(0.0)
        fan_in, _ = spec.fans
        return BoundedUniform(1 / math.sqrt(fan_in) if fan_in else 0.0)


class BoundedUniform(Initializer):
    """U(-bound, bound)."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Draw one block in place."""
        if out.dtype in (np.float32, np.float64):
            rng.random(out=out, dtype=out.dtype)
            out *= 2 * self.bound
            out -= self.bound
        else:
            out[...] = rng.uniform(-self.bound, self.bound, out.shape)


class FromFunction(Initializer):
    """An initialiser made of a plain function.

    Args:
        function: `f(key, shape, dtype)` as in `jax.nn.initializers`; `f(rng, shape, dtype)` with
            a NumPy generator, if its first argument is named `rng` or `generator`; or
            `f(shape)` / `f(shape, dtype)` for values that need no randomness.
    """

    blockwise = False

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        names = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        if not names:
            raise TypeError(
                f"the initialiser {function!r} takes no arguments; write it as f(shape), "
                "f(shape, dtype), f(key, shape, dtype) or f(rng, shape, dtype)"
            )
        self._takes_key = len(names) >= 3 and names[0] not in ("rng", "generator")
        self._takes_rng = names[0] in ("rng", "generator")
        self._takes_dtype = len(names) >= (3 if self._takes_key or self._takes_rng else 2)

    def draw(self, rng: np.random.Generator, spec: Spec) -> NDArray[Any]:
        """What the function gives, as a host array."""
        arguments: list[Any] = [spec.shape, spec.dtype] if self._takes_dtype else [spec.shape]
        with jax.ensure_compile_time_eval():
            if self._takes_key:
                words = jnp.asarray(rng.integers(0, 2**32, 2, np.uint32))
                key = jax.random.wrap_key_data(words, impl="threefry2x32")
                values = self.function(key, *arguments)
            elif self._takes_rng:
                values = self.function(rng, *arguments)
            else:
                values = self.function(*arguments)
            return np.array(values)

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


def as_initializer(choice: Any) -> Initializer:
    """An initialiser from what users write: an initialiser, a name or a function.

    Raises:
        TypeError: `choice` is none of these; raised where it is written, not when it is used.
    """
    if isinstance(choice, Initializer):
        return choice
    if isinstance(choice, str):
        try:
            return Initializer.by_name[choice.lower()]()
        except KeyError:
            known = sorted(Initializer.by_name)
            raise TypeError(
                f"no initialiser is called {choice!r}{did_you_mean(choice.lower(), known)} "
                f"(known names: {', '.join(known)})"
            ) from None
    if isinstance(choice, type) and issubclass(choice, Initializer):
        return choice()
    if callable(choice):
        return FromFunction(choice)
    raise TypeError(
        f"an initialiser is wanted, such as init.Normal(0.01), 'zeros' or a function "
        f"f(key, shape, dtype); got {choice!r} of type {type(choice).__name__}"
    )
