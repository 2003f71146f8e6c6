"""Activation layers: functions of each element (softmax: of each row), most without parameters."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp

from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.init import Constant
from ansatz.nn import activation_functions as functions
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_width, size_along

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


# One compiled function each, so that a layer that runs outside of any jit costs one dispatch. (Some
# of jax.nn's are custom_jvp outside and jit inside, which takes ten times as long to call.)
_celu = jax.jit(jax.nn.celu, static_argnums=1)
_elu = jax.jit(jax.nn.elu, static_argnums=1)
_gelu = jax.jit(functions.gelu, static_argnums=1)
_hard_sigmoid = jax.jit(functions.hard_sigmoid)
_hard_swish = jax.jit(functions.hard_swish)
_hard_tanh = jax.jit(functions.hard_tanh, static_argnums=(1, 2))
_leaky_relu = jax.jit(functions.leaky_relu, static_argnums=1)
_log_sigmoid = jax.jit(jax.nn.log_sigmoid)
_log_softmax = jax.jit(functions.log_softmax, static_argnums=1)
_mish = jax.jit(jax.nn.mish)
_relu = jax.jit(jax.nn.relu)
_relu6 = jax.jit(functions.relu6)
_selu = jax.jit(jax.nn.selu)
_sigmoid = jax.jit(jax.nn.sigmoid)
_silu = jax.jit(jax.nn.silu)
_softmax = jax.jit(functions.softmax, static_argnums=1)
_softplus = jax.jit(functions.softplus, static_argnums=1)
_softsign = jax.jit(jax.nn.soft_sign)
_tanh = jax.jit(jnp.tanh)


class ReLU(Module):
    """`max(x, 0)`; the derivative at 0 is 0.

    Source: Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.ReLU()(jnp.array([-1.0, 0.0, 2.0])))
        [0. 0. 2.]
    """

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _relu(x)


class ReLU6(Module):
    """`min(max(x, 0), 6)`; the derivative at 0 and 6 is 0.

    Source: Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10".

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.ReLU6()(jnp.array([-1.0, 2.0, 8.0])))
        [0. 2. 6.]
    """

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _relu6(x)


class LeakyReLU(Module):
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
        super().__init__()
        self.negative_slope = float(negative_slope)

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """`x` where positive, else `weight · x`, with slopes that are learned.

    The slopes start at 0.25 whatever default is given to `initialize`.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 1.

    Args:
        num_parameters: 1 for one slope in all; or one slope for each channel: how many, or `None`
            if the first input shall tell.
        init: the first slope (a number), or an initialiser.
        axis: where the channels are.
        params: `other.collect_params()` of a layer whose parameter this one shall hold.
        dtype: the dtype of the slopes.

    Attributes:
        weight: shape `(num_parameters,)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.PReLU()(jnp.array([-1.0, 2.0])))
        [-0.25  2.  ]
    """

    def __init__(
        self,
        num_parameters: int | None = 1,
        init: Any = 0.25,
        *,
        axis: int = -1,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        slopes = checked_width("num_parameters", num_parameters)
        chosen = Constant(init) if isinstance(init, float | int) else init
        self.axis = axis
        self.per_channel = slopes != 1
        self.weight = Parameter((slopes,), chosen, dtype=dtype)
        share(self, params)

    def infer_shape(self, x: Any) -> None:
        """Take the number of channels from `x`."""
        if self.per_channel:
            self.weight.shape = (size_along(x, self.axis),)

    def forward(self, x: Any) -> Any:
        """The same shape as `x`."""
        return _prelu(x, self.weight.value, self.axis if self.per_channel else -1)

    def extra_repr(self) -> str:
        """How many slopes there are."""
        return f"num_parameters={self.weight.shape[0]}"


@functools.partial(jax.jit, static_argnums=2)
def _prelu(x: jax.Array, slopes: jax.Array, axis: int) -> jax.Array:
    if slopes.size != 1:
        shape = [1] * x.ndim
        shape[axis] = slopes.size
        slopes = slopes.reshape(shape)
    else:
        slopes = slopes.reshape(())
    return jnp.where(x > 0, x, slopes * x)


class ELU(Module):
    """`x` where positive, else `alpha (exp(x) - 1)`.

    Source: Clevert et al. 2015, "Fast and accurate deep network learning by exponential linear
    units", equation 1.

    Args:
        alpha: minus the limit towards minus infinity.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = float(alpha)

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _elu(x, self.alpha)

    def extra_repr(self) -> str:
        """The scale."""
        return f"alpha={self.alpha}"


class CELU(Module):
    """`x` where positive, else `alpha (exp(x / alpha) - 1)`.

    Source: Barron 2017, "Continuously differentiable exponential linear units", equation 2.

    Args:
        alpha: minus the limit towards minus infinity.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = float(alpha)

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _celu(x, self.alpha)

    def extra_repr(self) -> str:
        """The scale."""
        return f"alpha={self.alpha}"


class SELU(Module):
    """`λ · ELU(x, α)`, with α = 1.67326… and λ = 1.05070…, which keeps mean 0 and variance 1.

    Source: Klambauer et al. 2017, "Self-normalizing neural networks", equation 2.
    """

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _selu(x)


class GELU(Module):
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
        super().__init__()
        if approximate not in (True, False, "none", "tanh"):
            raise ValueError(
                f"approximate of GELU is True or 'tanh', False or 'none', got {approximate!r}"
            )
        self.approximate = approximate in (True, "tanh")

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """Whether it is approximated."""
        return f"approximate={self.approximate}"


class SiLU(Module):
    """`x · sigmoid(x)`, also called swish.

    Source: Elfwing et al. 2017, "Sigmoid-weighted linear units", equation 7; Ramachandran et al.
    2017, "Searching for activation functions".
    """

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _silu(x)


Swish = SiLU


class HardSwish(Module):
    """`x · relu6(x + 3) / 6`, a piecewise SiLU.

    Source: Howard et al. 2019, "Searching for MobileNetV3", section 5.2.
    """

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _hard_swish(x)


class Mish(Module):
    """`x · tanh(softplus(x))`.

    Source: Misra 2019, "Mish: a self regularized non-monotonic activation function", equation 1.
    """

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _mish(x)


class Sigmoid(Module):
    """`1 / (1 + exp(-x))`."""

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _sigmoid(x)


class HardSigmoid(Module):
    """`relu6(x + 3) / 6`, a piecewise linear sigmoid.

    Source: Howard et al. 2019, "Searching for MobileNetV3", section 5.2.
    """

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _hard_sigmoid(x)


class LogSigmoid(Module):
    """`log(1 / (1 + exp(-x)))`, which does not overflow."""

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _log_sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _tanh(x)


class HardTanh(Module):
    """`x` between two bounds, the nearer bound outside; the derivative at the bounds is 0.

    Args:
        minimum: the lower bound.
        maximum: the upper bound.

    Raises:
        ValueError: `minimum` is not below `maximum`.
    """

    def __init__(self, minimum: float = -1.0, maximum: float = 1.0) -> None:
        super().__init__()
        if not minimum < maximum:
            raise ValueError(
                f"minimum of HardTanh has to be below maximum, got {minimum} and {maximum}"
            )
        self.minimum, self.maximum = float(minimum), float(maximum)

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _hard_tanh(x, self.minimum, self.maximum)

    def extra_repr(self) -> str:
        """The bounds."""
        return f"minimum={self.minimum}, maximum={self.maximum}"


class Softplus(Module):
    """`log(1 + exp(beta · x)) / beta`, a smooth ReLU that does not overflow.

    Source: Dugas et al. 2000, "Incorporating second-order functional knowledge for better option
    pricing", equation 5.

    Args:
        beta: how sharp the bend at 0 is; positive.

    Raises:
        ValueError: `beta` is not positive.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta of Softplus has to be positive, got {beta}")
        self.beta = float(beta)

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _softplus(x, self.beta)

    def extra_repr(self) -> str:
        """The sharpness."""
        return f"beta={self.beta}"


class Softsign(Module):
    """`x / (1 + |x|)`."""

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _softsign(x)


class Softmax(Module):
    """`exp(x) / Σ exp(x)` along one axis; low precision is summed in float32.

    A loss wants the logits instead: `nn.softmax_cross_entropy` takes the logarithm stably.

    Args:
        axis: the axis that sums to one.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.Softmax()(jnp.log(jnp.array([1.0, 3.0]))))
        [0.25 0.75]
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _softmax(x, self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class LogSoftmax(Module):
    """`x - log Σ exp(x)` along one axis; low precision is summed in float32.

    Args:
        axis: the axis whose exponentials sum to one.
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        return _log_softmax(x, self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"
