"""What one compiled training step costs, and what its first call costs.

The work is a step of SGD with momentum on a network of L layers Dense(16) with a batch of 4: so
little arithmetic that what a library adds around it shows. The yardstick is the same step written
by hand with `jax.jit` over flat dicts, with donation. Everybody computes the same numbers from the
same initial values; the run stops if somebody's loss is another.

    python benchmarks/dispatch.py [--quick] [--json PATH]
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np

WIDTH, BATCH, RATE, MOMENTUM = 16, 4, 0.01, 0.9

Arrays = dict[str, jax.Array]
Step = Callable[[jax.Array, jax.Array], jax.Array]
"""Makes one training step with a batch (x, y), each `(batch, width)`, and returns the loss."""


class Work(NamedTuple):
    """The initial values, the same for everybody. Every weight is `(out, in)`; biases are zero."""

    weights: list[np.ndarray[Any, Any]]
    x: jax.Array
    y: jax.Array


def make_work(layers: int) -> Work:
    """A network in which the signal keeps its size through any number of layers (He et al.)."""
    rng = np.random.default_rng(0)

    def normal(sigma: float, *shape: int) -> np.ndarray[Any, Any]:
        return rng.normal(0, sigma, shape).astype(np.float32)

    weights = [normal((2 / WIDTH) ** 0.5, WIDTH, WIDTH) for _ in range(layers)]
    return Work(weights, jnp.array(normal(1, BATCH, WIDTH)), jnp.array(normal(1, BATCH, WIDTH)))


def mean_square(output: jax.Array, y: jax.Array) -> jax.Array:
    return ((output - y) ** 2).mean()


# -- the contenders ---------------------------------------------------------------------------
#
# Each imports its library itself, so that a fresh process loads no other.


def _flat(work: Work) -> Arrays:
    weights = {f"{i}.weight": jnp.array(weight) for i, weight in enumerate(work.weights)}
    # Not `jnp.zeros`: the program that it compiles would make the first step look faster.
    zeros = np.zeros(WIDTH, np.float32)
    biases = {f"{i}.bias": jnp.array(zeros) for i in range(len(work.weights))}
    return weights | biases


def _flat_loss(params: Arrays, x: jax.Array, y: jax.Array) -> jax.Array:
    for i in range(len(params) // 2):
        x = jax.nn.relu(x @ params[f"{i}.weight"].T + params[f"{i}.bias"])
    return mean_square(x, y)


def hand_written(work: Work) -> Step:
    params = _flat(work)
    momenta = jax.tree.map(jnp.zeros_like, params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(
        params: Arrays, momenta: Arrays, x: jax.Array, y: jax.Array
    ) -> tuple[Arrays, Arrays, jax.Array]:
        loss, grads = jax.value_and_grad(_flat_loss)(params, x, y)
        momenta = {path: MOMENTUM * momenta[path] + grads[path] for path in params}
        params = {path: params[path] - RATE * momenta[path] for path in params}
        return params, momenta, loss

    def step(x: jax.Array, y: jax.Array) -> jax.Array:
        nonlocal params, momenta
        params, momenta, loss = update(params, momenta, x, y)
        return loss

    return step


def hand_written_optax(work: Work) -> Step:
    import optax

    params = _flat(work)
    optimizer = optax.sgd(RATE, MOMENTUM)
    state: Any = None

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(
        params: Arrays, state: Any, x: jax.Array, y: jax.Array
    ) -> tuple[Arrays, Any, jax.Array]:
        loss, grads = jax.value_and_grad(_flat_loss)(params, x, y)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    def step(x: jax.Array, y: jax.Array) -> jax.Array:
        nonlocal params, state
        if state is None:  # In the first step, where the Trainer makes its state as well.
            state = optimizer.init(params)
        params, state, loss = update(params, state, x, y)
        return loss

    return step


def _ansatz_net(work: Work, *, settled: bool) -> Any:
    from ansatz import nn

    width = WIDTH if settled else None
    net = nn.Sequential(*(nn.Dense(WIDTH, width, activation="relu") for _ in work.weights))
    if settled:
        net.initialize(seed=0)
        for layer, weight in zip(net, work.weights, strict=True):
            layer.weight.value = weight
    return net


def ansatz(work: Work, *, settled: bool = True) -> Step:
    import ansatz as az

    net = _ansatz_net(work, settled=settled)
    params = net.collect_params()
    momenta = {path: az.State(shape=p.shape) for path, p in params.items()}

    def loss_of(net: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return mean_square(net(x), y)

    @az.jit
    def step(x: jax.Array, y: jax.Array) -> jax.Array:
        loss, grads = az.value_and_grad(loss_of)(net, x, y)
        for path, p in params.items():
            momentum = momenta[path]
            momentum.shape = p.shape  # Says nothing new, unless the network was deferred.
            momentum.value = MOMENTUM * momentum.value + grads[path]
            p.value = p.value - RATE * momentum.value
        return loss

    return step


def ansatz_trainer(work: Work, *, settled: bool = True) -> Step:
    import optax

    import ansatz as az

    net = _ansatz_net(work, settled=settled)
    return az.Trainer(net, optax.sgd(RATE, MOMENTUM), mean_square).step


def equinox(work: Work) -> Step:
    import equinox as eqx

    class Net(eqx.Module):
        layers: list[eqx.nn.Linear]

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in self.layers:
                x = jax.nn.relu(layer(x))
            return x

    blank = eqx.nn.Linear(WIDTH, WIDTH, key=jax.random.key(0))
    net = Net(
        [
            eqx.tree_at(lambda at: (at.weight, at.bias), blank, (jnp.array(w), jnp.zeros(WIDTH)))
            for w in work.weights
        ]
    )
    momenta = jax.tree.map(jnp.zeros_like, eqx.filter(net, eqx.is_inexact_array))

    def loss_of(net: Net, x: jax.Array, y: jax.Array) -> jax.Array:
        return mean_square(jax.vmap(net)(x), y)

    # All but the first argument are donated, so the batch goes first.
    @eqx.filter_jit(donate="all-except-first")
    def update(batch: Any, net: Net, momenta: Net) -> tuple[Net, Net, jax.Array]:
        loss, grads = eqx.filter_value_and_grad(loss_of)(net, *batch)
        momenta = jax.tree.map(lambda m, g: MOMENTUM * m + g, momenta, grads)
        updates = jax.tree.map(lambda m: -RATE * m, momenta)
        return eqx.apply_updates(net, updates), momenta, loss

    def step(x: jax.Array, y: jax.Array) -> jax.Array:
        nonlocal net, momenta
        net, momenta, loss = update((x, y), net, momenta)
        return loss

    return step


def nnx(work: Work) -> Step:
    import optax
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.layers = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in work.weights])
            for layer, weight in zip(self.layers, work.weights, strict=True):
                layer.kernel[...] = jnp.array(weight.T)

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in self.layers:
                x = jax.nn.relu(layer(x))
            return x

    net = Net()
    optimizer = nnx.Optimizer(net, optax.sgd(RATE, MOMENTUM), wrt=nnx.Param)

    def loss_of(net: Net, x: jax.Array, y: jax.Array) -> jax.Array:
        return mean_square(net(x), y)

    @nnx.jit(donate_argnums=(0, 1))
    def update(net: Net, optimizer: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        loss, grads = nnx.value_and_grad(loss_of)(net, x, y)
        optimizer.update(net, grads)
        return loss

    def step(x: jax.Array, y: jax.Array) -> jax.Array:
        return update(net, optimizer, x, y)

    return step


class Contender(NamedTuple):
    """One row of the tables.

    Attributes:
        build: makes the network and its step from the work.
        yardstick: the name of the contender that it is compared to.
        package: what has to be installed.
        goals: the highest wanted ratios of a step and of a first call.
        first_only: true where only the first call differs from another contender's.
    """

    build: Callable[[Work], Step]
    yardstick: str
    package: str | None = None
    goals: tuple[float, float] | None = None
    first_only: bool = False


def _deferred(build: Callable[..., Step], yardstick: str) -> Contender:
    return Contender(functools.partial(build, settled=False), yardstick, first_only=True)


HAND, HAND_OPTAX = "by hand", "by hand, optax"
GOALS = (1.05, 1.15)
CONTENDERS = {
    HAND: Contender(hand_written, HAND),
    "by hand, once more": Contender(hand_written, HAND),
    "Ansatz": Contender(ansatz, HAND, goals=GOALS),
    "Ansatz, deferred": _deferred(ansatz, HAND),
    "Equinox": Contender(equinox, HAND, "equinox"),
    HAND_OPTAX: Contender(hand_written_optax, HAND_OPTAX),
    "Ansatz, Trainer": Contender(ansatz_trainer, HAND_OPTAX, goals=GOALS),
    "Ansatz, Trainer, deferred": _deferred(ansatz_trainer, HAND_OPTAX),
    "NNX": Contender(nnx, HAND_OPTAX, "flax"),
}
PEERS = ("equinox", "flax")


def _taking_part(*, first_only: bool) -> dict[str, Contender]:
    return {
        name: contender
        for name, contender in CONTENDERS.items()
        if harness.installed(contender.package) and (first_only or not contender.first_only)
    }


# -- a step -----------------------------------------------------------------------------------


def measure_steps(layers: int, *, rounds: int) -> tuple[harness.Times, dict[str, float]]:
    """Seconds per step of all contenders, in turns, and the loss that each had after ten steps."""
    work = make_work(layers)
    calls: dict[str, Callable[[], Any]] = {}
    losses: dict[str, float] = {}
    for name, contender in _taking_part(first_only=False).items():
        step = contender.build(work)
        for _ in range(10):
            losses[name] = float(step(work.x, work.y))
        calls[name] = functools.partial(_finished, step, work)
    for name, loss in losses.items():
        if not np.isclose(loss, losses[HAND], rtol=1e-3):
            raise RuntimeError(f"{name} does other work: its loss is {loss}, not {losses[HAND]}")
    return harness.interleave(calls, rounds=rounds), losses


def _finished(step: Step, work: Work) -> None:
    step(work.x, work.y).block_until_ready()


# -- the first call ---------------------------------------------------------------------------


def first_call(name: str, layers: str) -> dict[str, Any]:
    """What the first step costs in this process, which has imported and built everything."""
    _wake_jax()
    work = make_work(int(layers))
    step = CONTENDERS[name].build(work)
    phases = {"lower": 0.0, "compile": 0.0}

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            phases["lower"] += duration_secs
        elif event == "/jax/core/compile/backend_compile_duration":
            phases["compile"] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    start = time.perf_counter()
    _finished(step, work)
    took = time.perf_counter() - start
    # What is neither lowering nor compiling is Python: tracing, and what the library does.
    trace = took - sum(phases.values())
    traces = getattr(getattr(step, "__self__", step), "traces", None)  # `Trainer.step` is a method.
    return {"seconds": took, "trace": trace, **phases, "traces": traces}


def _wake_jax() -> None:
    """Pay for what the first compilation of any process pays for."""
    x = jnp.ones((2, 3))
    jax.jit(jax.value_and_grad(lambda w: jax.nn.relu(x @ w).mean()))(jnp.ones((3, 4)))


def measure_first_calls(layers: int, *, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """First calls of all contenders in fresh processes, in turns."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(repeats):
        for name in _taking_part(first_only=True):
            found.setdefault(name, []).append(harness.fresh(__file__, "first_call", name, layers))
    return found


# -- the whole --------------------------------------------------------------------------------


def main() -> None:
    options = harness.parse("dispatch", __doc__ or "", {"first_call": first_call})
    harness.introduce("A compiled training step", options, PEERS)
    sizes = (4, 50) if options.quick else (4, 50, 200)
    results: list[dict[str, Any]] = []
    goals: list[dict[str, Any]] = []
    with contextlib.suppress(KeyboardInterrupt):  # What was measured so far is still worth writing.
        for layers in sizes:
            _steps(layers, 10 if options.quick else 60, results, goals)
        for layers in sizes:
            _first_calls(layers, 2 if options.quick else 5, results, goals)
    harness.write(
        options,
        {"benchmark": "dispatch", "not_installed": harness.missing(PEERS), "results": results},
        goals,
    )


def _steps(
    layers: int, rounds: int, results: list[dict[str, Any]], goals: list[dict[str, Any]]
) -> None:
    times, losses = measure_steps(layers, rounds=rounds)
    rows: list[list[str] | None] = []
    for name, contender in _taking_part(first_only=False).items():
        if name == HAND_OPTAX:
            rows.append(None)
        took = harness.summary(times[name])
        relative = harness.ratio(times, name, contender.yardstick)
        rows.append(
            [name, harness.seconds(took["min"]), harness.seconds(took["median"]), f"{relative:.3f}"]
        )
        results.append(
            {
                "what": "step",
                "layers": layers,
                "contender": name,
                "yardstick": contender.yardstick,
                "ratio": relative,
                "loss": losses[name],
                "seconds": times[name],
                **took,
            }
        )
    harness.table(
        f"One step, {layers} layers ({rounds} rounds; ratios to the first row of each block)",
        ("", "minimum", "median", "ratio"),
        rows,
    )
    _judge("a step", 0, layers, results, goals)


def _first_calls(
    layers: int, repeats: int, results: list[dict[str, Any]], goals: list[dict[str, Any]]
) -> None:
    found = measure_first_calls(layers, repeats=repeats)
    times = {name: [one["seconds"] for one in several] for name, several in found.items()}
    rows: list[list[str] | None] = []
    for name, contender in _taking_part(first_only=True).items():
        if name == HAND_OPTAX:
            rows.append(None)
        took = harness.summary(times[name])
        relative = harness.ratio(times, name, contender.yardstick)
        phases = {
            phase: harness.summary([one[phase] for one in found[name]])["median"]
            for phase in ("trace", "lower", "compile")
        }
        traces = found[name][0]["traces"]
        rows.append(
            [
                name,
                harness.seconds(took["min"]),
                harness.seconds(took["median"]),
                f"{relative:.2f}",
                *(harness.seconds(value) for value in phases.values()),
                "" if traces is None else str(traces),
            ]
        )
        results.append(
            {
                "what": "first call",
                "layers": layers,
                "contender": name,
                "yardstick": contender.yardstick,
                "ratio": relative,
                "seconds": times[name],
                "traces": traces,
                **phases,
                **took,
            }
        )
    harness.table(
        f"The first call, {layers} layers ({repeats} fresh processes each; phases are medians)",
        ("", "minimum", "median", "ratio", "trace", "lower", "compile", "traces"),
        rows,
    )
    _judge("a first call", 1, layers, results, goals)


def _judge(
    what: str, which: int, layers: int, results: list[dict[str, Any]], goals: list[dict[str, Any]]
) -> None:
    for result in results:
        wanted = CONTENDERS[result["contender"]].goals
        if wanted is None or result["layers"] != layers or result["what"] != what.partition(" ")[2]:
            continue
        text = (
            f"{result['contender']}, {what} with {layers} layers: "
            f"{result['ratio']:.3f} × {result['yardstick']}, wanted at most {wanted[which]}"
        )
        goals.append(harness.goal(result["ratio"] <= wanted[which], text))


if __name__ == "__main__":
    main()
