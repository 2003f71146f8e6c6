"""Parametrisations of weights: weight norm and spectral norm.

Each is a step as `ansatz.parametrize` takes it. The names of parameters and states are those of
`torch.nn.utils.parametrizations`, so its state dicts fit.
"""

from __future__ import annotations

import functools
import math
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ansatz.core import frame
from ansatz.core.errors import ShapeError, StructureError, format_shape
from ansatz.core.initializer import Derived
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter, State
from ansatz.core.parametrize import Weight, attach
from ansatz.core.paths import Selector
from ansatz.core.shapes import Shape
from ansatz.core.spelling import hinted
from ansatz.nn.precision import at_least_float32
from ansatz.nn.sizes import checked_size

M = TypeVar("M", bound=Module)

_FIRST_ITERATIONS = 15  # As many as PyTorch makes when the norm is put on a weight.


# -- weight norm ------------------------------------------------------------------------------


@hinted()
def weight_norm(net: M, select: Selector = "*.weight", *, axis: int | None = 0) -> M:
    """Compute weights from a length and a direction: `w = g · v / ‖v‖`.

    The norm is taken over all axes but `axis`, so with the default each output has a length of its
    own. The value of the weight stays as it is, or as it would have been initialised: `v` starts as
    the weight and `g` as its norm. Where `v` is zero, so is the weight.

    The parameters are `parametrizations.weight.original0` (`g`, of size one along all axes but
    `axis`; of shape `()` if that is `None`) and `parametrizations.weight.original1` (`v`, of the
    shape of the weight), as in `torch.nn.utils.parametrizations.weight_norm`.

    Source: Salimans & Kingma 2016, "Weight normalization", equation 2.

    Args:
        net: a layer or network.
        select: which weights; see `ansatz.parametrize`. Selected parameters of fewer than two
            dimensions are left out.
        axis: the axis along which each slice has a norm of its own, 0 for the outputs of dense
            layers and convolutions, 1 for those of transposed convolutions; `None` for one norm.

    Returns:
        `net`.

    Raises:
        PathError: nothing is selected.
        ShapeError: a weight has no such axis.
        StructureError: a weight is parametrised already.

    Example:
        >>> from ansatz import nn
        >>> layer = nn.weight_norm(nn.Dense(3, in_units=2), "weight")
        >>> layer.collect_params()
        Dense (
          Parameter bias (shape=(3,), dtype=float32, not initialised yet)
          Parameter parametrizations.weight.original0 (shape=(3, 1), dtype=float32, not ...)
          Parameter parametrizations.weight.original1 (shape=(3, 2), dtype=float32, not ...)
        )
    """

    def build(weight: Weight) -> Module:
        return WeightNorm(None if axis is None else _checked_axis(weight, axis))

    return attach(net, select, build, least_ndim=2)


class WeightNorm(Module):
    """A length and a direction; see `weight_norm`."""

    def __init__(self, axis: int | None) -> None:
        super().__init__()
        self.axis = axis

    def originals(self, weight: Parameter) -> dict[str, Parameter]:
        """The length `g` beside the declared weight, which becomes the direction `v`."""
        g = Parameter(
            self._lengths(weight.shape),
            _NormOf(weight, self.axis),
            dtype=weight.dtype,
            grad_req=weight.grad_req,
        )
        return {"original0": g, "original1": weight}

    def infer_originals(self, original0: Parameter, original1: Parameter) -> None:
        """One length for each slice along `axis`."""
        original0.shape = self._lengths(original1.shape)

    def forward(self, g: Any, v: Any) -> Any:
        """`g · v / ‖v‖`."""
        return _with_norm(g, v, self.axis)

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        """The norm of the weight, and the weight."""
        return _norm(weight, self.axis).astype(weight.dtype), weight

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"

    def _lengths(self, shape: Shape) -> Shape:
        if self.axis is None:
            return ()
        return tuple(size if axis == self.axis else 1 for axis, size in enumerate(shape))


class _NormOf(Derived):
    def __init__(self, source: Parameter, axis: int | None) -> None:
        super().__init__(source)
        self.axis = axis

    def derive(self, value: NDArray[Any]) -> NDArray[Any]:
        wide = value.astype(np.promote_types(value.dtype, np.float32), copy=False)
        others = tuple(axis for axis in range(value.ndim) if axis != self.axis)
        norm: NDArray[Any] = np.sqrt(
            np.sum(wide * wide, axis=others, keepdims=self.axis is not None)
        )
        return norm


def _norm(v: jax.Array, axis: int | None) -> jax.Array:
    wide = at_least_float32(v)
    others = tuple(other for other in range(v.ndim) if other != axis)
    return jnp.sqrt(jnp.sum(wide * wide, axis=others, keepdims=axis is not None))


@functools.partial(jax.jit, static_argnums=2)
def _with_norm(g: jax.Array, v: jax.Array, axis: int | None) -> jax.Array:
    others = tuple(other for other in range(v.ndim) if other != axis)
    wide = at_least_float32(v)
    squares = jnp.sum(wide * wide, axis=others, keepdims=axis is not None)
    # The root of zero has an infinite slope, which would make every gradient NaN.
    present = squares > 0
    inverse = jnp.where(present, jax.lax.rsqrt(jnp.where(present, squares, 1)), 0)
    return (wide * (at_least_float32(g) * inverse)).astype(v.dtype)


# -- spectral norm ----------------------------------------------------------------------------


def spectral_norm(
    net: M,
    select: Selector = "*.weight",
    *,
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    axis: int = 0,
) -> M:
    """Divide weights by their largest singular value, `w / σ(w)`, so that it becomes one.

    `σ` is estimated by power iteration on the weight as a matrix, whose rows run along `axis`. In
    training, the estimates of its singular vectors move on by `n_power_iterations` steps whenever
    the weight is read; in evaluation (`net.eval()`) they stay. Gradients flow through `w` and `σ`,
    not through the vectors. They start from 15 iterations.

    The parameter is `parametrizations.weight.original`, the states are
    `parametrizations.weight.0._u` (the left vector, `(rows,)`) and `parametrizations.weight.0._v`
    (the right one, `(columns,)`), as in `torch.nn.utils.parametrizations.spectral_norm`.

    Source: Miyato et al. 2018, "Spectral normalization for generative adversarial networks",
    algorithm 1.

    Args:
        net: a layer or network.
        select: which weights; see `ansatz.parametrize`. Selected parameters of fewer than two
            dimensions are left out.
        n_power_iterations: how many steps a read in training makes.
        eps: the least norm that is divided by in a step.
        axis: the axis of the outputs: 0 for dense layers and convolutions, 1 for transposed ones.

    Returns:
        `net`.

    Raises:
        PathError: nothing is selected.
        ShapeError: a weight has no such axis.
        StructureError: the weight is computed already, and has no value yet.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> az.seed(0)
        >>> layer = nn.spectral_norm(nn.Dense(3, in_units=2), "weight").eval()
        >>> largest = jnp.linalg.norm(layer.weight.value, 2)
        >>> bool(abs(largest - 1) < 1e-3)
        True
    """
    n_power_iterations = checked_size("n_power_iterations", n_power_iterations)
    if n_power_iterations < 1:
        raise ValueError("n_power_iterations is at least 1, got 0")

    def build(weight: Weight) -> Module:
        return SpectralNorm(weight, _checked_axis(weight, axis), n_power_iterations, eps)

    return attach(net, select, build, least_ndim=2)


class SpectralNorm(Module):
    """A weight divided by its largest singular value; see `spectral_norm`."""

    def __init__(self, weight: Weight, axis: int, n_power_iterations: int, eps: float) -> None:
        super().__init__()
        self.axis = axis
        self.n_power_iterations = n_power_iterations
        self.eps = float(eps)
        rows, columns = rows_and_columns(weight.shape, self.axis)
        left: Any
        right: Any
        if isinstance(weight, Parameter):
            left, right = (_SingularVector(weight, axis, eps, i) for i in range(2))
            self._u = State(shape=(rows,), dtype=weight.dtype, init=left)
            self._v = State(shape=(columns,), dtype=weight.dtype, init=right)
            return
        if not weight.has_value:
            raise StructureError(
                f"{weight.describe()} is {weight.formula()} and has no value yet, of which the "
                "singular vectors would be estimated; call net.initialize(…) before"
            )
        self._u, self._v = (
            State(jnp.asarray(vector, weight.dtype))
            for vector in _first_vectors(np.asarray(weight.value), axis, eps)
        )

    def infer_shape(self, weight: Any) -> None:
        """One element of `_u` for each row, and of `_v` for each column."""
        rows, columns = rows_and_columns(weight.shape, self.axis)
        self._u.shape, self._v.shape = (rows,), (columns,)

    def forward(self, weight: Any) -> Any:
        """`w / σ(w)`; in training, after a step of power iteration."""
        u, v = self._u.value, self._v.value
        if self.training:
            u, v = _iterate(weight, u, v, self.axis, self.n_power_iterations, self.eps)
            frame.commit({self._u: u, self._v: v})
        return _divided(weight, u, v, self.axis)

    def right_inverse(self, weight: Any) -> Any:
        """The weight itself: what has this direction and a norm of one."""
        return weight

    def extra_repr(self) -> str:
        """The arguments."""
        return f"axis={self.axis}, n_power_iterations={self.n_power_iterations}, eps={self.eps}"


class _SingularVector(Derived):
    """The left (0) or right (1) singular vector of the largest singular value of a weight."""

    def __init__(self, source: Parameter, axis: int, eps: float, side: int) -> None:
        super().__init__(source)
        self.axis = axis
        self.eps = eps
        self.side = side

    def derive(self, value: NDArray[Any]) -> NDArray[Any]:
        return _first_vectors(value, self.axis, self.eps)[self.side]


def _first_vectors(weight: NDArray[Any], axis: int, eps: float) -> tuple[NDArray[Any], ...]:
    """Both vectors after 15 iterations, from a start that is the same for all weights of a size."""
    wide = weight.astype(np.promote_types(weight.dtype, np.float32), copy=False)
    matrix = np.moveaxis(wide, axis, 0).reshape(rows_and_columns(weight.shape, axis))
    rng = np.random.default_rng(0)
    u, v = (rng.normal(size=size).astype(wide.dtype) for size in matrix.shape)
    u, v = u / max(np.linalg.norm(u), eps), v / max(np.linalg.norm(v), eps)
    for _ in range(_FIRST_ITERATIONS):
        u = _unit_on_host(matrix @ v, u, eps)
        v = _unit_on_host(matrix.T @ u, v, eps)
    return u, v


def _unit_on_host(x: NDArray[Any], before: NDArray[Any], eps: float) -> NDArray[Any]:
    norm = np.linalg.norm(x)
    return x / max(norm, eps) if norm > 0 else before


def _unit(x: jax.Array, before: jax.Array, eps: float) -> jax.Array:
    """`x / ‖x‖`; what was there before if `x` is zero, or the vectors would stay zero for ever."""
    squares = jnp.sum(x * x)
    present = squares > 0
    norm = jnp.sqrt(jnp.where(present, squares, 1))
    return jnp.where(present, x / jnp.maximum(norm, eps), before)


def _as_matrix(weight: jax.Array, axis: int) -> jax.Array:
    wide = jnp.moveaxis(at_least_float32(weight), axis, 0)
    return wide.reshape(rows_and_columns(weight.shape, axis))


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _iterate(
    weight: jax.Array, u: jax.Array, v: jax.Array, axis: int, steps: int, eps: float
) -> tuple[jax.Array, jax.Array]:
    matrix = jax.lax.stop_gradient(_as_matrix(weight, axis))

    def iterate(_: int, vectors: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        left, right = vectors
        left = _unit(matrix @ right, left, eps)
        return left, _unit(matrix.T @ left, right, eps)

    start = at_least_float32(u), at_least_float32(v)
    left, right = jax.lax.fori_loop(0, steps, iterate, start)
    return left.astype(u.dtype), right.astype(v.dtype)


@functools.partial(jax.jit, static_argnums=3)
def _divided(weight: jax.Array, u: jax.Array, v: jax.Array, axis: int) -> jax.Array:
    sigma = at_least_float32(u) @ (_as_matrix(weight, axis) @ at_least_float32(v))
    sigma = jnp.where(sigma == 0, 1, sigma)  # A weight of zeros stays zero.
    return (at_least_float32(weight) / sigma).astype(weight.dtype)


def _checked_axis(weight: Weight, axis: int) -> int:
    if not -weight.ndim <= axis < weight.ndim:
        raise ShapeError(
            f"{weight.describe()} has shape {format_shape(weight.shape)}, which has no axis {axis}"
        )
    return axis % weight.ndim


def rows_and_columns(shape: Shape, axis: int = 0) -> tuple[Any, Any]:
    """The shape of a weight as a matrix: one row for each index along `axis`."""
    others = [*shape[:axis], *shape[axis + 1 :]]
    known = [size for size in others if size is not None]
    return shape[axis], math.prod(known) if len(known) == len(others) else None
