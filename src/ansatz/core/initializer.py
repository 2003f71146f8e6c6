"""What an initialiser is: an object that fills a parameter from a host generator.

An *initialiser* is chosen by rule or by declaration and is *bound* to a `Spec` (shape, dtype,
path, fans) when the parameter's shape is known. Distributions whose elements are independent
override `fill` and are drawn block by block, on all cores. One that needs the whole array at once
overrides `sample`, or `draw` if it also wants the parameter's path or fans.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core import sampling
from ansatz.core.errors import InitializationError, did_you_mean, format_shape, format_value

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
    def name(self) -> str:
        """The parameter in words, for messages."""
        return f"parameter '{self.path}'" if self.path else "a parameter without a path"

    @property
    def fans(self) -> tuple[int, int]:
        """`(fan_in, fan_out)`: how many inputs feed one output, and how many outputs one input.

        Each is the size of its axes times the size of the kernel. Grouped layers come out right,
        because their shape holds the inputs of one group.

        Raises:
            InitializationError: the shape has fewer dimensions than the fan axes need.
        """
        self.require_fans()
        ndim = len(self.shape)
        inputs, outputs = (_as_tuple(axes) for axes in self.fan_axes)
        fixed = {axis % ndim for axis in inputs + outputs}
        kernel = math.prod(size for axis, size in enumerate(self.shape) if axis not in fixed)
        return (
            math.prod(self.shape[axis] for axis in inputs) * kernel,
            math.prod(self.shape[axis] for axis in outputs) * kernel,
        )

    def require_fans(self) -> None:
        """Refuse a shape without fans; its sizes may still be unknown.

        Raises:
            InitializationError: the shape has fewer dimensions than the fan axes need.
        """
        inputs, outputs = (_as_tuple(axes) for axes in self.fan_axes)
        needed = max((axis + 1 if axis >= 0 else -axis for axis in inputs + outputs), default=0)
        if len(self.shape) < needed:
            raise InitializationError(
                f"{self.name} has shape {format_shape(self.shape)}, but fan-in and fan-out need "
                f"at least {needed} dimensions; choose an initialiser that does not depend on "
                "them, such as init.Zeros(), init.Uniform(scale) or init.Normal(sigma). A rule for "
                "'*.weight' selects the scales of norms as well: select by the type of the layer, "
                "{nn.Dense: …}, or give one default, net.initialize(init.Xavier()), which leaves "
                "alone what layers declare"
            )


def _as_tuple(axes: int | tuple[int, ...]) -> tuple[int, ...]:
    return axes if isinstance(axes, tuple) else (axes,)


class Initializer:
    """Fills a parameter with its first values.

    Subclasses override one of

    * `sample(rng, shape, dtype)`, which returns the whole array;
    * `draw(rng, spec)`, likewise, for what also depends on the parameter's path or fans;
    * `fill(rng, out)`, for elements that are independent of each other: large parameters are then
      drawn in blocks, on all cores;
    * `bind(spec)`, to return the initialiser that does the work once shape and fans are known.

    A subclass made with `name="…"` can be chosen by that name: `init="zeros"`. Two initialisers
    are equal if they are of one class and their public attributes are equal.

    Attributes:
        blockwise: true for a subclass that overrides `fill`.
        needs_fans: true if `bind` asks for the fans: a parameter that has none, whatever its sizes
            will be, is then refused at once.

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

    blockwise: bool = False
    needs_fans: bool = False
    by_name: ClassVar[dict[str, type[Initializer]]] = {}
    elsewhere: ClassVar[dict[str, str]] = {}  # Names in other libraries: what to write here.

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not {"fill", "sample", "draw"}.isdisjoint(vars(cls)):
            cls.blockwise = "fill" in vars(cls)
        if name is not None:
            for alias in name.split():
                Initializer.by_name[alias] = cls

    @property
    def depends_on(self) -> Any:
        """Another parameter, whose shape has to be known before the draw, or `None`."""
        return None

    def bind(self, spec: Spec) -> Initializer:
        """The initialiser that fills a parameter of this spec."""
        return self

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Fill one block, of shape `(elements,)` and the parameter's dtype, in place."""
        raise NotImplementedError(f"{type(self).__name__} is not drawn in blocks")

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """All values of the parameter."""
        raise NotImplementedError(
            f"{type(self).__name__} has to override sample(rng, shape, dtype), draw(rng, spec), "
            "fill(rng, out) or bind(spec)"
        )

    def draw(self, rng: np.random.Generator, spec: Spec) -> Any:
        """All values of the parameter, with the shape of `spec`."""
        return self.sample(rng, spec.shape, spec.dtype)

    def _arguments(self) -> tuple[tuple[str, Any], ...]:
        return tuple((name, value) for name, value in vars(self).items() if name[0] != "_")

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._arguments())
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, Initializer)
        mine, theirs = dict(self._arguments()), dict(other._arguments())
        return mine.keys() == theirs.keys() and all(
            _same(value, theirs[name]) for name, value in mine.items()
        )

    def __hash__(self) -> int:
        return hash(type(self))  # Arguments may be arrays, which have no hash.


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(value, b[name]) for name, value in a.items())
    if isinstance(a, np.ndarray | jax.Array) or isinstance(b, np.ndarray | jax.Array):
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)


class Derived(Initializer):
    """Fills a parameter with what follows from the values of another one, such as their norm.

    Subclasses override `derive`. If both are drawn in one event, the other one is drawn first.

    Args:
        source: the other parameter.
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    @property
    def depends_on(self) -> Any:
        """The other parameter."""
        return self._source

    def _arguments(self) -> tuple[tuple[str, Any], ...]:
        return (("source", self._source), *super()._arguments())

    def derive(self, value: NDArray[Any]) -> NDArray[Any]:
        """The values that follow from `value`, that of the source."""
        raise NotImplementedError(f"{type(self).__name__} has to override derive(value)")

    def given(self, value: NDArray[Any]) -> Initializer:
        """An initialiser like any other, now that the value of the source is known."""
        return _Given(self, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {self.depends_on.describe()}"


class _Given(Initializer):
    def __init__(self, derived: Derived, value: NDArray[Any]) -> None:
        self._derived = derived
        self._value = value

    def draw(self, rng: np.random.Generator, spec: Spec) -> Any:
        return self._derived.derive(self._value).astype(spec.dtype)

    def __repr__(self) -> str:
        return repr(self._derived)


class FanInUniform(Initializer, name="fan_in_uniform"):
    """U(-1/√fan_in, 1/√fan_in), and zeros below two dimensions: the fallback of the library.

    This is PyTorch's default for the weights of linear and convolutional layers (written there
    as `kaiming_uniform_(a=√5)`).

    Example:
        >>> from ansatz import init, nn
        >>> layer = nn.Dense(2, in_units=4, weight_init=init.FanInUniform())
        >>> bool(abs(layer.weight.value).max() <= 0.5)
        True
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

    def bind(self, spec: Spec) -> Initializer:
        """Itself, if the parameter holds real numbers."""
        require_floating(self, spec)
        return self

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Draw one block in place."""
        sampling.fill_uniform(rng, out, -self.bound, self.bound)


def require_floating(initializer: Initializer, spec: Spec) -> None:
    """Refuse to draw real numbers into another dtype.

    Raises:
        InitializationError: the dtype of the parameter is not a real floating one.
    """
    if not sampling.is_floating(spec.dtype):
        raise InitializationError(
            f"{spec.name} has dtype {spec.dtype}, but {initializer!r} draws real numbers; declare "
            "the parameter with a floating dtype, or choose init.Zeros(), init.Constant(value) or "
            "an initialiser of your own"
        )


class FromFunction(Initializer):
    """An initialiser made of a plain function.

    Whether the function wants randomness is read from its signature:

    * `f(key, shape, dtype)`, as in `jax.nn.initializers`, gets a typed JAX key. Three or more
      arguments are understood so, whatever the name of the first;
    * `f(rng, shape, dtype)`, whose first argument is called `rng` or `generator`, gets a
      `numpy.random.Generator`;
    * `f(shape)` and `f(shape, dtype)` get neither.

    The initialisers of JAX take the last axis for the outputs. For the layout `(out, in, *kernel)`
    of this library say so: `jax.nn.initializers.he_normal(in_axis=1, out_axis=0)`.

    Args:
        function: as above. What it returns must have the shape of the parameter.

    Raises:
        TypeError: the function cannot be called in any of these ways.

    Example:
        >>> import jax
        >>> from ansatz import nn
        >>> he_normal = jax.nn.initializers.he_normal(in_axis=1, out_axis=0)
        >>> nn.Dense(2, in_units=4, weight_init=he_normal).weight.value.shape
        (2, 4)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._roles = _roles_of(function)

    def draw(self, rng: np.random.Generator, spec: Spec) -> Any:
        """What the function gives, as a host array."""
        start = rng.bit_generator.state
        with jax.ensure_compile_time_eval():
            values = self._call(rng, spec)
        if not isinstance(values, jax.core.Tracer):
            return np.asarray(values)
        # Inside shard_map even that is traced. Traces belong to a thread, and another has none.
        rng.bit_generator.state = start
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: np.asarray(self._call(rng, spec))).result()

    def _call(self, rng: np.random.Generator, spec: Spec) -> Any:
        given: dict[str, Any] = {"shape": spec.shape, "dtype": spec.dtype, "rng": rng}
        if "key" in self._roles:
            words = rng.bit_generator.random_raw(1).view(np.uint32)
            given["key"] = jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")
        return self.function(*(given[role] for role in self._roles))

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


_GENERATOR_NAMES = ("rng", "generator")


def _roles_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """What to hand to the function, in order: "key" or "rng", "shape", "dtype"."""
    try:
        every = list(inspect.signature(function).parameters.values())
    except ValueError:  # Some functions written in C do not tell.
        every = []
    takes = [p for p in every if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [parameter.name for parameter in takes]
    roles: list[str] = []
    wants_randomness = names[:1] == ["key"] or names[1:2] == ["shape"] or len(names) > 2
    if names and names[0] in _GENERATOR_NAMES:
        roles.append("rng")
    elif wants_randomness and names[0] != "shape":
        roles.append("key")
    if len(takes) > len(roles):
        roles.append("shape")
    if len(takes) > len(roles):
        last = takes[len(roles)]
        if last.name == "dtype" or last.default is last.empty:
            roles.append("dtype")
    needed = sum(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in every
    )
    if "shape" not in roles or needed > len(roles):
        raise TypeError(
            f"{function!r} cannot serve as an initialiser, because it takes ({', '.join(names)}); "
            "write it as f(shape), f(shape, dtype), f(key, shape, dtype) or f(rng, shape, dtype)"
        )
    return tuple(roles)


def _with_defaults(kind: type[Initializer], spelled: str) -> Initializer:
    try:
        return kind()
    except TypeError:
        needed = [
            p.name
            for p in inspect.signature(kind).parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        if not needed:
            raise
    raise TypeError(
        f"{spelled} alone is no initialiser, because {kind.__name__} needs "
        f"{' and '.join(needed)}: write {kind.__name__}({', '.join(needed)})"
    )


def as_initializer(choice: Any) -> Initializer:
    """An initialiser from what users write: an initialiser, a name or a function.

    Raises:
        TypeError: `choice` is none of these; raised where it is written, not when it is used.
        ValueError: no initialiser has this name; likewise.
    """
    if isinstance(choice, Initializer):
        return choice
    if isinstance(choice, str):
        try:
            kind = Initializer.by_name[choice.lower()]
        except KeyError:
            known = sorted(Initializer.by_name)
            elsewhere = Initializer.elsewhere.get(choice.replace("_", "").lower())
            hint = f"; here it is {elsewhere}" if elsewhere else did_you_mean(choice.lower(), known)
            raise ValueError(
                f"no initialiser is called {choice!r}{hint} (known names: {', '.join(known)})"
            ) from None
        return _with_defaults(kind, repr(choice))
    if isinstance(choice, type) and issubclass(choice, Initializer):
        return _with_defaults(choice, choice.__name__)
    if callable(choice):
        return FromFunction(choice)
    raise TypeError(
        "an initialiser is wanted, such as init.Normal(0.01), 'zeros' or a function "
        f"f(key, shape, dtype); got {format_value(choice)}{_instead(choice)}"
    )


def _instead(choice: Any) -> str:
    """What somebody meant who gave this for an initialiser."""
    if isinstance(choice, int | float):
        return f"; one number everywhere is init.Constant({choice})"
    if hasattr(choice, "shape") and hasattr(choice, "dtype"):
        return "; an input that settles shapes is example=, and a seed is a number, seed=0"
    return ""
