"""What the recurrent layers share: layers upon layers, in one direction or both, as one program."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.core.spelling import shared_init
from ansatz.core.streams import RandomStream, advance
from ansatz.nn.recurrence import KINDS, State, Weights
from ansatz.nn.recurrence_loop import run
from ansatz.nn.recurrent_cells import (
    checked_lengths,
    checked_state,
    declare_weights,
    weights_of,
)
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size, checked_width, size_along

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class RecurrentLayer(Module):
    """What RNN, LSTM and GRU have in common."""

    kind: str
    proj_size: int = 0

    @shared_init
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
        weight_init: Any = None,
        bias_init: Any = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        if isinstance(hidden_size, Module):
            raise TypeError(
                f"hidden_size of {type(self).__name__} is a whole number, got the module "
                f"{type(hidden_size).__name__}; what runs a cell over a sequence is "
                "nn.Recurrent(cell)"
            )
        self.hidden_size = checked_size("hidden_size", hidden_size)
        self.num_layers = checked_size("num_layers", num_layers)
        name = type(self).__name__
        if self.num_layers == 0:
            raise ValueError(f"num_layers of {name} is at least 1, got 0")
        if not 0 <= dropout <= 1:
            raise ValueError(
                f"dropout of {name} is the probability of dropping an element, a number from 0 to "
                f"1; got {dropout!r}"
            )
        if dropout and self.num_layers == 1:
            raise ValueError(
                f"dropout of {name} acts between layers, but num_layers is 1; put nn.Dropout behind"
                " it, or leave dropout at 0"
            )
        self.batch_first = bool(batch_first)
        self.bidirectional = bool(bidirectional)
        self.dropout = float(dropout)
        self.stream = RandomStream() if dropout else None
        width = checked_width("input_size", input_size)
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                declare_weights(
                    self,
                    suffix,
                    gates=KINDS[self.kind].gates,
                    hidden_size=self.hidden_size,
                    input_size=width,
                    proj_size=self.proj_size,
                    use_bias=use_bias,
                    weight_init=weight_init,
                    bias_init=bias_init,
                    dtype=dtype,
                )
            width = self.output_size
        share(self, params, weight_init=weight_init, bias_init=bias_init)

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    @property
    def input_size(self) -> int | None:
        """The width of the input; `None` while it is not known."""
        size: int | None = self.weight_ih_l0.shape[1]
        return size

    @property
    def output_size(self) -> int:
        """The width of the output: of `h`, and twice that if bidirectional."""
        return (self.proj_size or self.hidden_size) * (1 + self.bidirectional)

    def infer_shape(self, x: Any, state: Any = None, *, lengths: Any = None) -> None:
        """Take the width of the input from the last axis of `x`."""
        if len(x.shape) not in (2, 3):
            axes = "(batch, time, features)" if self.batch_first else "(time, batch, features)"
            raise ShapeError(
                f"{type(self).__name__} takes an input of shape {axes}, or (time, features) "
                f"without a batch; got shape {format_shape(x.shape)}"
            )
        for suffix in self._suffixes(0):
            weight = getattr(self, f"weight_ih{suffix}")
            weight.shape = (weight.shape[0], size_along(x, -1))

    def _run(self, x: Any, given: Any, lengths: Any) -> tuple[jax.Array, State]:
        """The output, and the last states of all layers and directions."""
        name = type(self).__name__
        state = None if given is None else checked_state(name, self.kind, given)
        unbatched = x.ndim == 2
        batch_axis = 0 if self.batch_first else 1
        if unbatched:
            x = jnp.expand_dims(x, batch_axis)
            state = None if state is None else tuple(part[:, None] for part in state)
            lengths = None if lengths is None else jnp.asarray(lengths)[None]
        batch = x.shape[batch_axis]
        layers = tuple(
            tuple(weights_of(self, suffix) for suffix in self._suffixes(layer))
            for layer in range(self.num_layers)
        )
        if state is not None:
            self._check_state(state, batch)
        if lengths is not None:
            steps = x.shape[1 - batch_axis]
            lengths = checked_lengths(name, lengths, batch, steps)
        stream = self.stream if self.training else None
        drawn = None if stream is None else (stream.value, stream.positions())
        y, last, drawn = _layers(
            x, state, lengths, layers, drawn, self.kind, self.batch_first, self.dropout
        )
        if stream is not None:
            stream.value = drawn
        if unbatched:
            y, last = jnp.squeeze(y, batch_axis), tuple(part[:, 0] for part in last)
        return y, last

    def _sizes(self) -> list[int]:
        return [self.proj_size or self.hidden_size, self.hidden_size][: KINDS[self.kind].states]

    def _check_state(self, state: State, batch: int) -> None:
        rows = self.num_layers * (1 + self.bidirectional)
        for part, size in zip(state, self._sizes(), strict=True):
            if part.shape != (rows, batch, size):
                raise ShapeError(
                    f"the initial state of {type(self).__name__} has shape "
                    f"{format_shape(part.shape)}, expected (layers · directions, batch, size) = "
                    f"{format_shape((rows, batch, size))}, whatever batch_first is"
                )

    def extra_repr(self) -> str:
        """`input -> hidden`, and what differs from the defaults."""
        parts = [f"{self.input_size} -> {self.hidden_size}"]
        if self.kind == "relu":
            parts.append("relu")
        if self.num_layers > 1:
            parts.append(f"num_layers={self.num_layers}")
        if self.bias_ih_l0 is None:
            parts.append("use_bias=False")
        if not self.batch_first:
            parts.append("batch_first=False")
        if self.dropout:
            parts.append(f"dropout={self.dropout}")
        if self.bidirectional:
            parts.append("bidirectional=True")
        if self.proj_size:
            parts.append(f"proj_size={self.proj_size}")
        return ", ".join(parts)


@functools.partial(jax.jit, static_argnums=(5, 6, 7))
def _layers(
    x: jax.Array,
    state: State | None,
    lengths: jax.Array | None,
    layers: tuple[tuple[Weights, ...], ...],
    drawn: tuple[jax.Array, tuple[jax.Array, ...]] | None,
    kind: str,
    batch_first: bool,
    dropout: float,
) -> tuple[jax.Array, State, jax.Array | None]:
    if batch_first:
        x = x.swapaxes(0, 1)
    steps = x.shape[0]
    valid = None
    if lengths is not None:
        valid = (jnp.arange(steps)[:, None] < lengths)[..., None]
    key, stream = (None, None) if drawn is None else advance(*drawn)
    last: list[State] = []
    for number, directions in enumerate(layers):
        outputs = []
        if key is not None and number:
            kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - dropout, x.shape)
            x = jnp.where(kept, x / (1 - dropout), 0) if dropout < 1 else jnp.zeros_like(x)
        for weights, reverse in zip(directions, (False, True), strict=False):
            if state is None:
                first = _zeros(x, weights, KINDS[kind].states)
            else:
                first = tuple(part[len(last)] for part in state)
            y, end = run(kind, x, first, weights, valid, reverse=reverse)
            outputs.append(y)
            last.append(end)
        x = jnp.concatenate(outputs, -1) if len(outputs) > 1 else outputs[0]
    y = x.swapaxes(0, 1) if batch_first else x
    return y, tuple(jnp.stack(parts) for parts in zip(*last, strict=True)), stream


def _zeros(x: jax.Array, weights: Weights, states: int) -> State:
    dtype = jnp.result_type(x, weights.weight_hh)
    gates = weights.weight_hh
    hidden = gates.shape[1] if weights.weight_hr is None else weights.weight_hr.shape[1]
    sizes = (gates.shape[1], hidden)[:states]
    return tuple(jnp.zeros((x.shape[1], size), dtype) for size in sizes)
