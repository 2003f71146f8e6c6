"""Recurrent cells: one step of an RNN, an LSTM or a GRU, for loops of one's own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core.deferral import is_array
from ansatz.core.errors import DTypeError, ShapeError, format_shape, format_value
from ansatz.core.initializer import BoundedUniform
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.core.spelling import shared_init
from ansatz.nn.recurrence import KINDS, State, Weights, step
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size, checked_width, size_along

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def declare_weights(
    module: Module,
    suffix: str,
    *,
    gates: int,
    hidden_size: int,
    input_size: int | None,
    proj_size: int = 0,
    use_bias: bool,
    weight_init: Any,
    bias_init: Any,
    dtype: DTypeLike,
) -> None:
    """Give a module the parameters of one recurrence, with PyTorch's names and initial values.

    Args:
        module: gets the attributes `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` and, with a
            projection, `weight_hr`.
        suffix: what the names end with, such as `"_l0_reverse"`.
        gates: how many rows of a weight belong to one hidden unit.
        hidden_size: the number of hidden units.
        input_size: the width of the input, `None` if it is not known yet.
        proj_size: the width to which the output is projected; 0 for no projection.
        use_bias: whether there are biases; without, they are `None`.
        weight_init: the initialiser of all weights, `None` for the choice of `initialize`.
        bias_init: the initialiser of both biases, `None` for the one of PyTorch.
        dtype: of all parameters.
    """
    uniform = BoundedUniform(1 / math.sqrt(hidden_size) if hidden_size else 0.0)
    rows, width = gates * hidden_size, proj_size or hidden_size

    def weight(*shape: int | None) -> Parameter:
        return Parameter(shape, weight_init, dtype=dtype, fallback=uniform)

    def bias() -> Parameter | None:
        init = uniform if bias_init is None else bias_init
        return Parameter((rows,), init, dtype=dtype) if use_bias else None

    setattr(module, f"weight_ih{suffix}", weight(rows, input_size))
    setattr(module, f"weight_hh{suffix}", weight(rows, width))
    setattr(module, f"bias_ih{suffix}", bias())
    setattr(module, f"bias_hh{suffix}", bias())
    if proj_size:
        setattr(module, f"weight_hr{suffix}", weight(proj_size, hidden_size))


def weights_of(module: Module, suffix: str) -> Weights:
    """The values of what `declare_weights` declared."""
    found = {name: getattr(module, name + suffix, None) for name in Weights._fields}
    return Weights(**{name: cell.value for name, cell in found.items() if cell is not None})


class RecurrentCell(Module):
    """What the three cells have in common."""

    kind: str

    @shared_init
    def __init__(
        self,
        hidden_size: int,
        *,
        input_size: int | None = None,
        use_bias: bool = True,
        weight_init: Any = None,
        bias_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        self.hidden_size = checked_size("hidden_size", hidden_size)
        declare_weights(
            self,
            "",
            gates=KINDS[self.kind].gates,
            hidden_size=self.hidden_size,
            input_size=checked_width("input_size", input_size),
            use_bias=use_bias,
            weight_init=weight_init,
            bias_init=bias_init,
            dtype=dtype,
        )
        share(self, params, weight_init=weight_init, bias_init=bias_init)

    @property
    def input_size(self) -> int | None:
        """The width of the input; `None` while it is not known."""
        size: int | None = self.weight_ih.shape[1]
        return size

    def infer_shape(self, x: Any, state: Any = None) -> None:
        """Take the width of the input from `x`, of shape `(..., input_size)`."""
        self.weight_ih.shape = (self.weight_ih.shape[0], size_along(x, -1))

    def initial_state(self, x: Any) -> Any:
        """The state of zeros with which a call begins that is given none.

        Args:
            x: the input of one step, shape `(..., input_size)`.
        """
        shape = (*x.shape[:-1], self.hidden_size)
        zeros = jnp.zeros(shape, jnp.result_type(x, self.weight_hh.value))
        return zeros if KINDS[self.kind].states == 1 else (zeros,) * KINDS[self.kind].states

    def _step(self, x: Any, state: Any) -> State:
        name = type(self).__name__
        given = checked_state(name, self.kind, self.initial_state(x) if state is None else state)
        check_state_shape(name, given, (*x.shape[:-1], self.hidden_size), x)
        new: State = step(self.kind, x, given, weights_of(self, ""))
        return new

    def extra_repr(self) -> str:
        """`input -> hidden`, and what differs from the defaults."""
        biased = "" if self.bias_ih is not None else ", use_bias=False"
        return f"{self.input_size} -> {self.hidden_size}{biased}"


class RNNCell(RecurrentCell):
    """One step of a plain recurrence, `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`.

    All parameters are drawn from U(±1/√hidden_size), as `torch.nn.RNNCell` does.

    Source: Elman 1990, "Finding structure in time".

    Args:
        hidden_size: the number of hidden units.
        input_size: the width of the input; without one, the first input tells it.
        nonlinearity: `"tanh"` or `"relu"`.
        use_bias: whether there are biases.
        weight_init: the initialiser of both weights; without one, `initialize` may choose.
        bias_init: the initialiser of both biases; without one they are drawn as above, whatever
            default `initialize` is given.
        params: `other.collect_params()` of a cell whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight_ih: shape `(hidden_size, input_size)`.
        weight_hh: shape `(hidden_size, hidden_size)`.
        bias_ih: shape `(hidden_size,)`, or `None`.
        bias_hh: shape `(hidden_size,)`, or `None`.

    Raises:
        ValueError: there is no such nonlinearity.
        ShapeError: when called, if input or state have another width.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> cell = nn.RNNCell(3)
        >>> h = cell(jnp.ones((2, 5)))
        >>> cell(jnp.ones((2, 5)), h).shape
        (2, 3)
        >>> cell
        RNNCell(5 -> 3)
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        input_size: int | None = None,
        nonlinearity: str = "tanh",
        use_bias: bool = True,
        weight_init: Any = None,
        bias_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.kind = checked_nonlinearity(nonlinearity)
        super().__init__(
            hidden_size,
            input_size=input_size,
            use_bias=use_bias,
            weight_init=weight_init,
            bias_init=bias_init,
            params=params,
            dtype=dtype,
        )

    def forward(self, x: Any, state: Any = None) -> Any:
        """`(..., input_size)` and the old `h`, or zeros, to the new `h`, `(..., hidden_size)`."""
        return self._step(x, state)[0]

    def extra_repr(self) -> str:
        """`input -> hidden`, and what differs from the defaults."""
        return super().extra_repr() + ("" if self.kind == "tanh" else f", {self.kind}")


class LSTMCell(RecurrentCell):
    """One step of a long short-term memory.

        i, f, o = σ(W_ih x + b_ih + W_hh h + b_hh),  g = tanh(likewise)
        c' = f c + i g,  h' = o tanh(c')

    The gates are stacked in the order i, f, g, o. All parameters are drawn from
    U(±1/√hidden_size), as `torch.nn.LSTMCell` does; the forget gate gets no bias of its own.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory"; Gers, Schmidhuber & Cummins
    2000, "Learning to forget".

    Args:
        hidden_size: the number of hidden units.
        input_size: the width of the input; without one, the first input tells it.
        use_bias: whether there are biases.
        weight_init: the initialiser of both weights; without one, `initialize` may choose.
        bias_init: the initialiser of both biases; without one they are drawn as above, whatever
            default `initialize` is given.
        params: `other.collect_params()` of a cell whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight_ih: shape `(4 · hidden_size, input_size)`.
        weight_hh: shape `(4 · hidden_size, hidden_size)`.
        bias_ih: shape `(4 · hidden_size,)`, or `None`.
        bias_hh: shape `(4 · hidden_size,)`, or `None`.

    Raises:
        ShapeError: when called, if input or state have another width.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> cell = nn.LSTMCell(3)
        >>> def advance(state, x):
        ...     h, c = cell(x, state)
        ...     return (h, c), h
        >>> state = jnp.zeros((2, 3)), jnp.zeros((2, 3))
        >>> (h, c), outputs = az.scan(advance, state, jnp.ones((7, 2, 5)))
        >>> outputs.shape
        (7, 2, 3)
    """

    kind = "lstm"

    def forward(self, x: Any, state: Any = None) -> Any:
        """`(..., input_size)` and the old `(h, c)`, or zeros, to the new `(h, c)`."""
        return self._step(x, state)


class GRUCell(RecurrentCell):
    """One step of a gated recurrent unit.

        r, z = σ(W_ih x + b_ih + W_hh h + b_hh)
        n = tanh(W_in x + b_in + r (W_hn h + b_hn)),  h' = (1 - z) n + z h

    The gates are stacked in the order r, z, n. The reset gate acts after the product with the
    recurrent weight, as in PyTorch and cuDNN, not before it as in the published paper. All
    parameters are drawn from U(±1/√hidden_size), as `torch.nn.GRUCell` does.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", in the
    first version (arXiv 1406.1078v1).

    Args:
        hidden_size: the number of hidden units.
        input_size: the width of the input; without one, the first input tells it.
        use_bias: whether there are biases.
        weight_init: the initialiser of both weights; without one, `initialize` may choose.
        bias_init: the initialiser of both biases; without one they are drawn as above, whatever
            default `initialize` is given.
        params: `other.collect_params()` of a cell whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight_ih: shape `(3 · hidden_size, input_size)`.
        weight_hh: shape `(3 · hidden_size, hidden_size)`.
        bias_ih: shape `(3 · hidden_size,)`, or `None`.
        bias_hh: shape `(3 · hidden_size,)`, or `None`.

    Raises:
        ShapeError: when called, if input or state have another width.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> cell = nn.GRUCell(3)
        >>> cell(jnp.ones((2, 5)), cell(jnp.ones((2, 5)))).shape
        (2, 3)
    """

    kind = "gru"

    def forward(self, x: Any, state: Any = None) -> Any:
        """`(..., input_size)` and the old `h`, or zeros, to the new `h`, `(..., hidden_size)`."""
        return self._step(x, state)[0]


def checked_nonlinearity(name: str) -> str:
    """The name of a nonlinearity of a plain recurrence.

    Raises:
        ValueError: it is another one.
    """
    if name not in ("tanh", "relu"):
        raise ValueError(f"the nonlinearity of an RNN is 'tanh' or 'relu', got {name!r}")
    return name


def checked_state(layer: str, kind: str, state: Any) -> State:
    """A given state of a recurrent layer or cell as a tuple of arrays: `(h,)`, or `(h, c)`.

    Raises:
        TypeError: it is something else.
        DTypeError: it is of integers or truth values, which no state that came out can be.
    """
    count = KINDS[kind].states
    expected = "one array h" if count == 1 else "a pair (h, c) of arrays"
    parts = (state,) if count == 1 else state
    if not (isinstance(parts, tuple | list) and len(parts) == count and all(map(is_array, parts))):
        raise TypeError(
            f"the initial state of {layer} is {expected}, or None for zeros; got "
            f"{format_value(state)}"
        )
    for part in parts:
        if not jnp.issubdtype(part.dtype, jnp.inexact):
            raise DTypeError(
                f"the state of {layer} is of floating-point numbers, got {format_value(part)}; "
                "cast it: state.astype('float32')"
            )
    return tuple(parts)


def check_state_shape(layer: str, state: State, shape: tuple[int, ...], x: Any) -> None:
    """Refuse a state of a cell that does not fit the input of its step.

    Raises:
        ShapeError: a part of it has not `shape`, which belongs to the input `x`.
    """
    for part in state:
        if part.shape != shape:
            raise ShapeError(
                f"the state of {layer} has shape {format_shape(part.shape)}, "
                f"expected {format_shape(shape)} for an input of shape {format_shape(x.shape)}"
            )


def checked_lengths(layer: str, lengths: Any, batch: int, steps: int) -> jax.Array:
    """The numbers of valid steps of the sequences of a batch.

    Args:
        layer: what the layer is called.
        lengths: what was given, shape `(batch,)`.
        batch: how many sequences there are.
        steps: how many steps the longest has.

    Raises:
        ShapeError: it is not one number for each sequence.
        DTypeError: these are not integers.
        ValueError: one is below 0 or past the last step, if that can be seen.
    """
    traced = isinstance(lengths, jax.core.Tracer)
    lengths = lengths if traced else np.asarray(lengths)
    if lengths.shape != (batch,):
        raise ShapeError(
            f"lengths of {layer} has one number for each sequence, shape ({batch},); got shape "
            f"{format_shape(lengths.shape)}"
        )
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise DTypeError(f"lengths of {layer} are integers, got {lengths.dtype}")
    if not traced and ((lengths < 0) | (lengths > steps)).any():
        raise ValueError(
            f"lengths of {layer} are from 0 to the number of steps, {steps}; got {lengths.tolist()}"
        )
    return jnp.asarray(lengths)
