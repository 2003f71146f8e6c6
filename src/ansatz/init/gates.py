"""Biases of recurrent layers, whose gates stand one after the other in one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.core.errors import InitializationError, format_shape
from ansatz.core.initializer import Initializer, Spec
from ansatz.init.arguments import finite
from ansatz.init.constants import in_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LSTMBias(Initializer, name="lstmbias lstm_bias"):
    """Zero, but for the forget gate of an LSTM, whose bias is `forget_bias`.

    A forget gate that starts open lets gradients pass through time (R. Jozefowicz, W. Zaremba,
    I. Sutskever, *An empirical exploration of recurrent network architectures*, 2015). The order
    of the gates is input, forget, cell, output, as in PyTorch and Gluon: with `h = shape[0] / 4`,
    elements h … 2h - 1 are those of the forget gate.

    An LSTM adds two biases, `bias_ih_l0` and `bias_hh_l0`. Give this one to the first and zeros to
    the second; given to both, the gate starts at twice `forget_bias`.

    Args:
        forget_bias: the bias of the forget gate.

    Raises:
        InitializationError: `forget_bias` is not a finite number. When drawn: the parameter does
            not have one dimension of a multiple of four, or its dtype cannot hold the value.

    Example:
        >>> import ansatz as az
        >>> from ansatz import init
        >>> print(az.Parameter((8,), init=init.LSTMBias()).value)
        [0. 0. 1. 1. 0. 0. 0. 0.]
    """

    def __init__(self, forget_bias: float = 1.0) -> None:
        self.forget_bias = finite("LSTMBias", "forget_bias", forget_bias)

    def draw(self, rng: np.random.Generator, spec: Spec) -> NDArray[Any]:
        """The vector."""
        if len(spec.shape) != 1 or spec.shape[0] % 4:
            raise InitializationError(
                f"{spec.name} has shape {format_shape(spec.shape)}, but {self!r} fills the bias of "
                "an LSTM: one dimension of four gates, (4 * hidden,). Select only such biases, by "
                "a rule: {'*.bias_ih_l*': init.LSTMBias()}"
            )
        gates = np.zeros((4, spec.shape[0] // 4), spec.dtype)
        gates[1] = in_dtype(self, self.forget_bias, spec)
        return gates.reshape(-1)
