"""What other libraries have at their top level: hints for names that Ansatz does not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansatz.core import spelling

_NO_TAPE = "not needed: nothing is recorded; gradients are those of a function, az.grad(f)"

_ELSEWHERE: Mapping[str, str] = {
    "DataLoader": "az.train.batches(x, y, batch_size), or any iterable of pairs (x, y)",
    "F": "az.nn: az.nn.relu, az.nn.softmax_cross_entropy, …",
    "Model": "az.Module, or nn.Sequential",
    "Rngs": "not needed: net.initialize(seed=0) draws every value",
    "Tensor": "jax.Array",
    "Variable": "az.Parameter, or az.State for what is not trained",
    "array": "jnp.asarray",
    "autograd": "az.grad, az.value_and_grad and az.backward, of functions",
    "compile": "az.jit",
    "context": "jax.devices() and jax.device_put",
    "cpu": "jax.devices('cpu')[0], for jax.device_put",
    "cuda": "JAX itself: values are on its default device",
    "data": "az.train.batches(x, y, batch_size), or any iterable of pairs (x, y)",
    "device": "jax.devices() and jax.device_put",
    "enable_grad": _NO_TAPE,
    "filter_grad": "az.grad",
    "filter_jit": "az.jit",
    "filter_value_and_grad": "az.value_and_grad",
    "from_numpy": "jnp.asarray",
    "func": "az.functional_call, az.grad, az.vmap",
    "gluon": "az.nn and az.Trainer",
    "gpu": "jax.devices('gpu')[0], for jax.device_put",
    "initializer": "az.init",
    "inference_mode": _NO_TAPE + "; for evaluation net.eval()",
    "layers": "az.nn",
    "load": "net.load(path)",
    "loss": "az.nn: az.nn.l2_loss, …",
    "losses": "az.nn: az.nn.l2_loss, …",
    "lr_scheduler": "optax: optax.adam(optax.cosine_decay_schedule(1e-3, 1000))",
    "manual_seed": "az.seed",
    "metric": "functions of (output, y), such as az.train.accuracy",
    "nd": "jax.numpy",
    "no_grad": _NO_TAPE + "; jax.lax.stop_gradient cuts one value",
    "nnx": "az.nn; a module is an az.Module",
    "optim": "optax: az.Trainer(net, optax.adam(1e-3), loss)",
    "np": "jax.numpy",
    "npx": "az.nn: az.nn.relu, az.nn.softmax, …",
    "optimizer": "optax: az.Trainer(net, optax.adam(1e-3), loss)",
    "optimizers": "optax: az.Trainer(net, optax.adam(1e-3), loss)",
    "pause": _NO_TAPE,
    "random": "az.seed(0); keys for a forward are those of an az.RandomStream",
    "record": _NO_TAPE,
    "rnn": "az.nn: az.nn.LSTM, …",
    "save": "net.save(path)",
    "set_grad_enabled": _NO_TAPE,
    "set_seed": "az.seed",
    "split": "az.functional_call(net, net.state_dict(), x)",
    "stop_gradient": "jax.lax.stop_gradient",
    "summary": "net.summary(x)",
    "tensor": "jnp.asarray",
    "waitall": "jax.block_until_ready(value)",
}
"""Names elsewhere, and what to write here."""


def no_such_name(
    name: str, known: Iterable[str], inside: Mapping[str, Iterable[str]]
) -> AttributeError:
    """The error about a name that `ansatz` does not have.

    Args:
        name: what was asked for.
        known: the names that are there.
        inside: the names in modules of it, by what the module is called, `"az.nn"`.
    """
    ours = [f"{module}.{name}" for module, names in inside.items() if name in names]
    return spelling.no_such_name("ansatz", name, known, _ELSEWHERE, *ours[:1])
