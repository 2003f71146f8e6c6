"""Functions that fill one parameter at once, with the names and defaults of `torch.nn.init`.

All take a parameter, or the view `parameter.data`, and return it. `None`, the bias of a layer that
has none, is left alone. If the shape is not known yet, the choice is kept and carried out as soon
as it is. Without `seed=`, each call takes the next seed of the global stream (`ansatz.seed`).
"""

from __future__ import annotations

from typing import TypeVar

from ansatz.core import frame
from ansatz.core.declared import Declared
from ansatz.core.errors import TraceError
from ansatz.core.initializer import Initializer
from ansatz.core.node import StandIn
from ansatz.core.view import DataView
from ansatz.init.arguments import not_negative
from ansatz.init.constants import Constant, Ones, Zeros
from ansatz.init.distributions import Normal, Uniform
from ansatz.init.identity import Dirac, Identity
from ansatz.init.orthogonal import Orthogonal
from ansatz.init.scaled import Kaiming, Xavier
from ansatz.init.sparse import Sparse
from ansatz.init.truncated import TruncatedNormal

P = TypeVar("P", Declared, DataView, None)


def normal_(p: P, mean: float = 0.0, std: float = 1.0, *, seed: int | None = None) -> P:
    """Fill `p` with draws from N(mean, std²).

    Args:
        p: a parameter, a view of one, or `None`.
        mean: the mean.
        std: the standard deviation, at least zero.
        seed: the seed of the draw.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: an argument is out of range, or the parameter is not floating.

    Example:
        >>> from ansatz import init, nn
        >>> def init_normal(module):
        ...     if isinstance(module, nn.Dense):
        ...         init.normal_(module.weight, mean=0, std=0.01)
        ...         init.zeros_(module.bias)
        >>> net = nn.Sequential(nn.Dense(8), nn.Dense(1)).apply(init_normal)
    """
    return _initialized(p, Normal(std, mean), seed)


def uniform_(p: P, a: float = 0.0, b: float = 1.0, *, seed: int | None = None) -> P:
    """Fill `p` with draws from U(a, b).

    Args:
        p: a parameter, a view of one, or `None`.
        a: the lower bound.
        b: the upper bound, above `a`.
        seed: the seed of the draw.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: `a` is not below `b`, or the parameter is not floating.

    Example:
        >>> from ansatz import init, nn
        >>> weight = init.uniform_(nn.Linear(3, 2).weight, -10, 10)
        >>> weight.data *= abs(weight.data) >= 5
    """
    return _initialized(p, Uniform(low=a, high=b), seed)


def constant_(p: P, val: float, *, seed: int | None = None) -> P:
    """Fill `p` with one value.

    Args:
        p: a parameter, a view of one, or `None`.
        val: the value, or an array that broadcasts to the shape.
        seed: accepted like everywhere; nothing is drawn.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: the value is NaN, or does not fit the shape or the dtype.

    Example:
        >>> from ansatz import init, nn
        >>> print(init.constant_(nn.Linear(3, 1).weight, 42).value)
        [[42. 42. 42.]]
    """
    return _initialized(p, Constant(val), seed)


def zeros_(p: P, *, seed: int | None = None) -> P:
    """Fill `p` with zeros.

    Args:
        p: a parameter, a view of one, or `None`.
        seed: accepted like everywhere; nothing is drawn.

    Returns:
        What was given as `p`.

    Example:
        >>> from ansatz import init, nn
        >>> print(init.zeros_(nn.Linear(3, 2).bias).value)
        [0. 0.]
    """
    return _initialized(p, Zeros(), seed)


def ones_(p: P, *, seed: int | None = None) -> P:
    """Fill `p` with ones.

    Args:
        p: a parameter, a view of one, or `None`.
        seed: accepted like everywhere; nothing is drawn.

    Returns:
        What was given as `p`.

    Example:
        >>> from ansatz import init, nn
        >>> print(init.ones_(nn.Linear(3, 2).bias).value)
        [1. 1.]
    """
    return _initialized(p, Ones(), seed)


def xavier_uniform_(p: P, gain: float = 1.0, *, seed: int | None = None) -> P:
    """Fill `p` with draws from U(±gain·√(6 / (fan_in + fan_out))) (Glorot and Bengio, 2010).

    Args:
        p: a parameter with at least two dimensions, a view of one, or `None`.
        gain: a factor, such as `calculate_gain("tanh")`.
        seed: the seed of the draw.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: the gain is negative, or the parameter has no fans.

    Example:
        >>> from ansatz import init, nn
        >>> weight = init.xavier_uniform_(nn.Linear(4, 8).weight)
        >>> bool(abs(weight.value).max() <= 0.5**0.5)
        True
    """
    gain = not_negative("xavier_uniform_", "gain", gain)
    return _initialized(p, Xavier(magnitude=3 * gain**2), seed)


def xavier_normal_(p: P, gain: float = 1.0, *, seed: int | None = None) -> P:
    """Fill `p` with draws from N(0, gain²·2 / (fan_in + fan_out)) (Glorot and Bengio, 2010).

    Args:
        p: a parameter with at least two dimensions, a view of one, or `None`.
        gain: a factor, such as `calculate_gain("tanh")`.
        seed: the seed of the draw.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: the gain is negative, or the parameter has no fans.

    Example:
        >>> from ansatz import init, nn
        >>> weight = init.xavier_normal_(nn.Linear(200, 200).weight)
        >>> bool(0.068 < weight.value.std() < 0.073)
        True
    """
    gain = not_negative("xavier_normal_", "gain", gain)
    return _initialized(p, Xavier("gaussian", magnitude=gain**2), seed)


def kaiming_uniform_(
    p: P,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    seed: int | None = None,
) -> P:
    """Fill `p` with draws from U(±gain·√(3 / fan)) (He et al., 2015).

    Args:
        p: a parameter with at least two dimensions, a view of one, or `None`.
        a: the slope below zero of a `leaky_relu`; 0 makes it a ReLU.
        mode: `"fan_in"` or `"fan_out"`.
        nonlinearity: a name that `calculate_gain` knows.
        seed: the seed of the draw.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: an argument is unknown, or the parameter has no fans.

    Example:
        >>> from ansatz import init, nn
        >>> weight = init.kaiming_uniform_(nn.Linear(6, 2).weight)
        >>> bool(abs(weight.value).max() <= 1)
        True
    """
    return _initialized(p, Kaiming(mode, nonlinearity, "uniform", param=a), seed)


def kaiming_normal_(
    p: P,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    seed: int | None = None,
) -> P:
    """Fill `p` with draws from N(0, gain² / fan) (He et al., 2015).

    Args:
        p: a parameter with at least two dimensions, a view of one, or `None`.
        a: the slope below zero of a `leaky_relu`; 0 makes it a ReLU.
        mode: `"fan_in"` or `"fan_out"`.
        nonlinearity: a name that `calculate_gain` knows.
        seed: the seed of the draw.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: an argument is unknown, or the parameter has no fans.

    Example:
        >>> from ansatz import init, nn
        >>> weight = init.kaiming_normal_(nn.Linear(200, 200).weight, nonlinearity="relu")
        >>> bool(0.097 < weight.value.std() < 0.103)
        True
    """
    return _initialized(p, Kaiming(mode, nonlinearity, "normal", param=a), seed)


def trunc_normal_(
    p: P,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    *,
    seed: int | None = None,
) -> P:
    """Fill `p` with draws from N(mean, std²), conditioned on lying in [a, b].

    Args:
        p: a parameter, a view of one, or `None`.
        mean: the mean before the cut.
        std: the standard deviation before the cut, above zero.
        a: the lower bound, as an absolute value.
        b: the upper bound, above `a`.
        seed: the seed of the draw.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: an argument is out of range, or the parameter is not floating.

    Example:
        >>> from ansatz import init, nn
        >>> weight = init.trunc_normal_(nn.Linear(100, 100).weight, std=0.02, a=-0.03, b=0.03)
        >>> bool(abs(weight.value).max() <= 0.03)
        True
    """
    return _initialized(p, TruncatedNormal(mean, std, a, b), seed)


def orthogonal_(p: P, gain: float = 1.0, *, seed: int | None = None) -> P:
    """Fill `p` with a random matrix whose rows, or columns if there are more rows, are orthogonal.

    Args:
        p: a parameter with at least two dimensions, of which all but the first are flattened; a
            view of one, or `None`.
        gain: a factor, such as `calculate_gain("tanh")`.
        seed: the seed of the draw.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: the gain is not finite, or the parameter is a vector or not floating.

    Example:
        >>> import numpy as np
        >>> from ansatz import init, nn
        >>> w = init.orthogonal_(nn.Linear(8, 8).weight, gain=2).value
        >>> bool(np.allclose(w @ w.T, 4 * np.eye(8), atol=1e-5))
        True
    """
    return _initialized(p, Orthogonal(gain), seed)


def eye_(p: P, *, seed: int | None = None) -> P:
    """Fill `p` with the identity matrix: ones on the main diagonal, zeros elsewhere.

    Args:
        p: a parameter with two dimensions, a view of one, or `None`.
        seed: accepted like everywhere; nothing is drawn.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: the parameter does not have two dimensions.

    Example:
        >>> from ansatz import init, nn
        >>> print(init.eye_(nn.Linear(3, 2).weight).value)
        [[1. 0. 0.]
         [0. 1. 0.]]
    """
    return _initialized(p, Identity(), seed)


def dirac_(p: P, groups: int = 1, *, seed: int | None = None) -> P:
    """Fill `p` with the kernel of a convolution that hands on its input channels.

    Args:
        p: a parameter with three to five dimensions, a view of one, or `None`.
        groups: the groups of the convolution.
        seed: accepted like everywhere; nothing is drawn.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: the parameter has another number of dimensions, or its first axis
            cannot be split into the groups.

    Example:
        >>> import ansatz as az
        >>> from ansatz import init
        >>> print(init.dirac_(az.Parameter((1, 1, 3))).value)
        [[[0. 1. 0.]]]
    """
    return _initialized(p, Dirac(groups), seed)


def sparse_(p: P, sparsity: float, std: float = 0.01, *, seed: int | None = None) -> P:
    """Fill `p` with draws from N(0, std²), and in each column ⌈sparsity · rows⌉ zeros.

    Args:
        p: a parameter with two dimensions, a view of one, or `None`.
        sparsity: the share of zeros, from 0 to 1.
        std: the standard deviation of the others.
        seed: the seed of the draw; it decides on the places of the zeros as well.

    Returns:
        What was given as `p`.

    Raises:
        InitializationError: an argument is out of range, or the parameter does not have two
            dimensions or is not floating.

    Example:
        >>> from ansatz import init, nn
        >>> weight = init.sparse_(nn.Linear(3, 10).weight, sparsity=0.1)
        >>> print((weight.value == 0).sum(axis=0))
        [1 1 1]
    """
    return _initialized(p, Sparse(sparsity, std), seed)


def _initialized(p: P, init: Initializer, seed: int | None) -> P:
    target: object = p
    if isinstance(target, DataView):
        target = target.holder
    if target is None:
        return p
    if isinstance(target, StandIn):
        raise TypeError(
            f"{target.describe()} is {target.formula()}, so it has no values of its own to fill; "
            "initialise the parameters that it is computed from"
        )
    if not isinstance(target, Declared):
        raise TypeError(
            f"an in-place initialiser takes a parameter, such as layer.weight or "
            f"layer.weight.data; got a value of type {type(p).__name__}. JAX arrays cannot be "
            "changed in place: pass the parameter, not its value"
        )
    if frame.current() is not None or not frame.at_top_level():
        raise TraceError(
            f"{target.describe()} was initialised inside a transformation, which would leave the "
            "draw out of the compiled program. Initialise before you call the function."
        )
    target.initialize(init, seed=seed, force_reinit=True)
    return p
