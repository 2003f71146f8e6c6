"""Activation layers along an axis: softmaxes, and gated units, which halve the axis."""

from __future__ import annotations

from typing import Any

from ansatz.nn import activation_functions as functions
from ansatz.nn.activations import ActivationLayer


class Softmax(ActivationLayer, function=functions.softmax):
    """`exp(x) / Σ exp(x)` along one axis; low precision is summed in float32.

    A loss wants the logits instead: `nn.softmax_cross_entropy` takes the logarithm stably.

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network
    outputs".

    Args:
        axis: the axis that sums to one.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Softmax()(jnp.log(jnp.array([1.0, 3.0]))))
        [0.25 0.75]
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis=axis)


class Softmin(ActivationLayer, function=functions.softmin):
    """`exp(-x) / Σ exp(-x)` along one axis; low precision is summed in float32.

    Source: the equation, `softmax(-x)`.

    Args:
        axis: the axis that sums to one.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Softmin()(jnp.log(jnp.array([1.0, 3.0]))).round(2))
        [0.75 0.25]
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis=axis)


class LogSoftmax(ActivationLayer, function=functions.log_softmax):
    """`x - log Σ exp(x)` along one axis; low precision is summed in float32.

    Source: the equation, `log(softmax(x))`.

    Args:
        axis: the axis whose exponentials sum to one.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.LogSoftmax()(jnp.array([0.0, 0.0])).round(4))
        [-0.6931 -0.6931]
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis=axis)


class GatedLayer(ActivationLayer):
    """The base of layers that multiply one half of an axis by a function of the other half."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis=axis)

    def forward(self, x: Any) -> Any:
        """`(..., 2 · n, ...)` to `(..., n, ...)` along `axis`, in the same dtype."""
        return super().forward(x)


class GLU(GatedLayer, function=functions.glu):
    """`a · sigmoid(b)`, with `a` the first half of `x` along `axis` and `b` the second.

    Source: Dauphin et al. 2016, "Language modeling with gated convolutional networks", equation 1.

    Args:
        axis: the axis that is halved; even.

    Raises:
        ShapeError: when called, if the axis does not exist or is odd.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.GLU()(jnp.array([1.0, 2.0, 0.0, 100.0])))
        [0.5 2. ]
    """


class ReGLU(GatedLayer, function=functions.reglu):
    """`a · relu(b)`, with `a` the first half of `x` along `axis` and `b` the second.

    Source: Shazeer 2020, "GLU variants improve transformer", equation 5.

    Args:
        axis: the axis that is halved; even.

    Raises:
        ShapeError: when called, if the axis does not exist or is odd.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.ReGLU()(jnp.array([1.0, 2.0, -1.0, 3.0])))
        [0. 6.]
    """


class GeGLU(GatedLayer, function=functions.geglu):
    """`a · gelu(b)`, with `a` the first half of `x` along `axis` and `b` the second.

    Source: Shazeer 2020, "GLU variants improve transformer", equation 5.

    Args:
        axis: the axis that is halved; even.

    Raises:
        ShapeError: when called, if the axis does not exist or is odd.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.GeGLU()(jnp.array([2.0, 2.0, 0.0, 100.0])))
        [  0. 200.]
    """


class SwiGLU(GatedLayer, function=functions.swiglu):
    """`a · silu(b)`, with `a` the first half of `x` along `axis` and `b` the second.

    Source: Shazeer 2020, "GLU variants improve transformer", equation 5.

    Args:
        axis: the axis that is halved; even.

    Raises:
        ShapeError: when called, if the axis does not exist or is odd.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> feed_forward = nn.Sequential(nn.Dense(2 * 32), nn.SwiGLU(), nn.Dense(8))
        >>> feed_forward(jnp.ones((4, 8))).shape
        (4, 8)
    """
