"""Recurrent layers: RNN, LSTM and GRU over whole sequences, in any number of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansatz.nn.recurrent_cells import checked_nonlinearity
from ansatz.nn.recurrent_stack import RecurrentLayer
from ansatz.nn.sharing import Params
from ansatz.nn.sizes import checked_size

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class _OneState(RecurrentLayer):
    """What the layers whose state is `h` alone have in common."""

    def forward(self, x: Any, state: Any = None, *, lengths: Any = None) -> Any:
        """All outputs and the last state.

        Args:
            x: shape `(batch, time, input_size)`, or as `batch_first` says; or without a batch.
            state: the initial `h`, shape `(layers · directions, batch, hidden_size)`, floating;
                zeros without one.
            lengths: how many steps of each sequence are valid, integers of shape `(batch,)`.
                Outputs past the end are zero, the last state is that of the last valid step, and
                the other direction begins there, as with PyTorch's packed sequences. Numbers below
                0 or past the last step are refused; where they are not known, under `jit`, they
                count as 0 or as all steps.

        Returns:
            The outputs of the last layer, shape `(batch, time, directions · hidden_size)`, and the
            last `h` of each layer and direction, of the shape of `state`.
        """
        y, (h,) = self._run(x, state, lengths)
        return y, h


class RNN(_OneState):
    """A plain recurrent layer, `h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)`.

    The batch comes first unless `batch_first=False`; this differs from PyTorch, whose default is
    time first. The layers above the first take the outputs of the one below, of both directions
    side by side. All parameters are drawn from U(±1/√hidden_size), as `torch.nn.RNN` does.

    Source: Elman 1990, "Finding structure in time"; both directions: Schuster & Paliwal 1997,
    "Bidirectional recurrent neural networks".

    Args:
        hidden_size: the number of hidden units.
        input_size: the width of the input; without one, the first input tells it.
        num_layers: how many layers are stacked.
        nonlinearity: `"tanh"` or `"relu"`.
        use_bias: whether there are biases.
        batch_first: whether the input is `(batch, time, features)`, not `(time, batch, features)`.
        dropout: the probability of dropping an element of the output of each layer but the last.
        bidirectional: whether a second recurrence runs from the end to the beginning.
        weight_init: the initialiser of all weights; without one, `initialize` may choose.
        bias_init: the initialiser of all biases; without one they are drawn as above, whatever
            default `initialize` is given.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters. Output and state have the dtype to which JAX promotes
            it, the input and a given state; the sums are float32 at least.

    Attributes:
        weight_ih_l0: shape `(hidden_size, input_size)`; with `_l1` and so on for further layers,
            which take the output of the layer below, and with `_reverse` for the other direction.
        weight_hh_l0: shape `(hidden_size, hidden_size)`.
        bias_ih_l0: shape `(hidden_size,)`, or `None`.
        bias_hh_l0: shape `(hidden_size,)`, or `None`.
        stream: the state that gives each call its dropout masks; `None` without dropout.

    Raises:
        ValueError: there is no such nonlinearity, or an option is out of range.
        ShapeError: when called, if input, state or lengths do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> rnn = nn.RNN(3, num_layers=2)
        >>> y, h = rnn(jnp.ones((2, 7, 5)))
        >>> y.shape, h.shape
        ((2, 7, 3), (2, 2, 3))
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        input_size: int | None = None,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        use_bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        weight_init: Any = None,
        bias_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.kind = checked_nonlinearity(nonlinearity)
        super().__init__(
            hidden_size,
            input_size=input_size,
            num_layers=num_layers,
            use_bias=use_bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            weight_init=weight_init,
            bias_init=bias_init,
            params=params,
            dtype=dtype,
        )


class LSTM(RecurrentLayer):
    """A long short-term memory over whole sequences.

        i, f, o = σ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh),  g = tanh(likewise)
        c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)

    The gates are stacked in the order i, f, g, o. The batch comes first unless
    `batch_first=False`; this differs from PyTorch, whose default is time first. All parameters are
    drawn from U(±1/√hidden_size), as `torch.nn.LSTM` does. The forget gate gets no bias of its
    own; a rule such as `"*.bias_hh_l*"` given to `initialize` can say otherwise.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory"; Gers, Schmidhuber & Cummins
    2000, "Learning to forget"; the projection: Sak, Senior & Beaufays 2014 (arXiv 1402.1128).

    Args:
        hidden_size: the number of hidden units.
        input_size: the width of the input; without one, the first input tells it.
        num_layers: how many layers are stacked.
        use_bias: whether there are biases.
        batch_first: whether the input is `(batch, time, features)`, not `(time, batch, features)`.
        dropout: the probability of dropping an element of the output of each layer but the last.
        bidirectional: whether a second recurrence runs from the end to the beginning.
        proj_size: the width to which `h` is projected by a further weight; 0 for no projection.
        weight_init: the initialiser of all weights; without one, `initialize` may choose.
        bias_init: the initialiser of all biases; without one they are drawn as above, whatever
            default `initialize` is given.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters. Output and state have the dtype to which JAX promotes
            it, the input and a given state; the sums are float32 at least.

    Attributes:
        weight_ih_l0: shape `(4 · hidden_size, input_size)`; with `_l1` and so on for further
            layers, which take the output of the layer below, and with `_reverse` for the other
            direction.
        weight_hh_l0: shape `(4 · hidden_size, proj_size or hidden_size)`.
        bias_ih_l0: shape `(4 · hidden_size,)`, or `None`.
        bias_hh_l0: shape `(4 · hidden_size,)`, or `None`.
        weight_hr_l0: shape `(proj_size, hidden_size)`; only with a projection.
        stream: the state that gives each call its dropout masks; `None` without dropout.

    Raises:
        ValueError: an option is out of range.
        ShapeError: when called, if input, state or lengths do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> lstm = nn.LSTM(3, bidirectional=True)
        >>> y, (h, c) = lstm(jnp.ones((2, 7, 5)), lengths=[7, 4])
        >>> y.shape, h.shape, c.shape
        ((2, 7, 6), (2, 2, 3), (2, 2, 3))
        >>> bool((y[1, 4:] == 0).all())
        True
        >>> lstm
        LSTM(5 -> 3, bidirectional=True)
    """

    kind = "lstm"

    def __init__(
        self,
        hidden_size: int,
        *,
        input_size: int | None = None,
        num_layers: int = 1,
        use_bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        weight_init: Any = None,
        bias_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.proj_size = checked_size("proj_size", proj_size)
        if self.proj_size >= checked_size("hidden_size", hidden_size) > 0:
            raise ValueError(
                f"proj_size of LSTM is smaller than hidden_size {hidden_size}, got {proj_size}"
            )
        super().__init__(
            hidden_size,
            input_size=input_size,
            num_layers=num_layers,
            use_bias=use_bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            weight_init=weight_init,
            bias_init=bias_init,
            params=params,
            dtype=dtype,
        )

    def forward(self, x: Any, state: Any = None, *, lengths: Any = None) -> Any:
        """All outputs and the last state.

        Args:
            x: shape `(batch, time, input_size)`, or as `batch_first` says; or without a batch.
            state: the initial `(h, c)`, shapes `(layers · directions, batch, size of h)` and
                `(layers · directions, batch, hidden_size)`, floating; zeros without one.
            lengths: how many steps of each sequence are valid, integers of shape `(batch,)`.
                Outputs past the end are zero, the last state is that of the last valid step, and
                the other direction begins there, as with PyTorch's packed sequences. Numbers below
                0 or past the last step are refused; where they are not known, under `jit`, they
                count as 0 or as all steps.

        Returns:
            The outputs of the last layer, shape `(batch, time, directions · size of h)`, and the
            last `(h, c)` of each layer and direction, of the shapes of `state`.
        """
        return self._run(x, state, lengths)


class GRU(_OneState):
    """A gated recurrent unit over whole sequences.

        r, z = σ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)
        n = tanh(W_in x_t + b_in + r (W_hn h_{t-1} + b_hn)),  h_t = (1 - z) n + z h_{t-1}

    The gates are stacked in the order r, z, n. The reset gate acts after the product with the
    recurrent weight, as in PyTorch and cuDNN, not before it as in the published paper. The batch
    comes first unless `batch_first=False`; this differs from PyTorch, whose default is time first.
    All parameters are drawn from U(±1/√hidden_size), as `torch.nn.GRU` does.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", in the
    first version (arXiv 1406.1078v1).

    Args:
        hidden_size: the number of hidden units.
        input_size: the width of the input; without one, the first input tells it.
        num_layers: how many layers are stacked.
        use_bias: whether there are biases.
        batch_first: whether the input is `(batch, time, features)`, not `(time, batch, features)`.
        dropout: the probability of dropping an element of the output of each layer but the last.
        bidirectional: whether a second recurrence runs from the end to the beginning.
        weight_init: the initialiser of all weights; without one, `initialize` may choose.
        bias_init: the initialiser of all biases; without one they are drawn as above, whatever
            default `initialize` is given.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters. Output and state have the dtype to which JAX promotes
            it, the input and a given state; the sums are float32 at least.

    Attributes:
        weight_ih_l0: shape `(3 · hidden_size, input_size)`; with `_l1` and so on for further
            layers, which take the output of the layer below, and with `_reverse` for the other
            direction.
        weight_hh_l0: shape `(3 · hidden_size, hidden_size)`.
        bias_ih_l0: shape `(3 · hidden_size,)`, or `None`.
        bias_hh_l0: shape `(3 · hidden_size,)`, or `None`.
        stream: the state that gives each call its dropout masks; `None` without dropout.

    Raises:
        ValueError: an option is out of range.
        ShapeError: when called, if input, state or lengths do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> gru = nn.GRU(3)
        >>> y, h = gru(jnp.ones((2, 7, 5)))
        >>> more, h = gru(jnp.ones((2, 4, 5)), h)
        >>> more.shape, h.shape
        ((2, 4, 3), (1, 2, 3))
    """

    kind = "gru"
