"""Initialisers whose spread follows from the fans, to keep the variance from layer to layer.

The fans are those of the axes that the layer declares (`Parameter(fan_axes=…)`), so layouts other
than `(out, in, *kernel)` come out right.
"""

from __future__ import annotations

import math

from ansatz.core.initializer import BoundedUniform, Initializer, Spec
from ansatz.init.arguments import not_negative, one_of
from ansatz.init.distributions import Normal
from ansatz.init.gains import calculate_gain


class Xavier(Initializer, name="xavier glorot"):
    """The initialiser of Glorot and Bengio, in the form that Gluon gives it.

    With `s = √(magnitude / fan)`, where `fan` is the fan-in, the fan-out or their average:
    U(-s, s), or N(0, s²). The defaults are the *normalized initialization* of Glorot and Bengio,
    *Understanding the difficulty of training deep feedforward neural networks* (2010), eq. 16:
    U(±√(6 / (fan_in + fan_out))). Their variance with a normal distribution takes `magnitude=1`.

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


class Kaiming(Initializer, name="kaiming he"):
    """The initialiser of He, Zhang, Ren and Sun, *Delving deep into rectifiers* (2015), eq. 10–15.

    With `std = gain / √fan`: N(0, std²), not truncated, or U(-√3·std, √3·std).

    Args:
        mode: `"fan_in"` keeps the variance of the forward pass, `"fan_out"` that of the gradients.
        nonlinearity: what follows the layer: a name that `calculate_gain` knows.
        distribution: `"normal"` or `"uniform"`.
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
        self.distribution = one_of("Kaiming", "distribution", distribution, ("normal", "uniform"))
        found = calculate_gain(nonlinearity, param) if gain is None else gain
        self.gain = not_negative("Kaiming", "gain", found)

    def bind(self, spec: Spec) -> Initializer:
        """The distribution with the spread that the fan gives."""
        fan_in, fan_out = spec.fans
        fan = fan_in if self.mode == "fan_in" else fan_out
        std = self.gain / math.sqrt(fan) if fan else 0.0
        return Normal(std) if self.distribution == "normal" else BoundedUniform(math.sqrt(3) * std)
