"""What the trainers of other libraries have, and what to write here."""

from __future__ import annotations

from collections.abc import Mapping

from ansatz.core.errors import did_you_mean

_LEARNING_RATE = (
    "the optimizer's: give it a schedule, optax.adam(optax.cosine_decay_schedule(1e-3, steps)), or "
    "build it by optax.inject_hyperparams and assign trainer.optimizer_state"
)
_ELSEWHERE: Mapping[str, str] = {
    "allreduce_grads": "not needed: the gradients of a sharded batch are summed by the step",
    "apply_gradients": "a part of trainer.step(x, y)",
    "backward": "a part of trainer.step(x, y)",
    "compile": "the trainer's own doing: each step is one compiled program",
    "learning_rate": _LEARNING_RATE,
    "load": "net.load(path), and trainer.optimizer_state = state",
    "load_state_dict": "net.load_state_dict(values), and trainer.optimizer_state = state",
    "load_states": "an assignment, trainer.optimizer_state = state",
    "lr": _LEARNING_RATE,
    "minimize": "trainer.step(x, y)",
    "model": "trainer.net",
    "params": "trainer.net.collect_params()",
    "predict": "trainer.net.eval()(x)",
    "save": "trainer.net.save(path); trainer.optimizer_state is a pytree, for any library",
    "save_states": "trainer.optimizer_state, for any library that saves pytrees",
    "set_learning_rate": _LEARNING_RATE,
    "state": "trainer.optimizer_state, and trainer.net.state_dict()",
    "state_dict": "trainer.net.state_dict() and trainer.optimizer_state",
    "train": "trainer.fit(batches, epochs=5)",
    "train_step": "trainer.step(x, y)",
    "update": "a part of trainer.step(x, y)",
    "zero_grad": "not needed: trainer.step takes the gradients of its own batch",
}


def no_such_attribute(trainer: object, name: str) -> AttributeError:
    """The error about an attribute that a trainer does not have."""
    if name in _ELSEWHERE:
        hint = f"; here it is {_ELSEWHERE[name]}"
    else:
        hint = did_you_mean(name, [own for own in dir(type(trainer)) if not own.startswith("_")])
    return AttributeError(
        f"{type(trainer).__name__} has no attribute {name!r}{hint}", name=name, obj=trainer
    )
