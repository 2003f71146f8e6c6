"""Activation layers: functions of each element, or along an axis, without parameters.

Each layer is one of `activation_functions.py` with its options as attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from ansatz.core.module import Module
from ansatz.core.spelling import unknown_option
from ansatz.nn import activation_functions as functions
from ansatz.nn.sizes import checked_positive


class ActivationLayer(Module):
    """The base of layers that apply a function; its options are attributes of the layer.

    Args:
        **options: the options by name, those of the function that the subclass names.
    """

    _function: ClassVar[Callable[..., Any]]
    _options: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, function: Callable[..., Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if function is not None:
            cls._function = staticmethod(function)
            cls._options = tuple(inspect.signature(function).parameters)[1:]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        for name in options.keys() - set(self._options):
            raise unknown_option(type(self).__name__, name, self._options)
        for name in self._options:
            setattr(self, name, options[name])

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return self._function(x, **{name: getattr(self, name) for name in self._options})

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._options)


class ReLU(ActivationLayer, function=functions.relu):
    """`max(x, 0)`; the derivative at 0 is 0.

    Source: Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.ReLU()(jnp.array([-1.0, 0.0, 2.0])))
        [0. 0. 2.]
    """


class ReLU6(ActivationLayer, function=functions.relu6):
    """`min(max(x, 0), 6)`; the derivative at 0 and 6 is 0.

    Source: Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10".

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.ReLU6()(jnp.array([-1.0, 2.0, 8.0])))
        [0. 2. 6.]
    """


class LeakyReLU(ActivationLayer, function=functions.leaky_relu):
    """`x` where positive, else `negative_slope · x`.

    Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models".

    Args:
        negative_slope: the slope below and at 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.LeakyReLU(0.5)(jnp.array([-1.0, 2.0])))
        [-0.5  2. ]
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope=float(negative_slope))


class ELU(ActivationLayer, function=functions.elu):
    """`x` where positive, else `alpha (exp(x) - 1)`.

    Source: Clevert et al. 2015, "Fast and accurate deep network learning by exponential linear
    units", equation 1.

    Args:
        alpha: minus the limit towards minus infinity.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.ELU()(jnp.array([-1.0, 2.0])).round(4))
        [-0.6321  2.    ]
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=float(alpha))


class CELU(ActivationLayer, function=functions.celu):
    """`x` where positive, else `alpha (exp(x / alpha) - 1)`.

    Source: Barron 2017, "Continuously differentiable exponential linear units", equation 2.

    Args:
        alpha: minus the limit towards minus infinity.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.CELU(2.0)(jnp.array([-1.0, 2.0])).round(4))
        [-0.7869  2.    ]
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=float(alpha))


class SELU(ActivationLayer, function=functions.selu):
    """`λ · ELU(x, α)`, with α = 1.67326… and λ = 1.05070…, which keeps mean 0 and variance 1.

    Source: Klambauer et al. 2017, "Self-normalizing neural networks", equation 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.SELU()(jnp.array([-1.0, 1.0])).round(4))
        [-1.1113  1.0507]
    """


class GELU(ActivationLayer, function=functions.gelu):
    """`x Φ(x)`, where Φ is the distribution function of the standard normal.

    Source: Hendrycks & Gimpel 2016, "Gaussian error linear units", section 2.

    Args:
        approximate: `True` (or `"tanh"`, as PyTorch spells it) for the approximation of Φ by a
            tanh, within about 5e-4; `False` (or `"none"`) for the exact one.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.GELU()(jnp.array([-1.0, 0.0, 1.0])).round(4))
        [-0.1587  0.      0.8413]
    """

    def __init__(self, approximate: bool | Literal["none", "tanh"] = False) -> None:
        if approximate not in (True, False, "none", "tanh"):
            raise ValueError(
                f"approximate of GELU is True or 'tanh', False or 'none', got {approximate!r}"
            )
        super().__init__(approximate=approximate in (True, "tanh"))


class SiLU(ActivationLayer, function=functions.silu):
    """`x · sigmoid(x)`, also called swish.

    Source: Elfwing et al. 2017, "Sigmoid-weighted linear units", equation 7; Ramachandran et al.
    2017, "Searching for activation functions".

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.SiLU()(jnp.array([-1.0, 1.0])).round(4))
        [-0.2689  0.7311]
    """


class Swish(ActivationLayer, function=functions.swish):
    """`x · sigmoid(beta · x)`; with `beta` 1 it is `SiLU`.

    Source: Ramachandran et al. 2017, "Searching for activation functions", section 3.2.

    Args:
        beta: how sharp the bend is.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Swish(2.0)(jnp.array([-1.0, 1.0])).round(4))
        [-0.1192  0.8808]
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__(beta=float(beta))


class HardSwish(ActivationLayer, function=functions.hard_swish):
    """`x · relu6(x + 3) / 6`, a piecewise SiLU.

    Source: Howard et al. 2019, "Searching for MobileNetV3", section 5.2.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.HardSwish()(jnp.array([-4.0, 1.5, 3.0])))
        [-0.    1.125  3.   ]
    """


class Mish(ActivationLayer, function=functions.mish):
    """`x · tanh(softplus(x))`.

    Source: Misra 2019, "Mish: a self regularized non-monotonic activation function", equation 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Mish()(jnp.array([-1.0, 1.0])).round(4))
        [-0.3034  0.8651]
    """


class Softplus(ActivationLayer, function=functions.softplus):
    """`log(1 + exp(beta · x)) / beta`, a smooth ReLU that does not overflow.

    Source: Dugas et al. 2000, "Incorporating second-order functional knowledge for better option
    pricing", equation 5.

    Args:
        beta: how sharp the bend at 0 is; positive.

    Raises:
        ValueError: `beta` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Softplus()(jnp.array([0.0, 100.0])).round(4))
        [  0.6931 100.    ]
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__(beta=checked_positive("Softplus", "beta", beta))


class Threshold(ActivationLayer, function=functions.threshold):
    """`x` where it is above `threshold`, else `value`.

    Source: the equation.

    Args:
        threshold: what has to be passed.
        value: what stands in its place.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Threshold(1.0, 9.0)(jnp.array([1.0, 2.0])))
        [9. 2.]
    """

    def __init__(self, threshold: float, value: float) -> None:
        super().__init__(threshold=float(threshold), value=float(value))


class Sigmoid(ActivationLayer, function=functions.sigmoid):
    """`1 / (1 + exp(-x))`.

    Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating
    errors", equation 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Sigmoid()(jnp.array([0.0, 100.0])))
        [0.5 1. ]
    """


class HardSigmoid(ActivationLayer, function=functions.hard_sigmoid):
    """`relu6(x + 3) / 6`, a piecewise linear sigmoid.

    Source: Howard et al. 2019, "Searching for MobileNetV3", section 5.2.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.HardSigmoid()(jnp.array([-3.0, 0.0, 1.5])))
        [0.   0.5  0.75]
    """


class LogSigmoid(ActivationLayer, function=functions.log_sigmoid):
    """`log(1 / (1 + exp(-x)))`, which does not overflow.

    Source: the equation.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.LogSigmoid()(jnp.array([-100.0, 0.0])).round(4))
        [-100.       -0.6931]
    """


class Tanh(ActivationLayer, function=functions.tanh):
    """The hyperbolic tangent.

    Source: LeCun et al. 1998, "Efficient backprop", section 4.4.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Tanh()(jnp.array([0.0, 1.0])).round(4))
        [0.     0.7616]
    """


class HardTanh(ActivationLayer, function=functions.hard_tanh):
    """`x` between two bounds, the nearer bound outside; the derivative at the bounds is 0.

    Source: Collobert 2004, "Large scale machine learning", section 6.2.

    Args:
        minimum: the lower bound.
        maximum: the upper bound.

    Raises:
        ValueError: `minimum` is not below `maximum`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.HardTanh()(jnp.array([-2.0, 0.5, 2.0])))
        [-1.   0.5  1. ]
    """

    def __init__(self, minimum: float = -1.0, maximum: float = 1.0) -> None:
        if not minimum < maximum:
            raise ValueError(
                f"minimum of HardTanh has to be below maximum, got {minimum} and {maximum}"
            )
        super().__init__(minimum=float(minimum), maximum=float(maximum))


class Softsign(ActivationLayer, function=functions.softsign):
    """`x / (1 + |x|)`.

    Source: Turian, Bergstra & Bengio 2009, "Quadratic features and deep architectures for
    chunking".

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Softsign()(jnp.array([-1.0, 3.0])))
        [-0.5   0.75]
    """


class HardShrink(ActivationLayer, function=functions.hard_shrink):
    """`x` where `|x| > bound`, else 0.

    Source: Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage", section 1.

    Args:
        bound: up to where everything becomes 0; not negative.

    Raises:
        ValueError: `bound` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.HardShrink()(jnp.array([0.5, 0.75])))
        [0.   0.75]
    """

    def __init__(self, bound: float = 0.5) -> None:
        if not bound >= 0:
            raise ValueError(f"bound of HardShrink cannot be negative, got {bound}")
        super().__init__(bound=float(bound))


class SoftShrink(ActivationLayer, function=functions.soft_shrink):
    """`x` moved towards 0 by `bound`, and 0 where that would pass it.

    Source: Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage", section 1.

    Args:
        bound: up to where everything becomes 0; not negative.

    Raises:
        ValueError: `bound` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.SoftShrink()(jnp.array([0.5, 0.75])))
        [0.   0.25]
    """

    def __init__(self, bound: float = 0.5) -> None:
        if not bound >= 0:
            raise ValueError(f"bound of SoftShrink cannot be negative, got {bound}")
        super().__init__(bound=float(bound))


class TanhShrink(ActivationLayer, function=functions.tanh_shrink):
    """`x - tanh(x)`.

    Source: the equation.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.TanhShrink()(jnp.array([0.0, 1.0])).round(4))
        [0.     0.2384]
    """
