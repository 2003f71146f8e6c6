"""What the trainers of other libraries have, and what to write here."""

from __future__ import annotations

from collections.abc import Mapping

from ansatz.core.errors import did_you_mean

_LEARNING_RATE = (
    "the optimizer's: give it a schedule, optax.adam(optax.cosine_decay_schedule(1e-3, steps)), or "
    "build it by optax.inject_hyperparams and assign trainer.optimizer_state"
)
_ELSEWHERE: Mapping[str, str] = {
    "backward": "a part of trainer.step(x, y)",
    "compile": "the trainer's own doing: each step is one compiled program",
    "learning_rate": _LEARNING_RATE,
    "load": "net.load(path), and trainer.optimizer_state = state",
    "load_state_dict": "net.load_state_dict(values), and trainer.optimizer_state = state",
    "load_states": "an assignment, trainer.optimizer_state = state",
    "lr": _LEARNING_RATE,
    "model": "trainer.net",
    "predict": "trainer.net.eval()(x)",
    "save": "net.save(path), and trainer.optimizer_state for any library that saves pytrees",
    "save_states": "trainer.optimizer_state, for any library that saves pytrees",
    "set_learning_rate": _LEARNING_RATE,
    "state_dict": "trainer.net.state_dict() and trainer.optimizer_state",
    "train": "trainer.fit(batches, epochs=5)",
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
