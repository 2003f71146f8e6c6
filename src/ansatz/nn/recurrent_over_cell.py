"""A recurrent layer over any cell: what users write as one step, run over whole sequences.

A *cell* is a module that takes one step of the input and a state, and returns an output and the new
state, `forward(x, state) -> (output, state)`. Cells whose output is their state, such as
`LSTMCell`, return the new state alone: an array, or a tuple whose first part is the output. Which
of the two a cell returns is told by the structure of the state it was given, and never doubtful: no
structure is a pair that ends in itself.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core import frame
from ansatz.core.compile import jit
from ansatz.core.deferral import is_array
from ansatz.core.errors import DTypeError, ShapeError, format_shape, format_value
from ansatz.core.module import Module
from ansatz.core.transform import scan
from ansatz.nn.containers import checked_layer
from ansatz.nn.recurrence_loop import varying_alike
from ansatz.nn.recurrent_cells import checked_lengths
from ansatz.nn.recurrent_stack import RecurrentLayer
from ansatz.nn.sizes import checked_size


class Recurrent(Module):
    """Runs a cell over whole sequences, by one compiled scan.

    The cell is a module of your own that does one step, or one of `nn.RNNCell`, `nn.LSTMCell`,
    `nn.GRUCell` and `nn.ConvLSTMCell`. It has

    * `forward(x, state)`, which returns `(output, state)`; or the new state alone, if that is the
      output: an array, or a tuple whose first part is the output;
    * `initial_state(x)`, which makes the state for one step `x` of the input, `(batch, …)`; not
      needed if each call is given a state.

    The state is an array or a pytree of arrays, and keeps its shapes and dtypes. Whatever the cell
    holds works as elsewhere: a Dropout draws a new mask at each step, running statistics go from
    step to step, the first call settles sizes, and its parameters start as in the cell alone.
    Paths begin with `cell.`.

    For a plain RNN, LSTM or GRU the layers `nn.RNN`, `nn.LSTM` and `nn.GRU` compute the same
    faster, since they know which products can be taken for all steps at once.

    Args:
        cell: what is done at each step.
        reverse: whether to go from the last step to the first. The outputs stay in the order of
            the input.
        batch_first: whether input and output are `(batch, time, …)`, not `(time, batch, …)`. States
            have no axis of time.
        unroll: how many steps one turn of the compiled loop does; more take longer to compile.

    Attributes:
        cell: the cell.

    Raises:
        TypeError: the cell is not a module, or is a layer that reads whole sequences; when called,
            if it returns something else, or if there is no state and no `initial_state`.
        ShapeError: when called, if input, lengths or the new state do not fit.
        DTypeError: when called, if the cell returns a state of a wider dtype than it was given.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> class Leaky(nn.Module):
        ...     def __init__(self, units):
        ...         super().__init__()
        ...         self.units, self.mix = units, nn.Dense(units)
        ...
        ...     def initial_state(self, x):
        ...         return jnp.zeros((len(x), self.units))
        ...
        ...     def forward(self, x, state):
        ...         state = 0.9 * state + 0.1 * self.mix(x)
        ...         return nn.relu(state), state
        >>> layer = nn.Recurrent(Leaky(3))
        >>> y, state = layer(jnp.ones((2, 7, 5)), lengths=[7, 4])
        >>> y.shape, state.shape
        ((2, 7, 3), (2, 3))
        >>> list(layer.collect_params())
        ['cell.mix.weight', 'cell.mix.bias']
    """

    __slots__ = ("_compiled",)

    def __init__(
        self,
        cell: Module,
        *,
        reverse: bool = False,
        batch_first: bool = True,
        unroll: int = 1,
    ) -> None:
        super().__init__()
        if isinstance(cell, RecurrentLayer):
            name = type(cell).__name__
            raise TypeError(
                f"the cell of Recurrent does one step, but {name} reads whole sequences; use it as "
                f"it is, or give Recurrent an nn.{name}Cell"
            )
        self.unroll = checked_size("unroll", unroll)
        if self.unroll == 0:
            raise ValueError("unroll of Recurrent is a number of steps, at least 1; got 0")
        self.cell = checked_layer(cell)
        self.reverse = bool(reverse)
        self.batch_first = bool(batch_first)

    def forward(self, x: Any, state: Any = None, *, lengths: Any = None) -> Any:
        """All outputs and the last state.

        Args:
            x: shape `(batch, time, …)`, or as `batch_first` says; or a pytree of such arrays, if
                the cell takes one.
            state: what the first step is given, as the cell returns it; without one, what
                `cell.initial_state` makes.
            lengths: how many steps of each sequence are valid, integers of shape `(batch,)`.
                Outputs past the end are zero, the last state is that of the last valid step, and
                with `reverse` the first step is there. Numbers below 0 or past the last step are
                refused; where they are not known, under `jit`, they count as 0 or as all steps.
                What the cell itself keeps, such as running statistics, sees zeros past the end.

        Returns:
            The outputs of all steps, shape `(batch, time, …)`, or a pytree of such arrays if the
            cell gives one, and the last state.
        """
        self._check_input(x)
        if lengths is not None:
            batch, steps = jax.tree.leaves(x)[0].shape[:2]
            if not self.batch_first:
                batch, steps = steps, batch
            lengths = checked_lengths("Recurrent", lengths, batch, steps)
        if frame.is_staging():
            return self._scanned(x, state, lengths)
        # A loop that is not part of a compiled function would be compiled anew by each call.
        compiled = getattr(self, "_compiled", None)
        if compiled is None:
            compiled = jit(type(self)._scanned)
            object.__setattr__(self, "_compiled", compiled)
        return compiled(self, x, state, lengths)

    def _scanned(self, x: Any, state: Any, lengths: Any) -> tuple[Any, Any]:
        if self.batch_first:
            x = _other_way_round(x)
        steps = jax.tree.leaves(x)[0].shape[0]
        valid = None
        if lengths is not None:
            valid = jnp.arange(steps)[:, None] < lengths
            x = self._where(valid, x, None, "input")  # NaN in the padding must not spread.
        if state is None:
            state = self._initial_state(x, steps)
        state = varying_alike(jax.tree.map(jnp.asarray, state), x)

        def step(state: Any, given: Any) -> tuple[Any, Any]:
            x, valid = given
            output, new = self._advanced(x, state)
            if valid is not None:
                new = self._where(valid, new, state, "state")
                output = self._where(valid, output, None, "output")
            return new, output

        given = x, valid
        last, y = scan(step, state, given, steps, reverse=self.reverse, unroll=self.unroll)
        return (_other_way_round(y) if self.batch_first else y), last

    def _initial_state(self, x: Any, steps: int) -> Any:
        make = getattr(self.cell, "initial_state", None)
        if make is None:
            raise TypeError(
                f"Recurrent was given no state, and its cell {type(self.cell).__name__} has no "
                "initial_state that makes one. Pass a state, layer(x, state), or define in the "
                "cell\n\n    def initial_state(self, x):  # x is one step of the input\n"
                "        return jnp.zeros((len(x), self.units))"
            )
        # Any one step tells shapes and dtypes; where there is none, zeros do.
        return make(jax.tree.map(lambda a: a[0] if steps else jnp.zeros(a.shape[1:], a.dtype), x))

    def _advanced(self, x: Any, state: Any) -> tuple[Any, Any]:
        """The output and the new state of one step, which has the types of the old one."""
        returned = self.cell(x, state)
        structure: Any = jax.tree.structure(state)
        if jax.tree.structure(returned) == structure:
            new = returned
            output = returned[0] if isinstance(returned, tuple) else returned
        elif (
            isinstance(returned, tuple)
            and len(returned) == 2
            and jax.tree.structure(returned[1]) == structure
        ):
            output, new = returned
        else:
            raise TypeError(
                f"the cell {type(self.cell).__name__} of Recurrent was given the state "
                f"{_outline(state)} and returned {_outline(returned)}; it returns (output, state), "
                "in this order, with a state like the one that it is given"
            )
        return output, jax.tree.map(self._checked_part, state, new)

    def _checked_part(self, old: jax.Array, new: Any) -> jax.Array:
        new = jnp.asarray(new)
        name = type(self.cell).__name__
        if new.shape != old.shape:
            raise ShapeError(
                f"the state of {name} keeps its shape from step to step, but of "
                f"{format_shape(old.shape)} the cell made {format_shape(new.shape)}; check "
                "initial_state, or the state that was given"
            )
        if jnp.promote_types(old.dtype, new.dtype) != old.dtype:
            raise DTypeError(
                f"the state of {name} keeps its dtype from step to step, but of {old.dtype} the "
                f"cell made {new.dtype}; begin with that, such as state.astype('{new.dtype}'), or "
                "cast it in the cell"
            )
        kept: jax.Array = new.astype(old.dtype)
        return kept

    def _where(self, valid: jax.Array, tree: Any, other: Any, what: str) -> Any:
        """`tree`, and past the ends of the sequences `other`, or zeros without one."""

        def chosen(leaf: Any, otherwise: Any) -> jax.Array:
            if jnp.shape(leaf)[: valid.ndim] != valid.shape:
                raise ShapeError(
                    f"with lengths=, each array of the {what} of {type(self.cell).__name__} has "
                    f"one row for each of {valid.shape[-1]} sequences, but one has shape "
                    f"{format_shape(jnp.shape(leaf)[valid.ndim - 1 :])} at each step"
                )
            rows = valid.reshape(*valid.shape, *[1] * (jnp.ndim(leaf) - valid.ndim))
            return jnp.where(rows, leaf, otherwise)

        if other is None:
            other = jax.tree.map(lambda leaf: jnp.zeros((), jnp.result_type(leaf)), tree)
        return jax.tree.map(chosen, tree, other)

    def _check_input(self, x: Any) -> None:
        leaves = jax.tree.leaves(x)
        least = 2 if self.batch_first or len(leaves) > 1 else 1
        axes = "(batch, time, …)" if self.batch_first else "(time, batch, …)"
        for leaf in leaves:
            if not is_array(leaf):
                raise TypeError(
                    f"Recurrent takes an array, or a pytree of arrays, got {format_value(x)}; "
                    "convert it: jnp.asarray(x)"
                )
            # Two axes of numbers are one sequence of vectors; of integers, a batch of words.
            vectors = self.batch_first and leaf.ndim == 2 and not _are_integers(leaf)
            if leaf.ndim < least or vectors:
                raise ShapeError(
                    f"Recurrent takes an input of shape {axes}, got {format_value(leaf)}; add the "
                    "missing axis: x[None] for a batch of one, x[..., None] for one feature"
                )
        if not leaves or len({leaf.shape[:least] for leaf in leaves}) > 1:
            found = ", ".join(map(format_value, leaves)) or "no array"
            raise ShapeError(
                f"Recurrent takes an array, or arrays that begin with the same axes {axes}; got "
                f"{found}"
            )

    def extra_repr(self) -> str:
        """What differs from the defaults."""
        parts = ["reverse=True"] if self.reverse else []
        if not self.batch_first:
            parts.append("batch_first=False")
        if self.unroll != 1:
            parts.append(f"unroll={self.unroll}")
        return ", ".join(parts)


def _other_way_round(tree: Any) -> Any:
    """Batch before time for time before batch, and the other way round."""

    def swapped(leaf: Any) -> jax.Array:
        if jnp.ndim(leaf) < 2:
            raise ShapeError(
                "each output of the cell of Recurrent begins with the batch, but one has shape () "
                "at each step; with batch_first=False it need not"
            )
        return jnp.swapaxes(leaf, 0, 1)

    return jax.tree.map(swapped, tree)


def _are_integers(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.integer))


def _outline(tree: Any) -> str:
    """A pytree of arrays, with each array by its dtype and shape."""
    return str(jax.tree.map(lambda leaf: _Named(format_value(leaf)), tree))


class _Named(str):
    """A text that prints without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
