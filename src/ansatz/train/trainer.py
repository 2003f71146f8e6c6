"""`Trainer`: a network, an optimizer and a loss, joined into one compiled step."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

import jax
import optax

from ansatz.core import clock, deferral, frame
from ansatz.core.cell import UNSET, Cell
from ansatz.core.compile import Compiled, jit
from ansatz.core.declared import materialize_all
from ansatz.core.errors import (
    DeferredInitializationError,
    TraceError,
    format_value,
)
from ansatz.core.module import Module
from ansatz.core.node import cells_of, declared_in
from ansatz.core.parameter import Parameter
from ansatz.core.paths import unreached
from ansatz.core.spelling import hinted
from ansatz.train import fit as loop
from ansatz.train import state as states
from ansatz.train.batches import BatchSource, begin, example_count
from ansatz.train.errors import TrainingError
from ansatz.train.history import History
from ansatz.train.metrics import Metric, average, check_metrics, measure
from ansatz.train.mode import warn_in_evaluation
from ansatz.train.ownership import Owner
from ansatz.train.spelling import no_such_attribute
from ansatz.train.step import Loss, as_transformation, check_loss, objective, train_step

_MOST_EVALUATIONS = 16


_BATCHES_HINT = "arrays are cut into batches by train.batches(x, y, batch_size)"
_FIT_HINT = f"{_BATCHES_HINT}: trainer.fit(train.batches(x, y, 32), epochs=5, validate=batches)"


class Trainer:
    """Trains a network: gradients, optimizer, states and random streams in one compiled call.

    The optimizer state is that of an `optax` transformation over a dict `{path: array}` of the
    trainable parameters. So masks, labels and per-parameter rules of optax are functions of paths.
    A tied parameter is one entry; a frozen one has none. If parameters are frozen, unfrozen, added
    or moved between steps, the state follows: each entry stays with its parameter, counters go on,
    and what is new starts fresh.

    Args:
        net: the network; its shapes may still be unknown.
        optimizer: an optax transformation. Gradients are clipped by
            `optax.chain(optax.clip_by_global_norm(1.0), …)` and accumulated over steps by
            `optax.MultiSteps(…, every_k_schedule=4)`; learning rates may be schedules.
        loss: `loss(output, y)` returns a scalar. It may use other modules, which are not trained.

    Raises:
        TypeError: `net` is no module, `optimizer` no optax transformation, or `loss` does not
            take `(output, y)`.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from ansatz import nn
        >>> from ansatz.train import Trainer
        >>> net = nn.Sequential(nn.Dense(8, activation="relu"), nn.Dense(1))
        >>> trainer = Trainer(net, optax.adam(0.1), lambda output, y: ((output - y) ** 2).mean())
        >>> x, y = jnp.ones((4, 3)), jnp.ones((4, 1))
        >>> first, second = trainer.step(x, y), trainer.step(x, y)
        >>> bool(second < first)
        True
        >>> adam, _ = trainer.optimizer_state
        >>> int(adam.count), adam.mu["1.bias"].shape
        (2, (1,))
    """

    @hinted("az.Trainer(net, optax.adam(1e-3), loss), where loss(output, y) returns a scalar")
    def __init__(self, net: Module, optimizer: optax.GradientTransformation, loss: Loss) -> None:
        if not isinstance(net, Module):
            raise TypeError(
                f"a trainer trains a module, got {format_value(net)}; pass the network: "
                "az.Trainer(net, optimizer, loss)"
            )
        self._net = net
        self._optimizer = as_transformation(optimizer)
        check_loss(loss)
        self._loss = loss
        self._state = Cell()
        self._trained: dict[str, tuple[Parameter, Any]] = {}
        self._paths: tuple[str, ...] = ()
        self._stamp = -1
        self._owner = Owner()
        self._knows_its_mode = False
        whole = functools.partial(train_step, net, self._state, self._optimizer, loss)
        whole.__name__ = "train_step"  # type: ignore[attr-defined]
        whole.__qualname__ = "Trainer.step"  # type: ignore[attr-defined]
        self._compiled = jit(whole, static_argnames="paths")
        self._evaluations: dict[tuple[tuple[str, Metric], ...], Compiled] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        # A subclass may have more; here it would be `trainer.learning_rate = …`, without effect.
        if type(self) is Trainer and not name.startswith("_") and not hasattr(Trainer, name):
            raise no_such_attribute(self, name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        raise no_such_attribute(self, name)

    @property
    def net(self) -> Module:
        """The network."""
        return self._net

    @property
    def optimizer(self) -> optax.GradientTransformationExtraArgs:
        """The optax transformation."""
        return self._optimizer

    @property
    def loss(self) -> Loss:
        """The loss function."""
        return self._loss

    # -- training -----------------------------------------------------------------------------

    def step(self, x: Any, y: Any) -> jax.Array:
        """Train on one batch, in the mode (`train`, `eval`) in which each layer is.

        A part in evaluation mode (`net.encoder.eval()`) keeps its running statistics and drops
        nothing, while it is trained. If that is so of the whole network, as after `net.eval()` for
        a prediction between two steps, there is an `EvaluationModeWarning`, once.

        The first step settles shapes and draws initial values; if it fails, they stay as unknown
        as they were. One program is compiled for each structure of the network and each shape of
        the batch.

        Args:
            x: the input; a tuple is handed to the network as several inputs.
            y: what `loss` compares the output with.

        Returns:
            The loss before the update, a scalar that may still be being computed: the call does
            not wait for the device.

        Raises:
            TrainingError: no parameter is trainable.
            ShapeError: the loss is not a scalar, or the input does not fit the network.
            TraceError: called inside a compiled function.
        """
        if self._stamp != clock.structure:
            return self._step_with_care(x, y)
        loss: jax.Array = self._compiled(self._paths, x, y)
        return loss

    @hinted(_FIT_HINT)
    def fit(
        self,
        batches: BatchSource,
        *,
        epochs: int = 1,
        validate: BatchSource | None = None,
        metrics: Mapping[str, Metric] | None = None,
        progress: bool = True,
    ) -> History:
        """Train on all batches, several times.

        The network is trained in training mode, and each of its modules has its own mode back in
        the end; if only a part of it is in evaluation mode (a frozen batch norm), that part stays
        so. Ctrl-C ends the training after the current step and returns what there is.

        Args:
            batches: pairs `(x, y)`, in an iterable that can be gone through once per epoch, or a
                function from the epoch (0, 1, …) to one.
            epochs: how often to go through them.
            validate: batches to measure after each epoch, in evaluation mode.
            metrics: what to measure on `validate` besides the loss; see `evaluate`.
            progress: whether to show a live progress bar. There is none if the error stream is
                not a terminal.

        Returns:
            Loss, metrics and seconds of each epoch; it prints as a table.

        Raises:
            TrainingError: there are no batches, as in a generator that is used up; or metrics
                without `validate`, of which nothing would be measured.

        Example:
            >>> import numpy as np
            >>> import optax
            >>> from ansatz import nn
            >>> from ansatz.train import Trainer, batches
            >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
            >>> trainer = Trainer(nn.Dense(1), optax.sgd(0.1), lambda o, y: ((o - y) ** 2).mean())
            >>> history = trainer.fit(batches(x, 3 * x, 8, seed=0), epochs=20)
            >>> len(history), history[-1].loss < 0.01 * history[0].loss
            (20, True)
        """
        return loop.fit(
            self, batches, epochs=epochs, validate=validate, metrics=metrics, progress=progress
        )

    @hinted(_BATCHES_HINT)
    def evaluate(
        self,
        batches: BatchSource,
        metrics: Mapping[str, Metric] | None = None,
        *,
        epoch: int = 0,
    ) -> dict[str, float]:
        """Measure the network on all batches, in evaluation mode.

        Args:
            batches: pairs `(x, y)`, or a function from the epoch to such.
            metrics: `{name: f}` where `f(output, y)` returns the mean over a batch, or one number
                per example. The loss is measured as well, under the name `"loss"`.
            epoch: what `batches` is called with if it is a function.

        Returns:
            The mean of each metric over all examples: batches count by their size.

        Raises:
            TrainingError: there are no batches.

        Example:
            >>> import jax.numpy as jnp
            >>> import optax
            >>> from ansatz import nn
            >>> from ansatz.train import Trainer
            >>> net = nn.Dense(1, weight_init="ones")
            >>> trainer = Trainer(net, optax.sgd(0.1), lambda output, y: (output - y).mean())
            >>> trainer.evaluate([(jnp.ones((2, 3)), 0.0)], {"output": lambda output, y: output})
            {'loss': 3.0, 'output': 3.0}
        """
        check_metrics(metrics)
        named = tuple({"loss": self._loss, **(metrics or {})}.items())
        compiled = self._evaluations.get(named)
        if compiled is None:
            if len(self._evaluations) >= _MOST_EVALUATIONS:
                self._evaluations.clear()  # A lambda in the call is a new function each time.
            whole = functools.partial(measure, named, self._net)
            whole.__qualname__ = "Trainer.evaluate"  # type: ignore[attr-defined]
            compiled = self._evaluations[named] = jit(whole)
        measured, sizes = [], []
        with loop.in_mode(self._net, training=False):
            for x, y in begin(batches, epoch, "evaluate on"):
                measured.append(compiled(x, y))
                sizes.append(example_count(x))
        means = average(measured, sizes)
        return {name: means[name] for name, _ in named}  # JAX sorts dicts by key.

    @property
    def optimizer_state(self) -> Any:
        """The state of the optax transformation, as it is now.

        Assign a state of the same structure to resume training, or to change what
        `optax.inject_hyperparams` keeps in it; changing the returned one has no effect.

        Raises:
            DeferredInitializationError: before the first step of a network with unknown shapes.
            TrainingError: on assignment, the state is that of another optimizer or network.

        Example:
            >>> import optax
            >>> from ansatz import nn
            >>> from ansatz.train import Trainer
            >>> adjustable = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
            >>> trainer = Trainer(nn.Linear(3, 1), adjustable, lambda output, y: output.mean())
            >>> state = trainer.optimizer_state
            >>> state.hyperparams["learning_rate"] = 0.01
            >>> trainer.optimizer_state = state
        """
        if not self._state.has_value:
            waiting = unreached(self._net)
            if waiting:
                raise DeferredInitializationError(
                    "there is no optimizer state yet, because the shapes of "
                    f"{', '.join(map(repr, waiting))} are not known. Make a step, or settle them "
                    "by net.initialize(example=jax.ShapeDtypeStruct(shape, dtype))."
                )
            self._follow()
        return jax.tree.map(lambda leaf: leaf, self._state.value)

    @optimizer_state.setter
    def optimizer_state(self, new: Any) -> None:
        self._state.value = states.like(self.optimizer_state, new)

    @property
    def traces(self) -> int:
        """How often the step was traced: once for each structure and each shape of a batch."""
        return self._compiled.traces

    def __repr__(self) -> str:
        loss = getattr(self._loss, "__qualname__", repr(self._loss))
        trained = sum(parameter.trainable for parameter in self._net.parameters())
        return f"Trainer({type(self._net).__name__}, {trained} parameters, loss={loss})"

    # -- following the network ----------------------------------------------------------------

    def _step_with_care(self, x: Any, y: Any) -> jax.Array:
        """The step after a change: settle shapes, let the state follow, or undo it all."""
        if frame.current() is not None or not frame.at_top_level():
            raise TraceError(
                "trainer.step was called inside a compiled or transformed function; it is "
                "compiled already, so call it outside"
            )
        self._compiled.check(self._paths, x, y)
        if not self._knows_its_mode:
            self._knows_its_mode = warn_in_evaluation(self._net)
        stamp = clock.structure
        undo = _Undo(self)
        try:
            if any(cell.is_deferred for cell in declared_in(self._net)):
                deferral.settle(functools.partial(objective, self._net, self._loss), (x, y), {})
            self._follow()
            loss: jax.Array = self._compiled(self._paths, x, y)
        except BaseException:
            undo()
            raise
        self._stamp = stamp
        return loss

    def _follow(self) -> None:
        """Make the optimizer state that of the parameters that are trainable now."""
        now = {
            path: cell
            for cell, path in cells_of(self._net).items()
            if isinstance(cell, Parameter) and cell.trainable and not cell.is_deferred
        }
        if not now:
            raise TrainingError(_why_nothing_to_train(self._net))
        self._owner.claim(now.items())
        # By identity: what stands at a path may be another parameter than before, or cast.
        trained = {path: (cell, cell.dtype) for path, cell in now.items()}
        if self._state.has_value and list(trained.items()) == list(self._trained.items()):
            return
        materialize_all(now.values())
        # In a trace the state has to be made at once, which takes JAX another program.
        top = frame.at_top_level()
        with contextlib.nullcontext() if top else jax.ensure_compile_time_eval():
            values = {path: cell.materialize() for path, cell in now.items()}
            state = states.fresh(self._optimizer.init(values))
        if self._state.has_value:
            self._state.protect()
            stood = {cell: path for path, (cell, _) in self._trained.items()}
            came_from = {path: stood.get(cell) for path, cell in now.items()}
            state = states.carry_over(self._state.materialize(), state, came_from)
        self._state.write_outside(state)
        self._trained, self._paths = trained, tuple(trained)


class _Undo:
    """Takes back what a failed step has settled, drawn and built."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._before = dict(vars(trainer))
        state = trainer._state
        self._state = state.materialize() if state.has_value else UNSET
        self._unknown = [
            (cell, cell._shape, cell.origin)
            for cell in declared_in(trainer._net)
            if not cell.has_value
        ]

    def __call__(self) -> None:
        vars(self._trainer).update(self._before)
        self._trainer._state.write_outside(self._state)
        for cell, shape, origin in self._unknown:
            cell._shape = shape
            cell.write_outside(UNSET)
            cell.origin = origin
        clock.structure_changed()  # Modules and plans have taken the shapes for settled.


def _why_nothing_to_train(net: Module) -> str:
    parameters = net.collect_params()
    if not parameters:
        return f"{type(net).__name__} has no parameters, so there is nothing to train"
    trainable = [path for path, parameter in parameters.items() if parameter.trainable]
    if not trainable:
        return (
            f"all {len(parameters)} parameters of {type(net).__name__} are frozen, so there is "
            "nothing to train; net.unfreeze(select) puts some back into training"
        )
    return (
        "no trainable parameter was reached by the network's forward: the shapes of "
        f"{', '.join(map(repr, trainable))} are still unknown"
    )
