"""Initialisers whose spread follows from the fans, to keep the variance from layer to layer.

The fans are those of the axes that the layer declares (`Parameter(fan_axes=…)`), so layouts other
than `(out, in, *kernel)` come out right: a transposed convolution or an embedding, whose first axis
is the input, has the fan-in of its inputs here. PyTorch and Gluon take the second axis for the
inputs of any layer, so their fan-in of a transposed convolution is our fan-out.

In a grouped layer the fan-in counts the inputs of one group, because the shape holds no others; the
fan-out counts the outputs of all groups, in all three libraries.
"""

from __future__ import annotations

import math
from typing import Any

from ansatz.core.initializer import BoundedUniform, Initializer, Spec, require_floating
from ansatz.core.spelling import hinted
from ansatz.init.arguments import finite, not_negative, one_of
from ansatz.init.constants import Constant
from ansatz.init.distributions import Normal
from ansatz.init.gains import calculate_gain
from ansatz.init.truncated import TruncatedNormal

_DISTRIBUTIONS = ("normal", "uniform", "truncated_normal")

_STD_OF_CUT = 0.8796256610342398
"""The standard deviation of N(0, 1) conditioned on [-2, 2]: √(1 - 4·φ(2) / (2·Φ(2) - 1))."""


def with_std(std: float, distribution: str) -> Initializer:
    """The distribution of this name that has mean zero and this standard deviation."""
    if not std:
        return Constant(0.0)
    if distribution == "normal":
        return Normal(std)
    if distribution == "uniform":
        return BoundedUniform(math.sqrt(3) * std)
    uncut = std / _STD_OF_CUT
    return TruncatedNormal(0.0, uncut, -2 * uncut, 2 * uncut)


class VarianceScaling(Initializer, name="variance_scaling"):
    """Mean zero and variance `scale / fan`: the general form of the others in this file.

    It is what Keras, Flax and JAX call so. Their normal distributions are cut at two standard
    deviations and widened to keep the variance; that is `"truncated_normal"` here, and `"normal"`
    is not cut, as in PyTorch and Gluon.

    | name | scale | mode | distribution |
    | --- | --- | --- | --- |
    | `Kaiming()`, `kaiming_normal_` with ReLU | 2 | fan_in | normal |
    | `he_normal` of Keras and JAX | 2 | fan_in | truncated_normal |
    | `Xavier()`, `xavier_uniform_`, `glorot_uniform` | 1 | fan_avg | uniform |
    | `Xavier("gaussian", magnitude=1)`, `xavier_normal_` | 1 | fan_avg | normal |
    | `LeCun()` | 1 | fan_in | normal |
    | `lecun_normal` of Keras and JAX (the default of Flax) | 1 | fan_in | truncated_normal |
    | `FanInUniform()`, PyTorch's own default | 1/3 | fan_in | uniform |

    Args:
        scale: the variance times the fan, at least zero.
        mode: `"fan_in"`, `"fan_out"` or `"fan_avg"`, the average of both.
        distribution: `"normal"`, `"uniform"` or `"truncated_normal"`.

    Raises:
        InitializationError: an argument is none of these. When drawn: the parameter has fewer
            dimensions than its fans need, or no real floating dtype.

    Example:
        >>> from ansatz import init, nn
        >>> he_normal = init.VarianceScaling(2, "fan_in", "truncated_normal")
        >>> layer = nn.Dense(300, in_units=200, weight_init=he_normal)
        >>> bool(0.095 < layer.weight.value.std() < 0.105)
        True
    """

    needs_fans = True

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "normal"
    ) -> None:
        self.scale = not_negative("VarianceScaling", "scale", scale)
        self.mode = one_of("VarianceScaling", "mode", mode, ("fan_in", "fan_out", "fan_avg"))
        self.distribution = one_of("VarianceScaling", "distribution", distribution, _DISTRIBUTIONS)

    def bind(self, spec: Spec) -> Initializer:
        """The distribution with the variance that the fan gives."""
        require_floating(self, spec)
        fan_in, fan_out = spec.fans
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        return with_std(math.sqrt(self.scale / fan) if fan else 0.0, self.distribution)


class LeCun(Initializer, name="lecun"):
    """Variance 1 / fan_in, so that the outputs of a layer vary as much as its inputs.

    After LeCun, Bottou, Orr and Müller, *Efficient BackProp* (1998), section 4.6; also the
    initialiser of self-normalising networks (Klambauer et al., 2017), whose nonlinearity is SELU.
    Neither PyTorch nor Gluon has it. `lecun_normal` of Keras, Flax and JAX is the truncated one.

    Args:
        distribution: `"normal"`: N(0, 1 / fan_in); `"uniform"`: U(±√(3 / fan_in)); or
            `"truncated_normal"`: cut at two standard deviations and widened to keep the variance.

    Raises:
        InitializationError: no distribution has that name. When drawn: the parameter has fewer
            dimensions than its fans need, or no real floating dtype.

    Example:
        >>> from ansatz import init, nn
        >>> layer = nn.Dense(300, in_units=100, weight_init=init.LeCun())
        >>> bool(0.095 < layer.weight.value.std() < 0.105)
        True
    """

    needs_fans = True

    def __init__(self, distribution: str = "normal") -> None:
        self.distribution = one_of("LeCun", "distribution", distribution, _DISTRIBUTIONS)

    def bind(self, spec: Spec) -> Initializer:
        """The distribution with the variance that the fan-in gives."""
        require_floating(self, spec)
        fan_in, _ = spec.fans
        return with_std(1 / math.sqrt(fan_in) if fan_in else 0.0, self.distribution)


class Xavier(Initializer, name="xavier glorot"):
    """The initialiser of Glorot and Bengio, in the form that Gluon gives it.

    With `s = √(magnitude / fan)`, where `fan` is the fan-in, the fan-out or their average:
    U(-s, s), or N(0, s²). The defaults are the *normalized initialization* of Glorot and Bengio,
    *Understanding the difficulty of training deep feedforward neural networks* (2010), eq. 16:
    U(±√(6 / (fan_in + fan_out))), PyTorch's `xavier_uniform_`. As in Gluon, `"gaussian"` keeps the
    magnitude, so its variance is three times that of PyTorch's `xavier_normal_`, which is
    `magnitude=1`. It is not truncated.

    Args:
        rnd_type: `"uniform"` or `"gaussian"`.
        factor_type: `"avg"`, `"in"` or `"out"`.
        magnitude: at least zero.

    Raises:
        InitializationError: an argument is none of these. When drawn: the parameter has fewer
            dimensions than its fans need, or no real floating dtype.

    Example:
        >>> from ansatz import init, nn
        >>> layer = nn.Dense(8, in_units=4, weight_init=init.Xavier())
        >>> bool(abs(layer.weight.value).max() <= (6 / (4 + 8)) ** 0.5)
        True
    """

    needs_fans = True

    @hinted()
    def __init__(
        self, rnd_type: str = "uniform", factor_type: str = "avg", magnitude: float = 3
    ) -> None:
        self.rnd_type = one_of("Xavier", "rnd_type", rnd_type, ("uniform", "gaussian"))
        self.factor_type = one_of("Xavier", "factor_type", factor_type, ("avg", "in", "out"))
        self.magnitude = not_negative("Xavier", "magnitude", magnitude)

    def bind(self, spec: Spec) -> Initializer:
        """The distribution with the spread that the fans give."""
        fan_in, fan_out = spec.fans
        fan = {"in": fan_in, "out": fan_out, "avg": (fan_in + fan_out) / 2}[self.factor_type]
        scale = math.sqrt(self.magnitude / fan) if fan else 0.0
        return BoundedUniform(scale) if self.rnd_type == "uniform" else Normal(scale)


class MSRAPrelu(Xavier, name="msraprelu"):
    """The initialiser of He et al. for PReLU, in the form that Gluon gives it.

    It is `Xavier("gaussian", factor_type, 2 / (1 + slope²))`. Its defaults average the fans and
    take a slope of 0.25, so it is not the initialiser of the paper for ReLU, which is `Kaiming()`,
    or `MSRAPrelu("in", 0)`.

    Args:
        factor_type: `"avg"`, `"in"` or `"out"`.
        slope: the slope of the PReLU below zero.

    Raises:
        InitializationError: an argument is none of these. When drawn: the parameter has fewer
            dimensions than its fans need, or no real floating dtype.

    Example:
        >>> from ansatz import init, nn
        >>> layer = nn.Dense(300, in_units=200, weight_init=init.MSRAPrelu("in", 0))
        >>> bool(0.095 < layer.weight.value.std() < 0.105)
        True
    """

    def __init__(self, factor_type: str = "avg", slope: float = 0.25) -> None:
        self.slope = finite("MSRAPrelu", "slope", slope)
        factor_type = one_of("MSRAPrelu", "factor_type", factor_type, ("avg", "in", "out"))
        super().__init__("gaussian", factor_type, 2 / (1 + self.slope**2))

    def _arguments(self) -> tuple[tuple[str, Any], ...]:
        return (("factor_type", self.factor_type), ("slope", self.slope))


class Kaiming(Initializer, name="kaiming he"):
    """The initialiser of He, Zhang, Ren and Sun, *Delving deep into rectifiers* (2015), eq. 10–15.

    With `std = gain / √fan`: N(0, std²), not truncated; U(-√3·std, √3·std); or a normal
    distribution that is cut at two standard deviations and widened to keep the variance (the
    `he_normal` of Keras and JAX). The defaults are those of the paper, for a ReLU; PyTorch's
    `kaiming_normal_` names a leaky ReLU of slope `a=0`, which is the same. Gluon's `MSRAPrelu`
    averages the fans.

    Args:
        mode: `"fan_in"` keeps the variance of the forward pass, `"fan_out"` that of the gradients.
        nonlinearity: what follows the layer: a name that `calculate_gain` knows.
        distribution: `"normal"`, `"uniform"` or `"truncated_normal"`.
        param: the slope below zero, if the nonlinearity is `"leaky_relu"`.
        gain: the gain itself, in place of the one of `nonlinearity`.

    Raises:
        InitializationError: an argument is none of these. When drawn: the parameter has fewer
            dimensions than its fans need, or no real floating dtype.

    Example:
        >>> from ansatz import init, nn
        >>> layer = nn.Dense(300, in_units=200, weight_init=init.Kaiming())
        >>> bool(0.095 < layer.weight.value.std() < 0.105)
        True
    """

    needs_fans = True

    def __init__(
        self,
        mode: str = "fan_in",
        nonlinearity: str = "relu",
        distribution: str = "normal",
        *,
        param: float | None = None,
        gain: float | None = None,
    ) -> None:
        self.mode = one_of("Kaiming", "mode", mode, ("fan_in", "fan_out"))
        self.distribution = one_of("Kaiming", "distribution", distribution, _DISTRIBUTIONS)
        found = calculate_gain(nonlinearity, param) if gain is None else gain
        self.gain = not_negative("Kaiming", "gain", found)

    def bind(self, spec: Spec) -> Initializer:
        """The distribution with the spread that the fan gives."""
        require_floating(self, spec)
        fan_in, fan_out = spec.fans
        fan = fan_in if self.mode == "fan_in" else fan_out
        return with_std(self.gain / math.sqrt(fan) if fan else 0.0, self.distribution)
