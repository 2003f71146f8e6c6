"""Whatever transforms a step is made of, it does what the same step written over a dict does."""

import copy
import dataclasses

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from ansatz.core.node import cells_of
from tests.core.layers import Wrapped, inputs

X = inputs(batch=6, width=4)
WIDTH = 4

LAYERS = {
    "dense": lambda sized: nn.Dense(WIDTH, in_units=WIDTH if sized else None, activation="tanh"),
    "linear": lambda sized: nn.Linear(WIDTH if sized else None, WIDTH),
    "norm": lambda sized: nn.BatchNorm(),
    "layer norm": lambda sized: nn.LayerNorm(),
    "dropout": lambda sized: nn.Dropout(0.3),
    "compiled": lambda sized: Wrapped(az.jit, nn.Sequential(nn.Dense(WIDTH), nn.Dropout(0.3))),
    "rematerialised": lambda sized: Wrapped(
        az.remat, nn.Sequential(nn.Dense(WIDTH), nn.BatchNorm())
    ),
}
WITH_WEIGHT = ("dense", "linear")
MOVING = ("norm", "dropout", "compiled", "rematerialised")


# -- transforms of a function f(net, x), each of which leaves it the same function ----------------


def scanned(f):
    return lambda net, x: az.scan(lambda carry, x: (carry, f(net, x)), 0, x[None])[1][0]


def vmapped(f):
    return lambda net, x: az.vmap(f, in_axes=(None, 0))(net, x[None])[0]


def functional(f):
    class Whole(az.Module):
        def __init__(self, net):
            self.net = net

        def forward(self, x):
            return f(self.net, x)

    def call(net, x):
        whole = Whole(net)
        state = {path: cell.value for cell, path in cells_of(whole).items()}
        output, new = az.functional_call(whole, state, x, return_state=True)
        for cell, path in cells_of(whole).items():
            if new[path] is not state[path]:
                cell.value = new[path]
        return output

    return call


def closed_over(transform):
    return lambda f: lambda net, x: transform(lambda x: f(net, x))(x)


TRANSFORMS = {
    "jit": az.jit,
    "jit of a closure": closed_over(az.jit),
    "remat": az.remat,
    "remat of a closure": closed_over(az.remat),
    "scan": scanned,
    "vmap": vmapped,
    "functional_call": functional,
}


# -- the two steps that have to agree --------------------------------------------------------------


def step_of(transforms, outer):
    """One step of gradient descent, with transforms around the network and around the step."""
    call = lambda net, x: net(x)  # noqa: E731
    for name in transforms:
        call = TRANSFORMS[name](call)

    def loss_of(net, x):
        return (call(net, x) ** 2).mean()

    def step(net, x):
        loss, grads = az.value_and_grad(loss_of)(net, x)
        for path, parameter in net.collect_params().items():
            if parameter.trainable:
                parameter.value -= 0.1 * grads[path]
        return loss

    for name in outer:
        step = TRANSFORMS[name](step)
    return step


def step_over_a_dict(net, x):
    """The same step in plain JAX, over the pure function of the network."""
    state = net.state_dict()
    trainable = {path: state[path] for path, p in net.collect_params().items() if p.trainable}

    def loss_of(trainable):
        output, new = az.functional_call(net, {**state, **trainable}, x, return_state=True)
        return (output**2).mean(), new

    (loss, new), grads = jax.value_and_grad(loss_of, has_aux=True)(trainable)
    moved = {path: value - 0.1 * grads[path] for path, value in trainable.items()}
    net.load_state_dict({**new, **moved})
    return loss


# -- what may happen to the network between two steps ----------------------------------------------


def freeze_half(net):
    for parameter in list(net.parameters())[::2]:
        parameter.trainable = not parameter.trainable


def append(net):
    net.append(nn.Dense(WIDTH))
    net.initialize(seed=5)
    net.settle_shapes(X)


def edit(net):
    for first in list(net.parameters())[:1]:  # Dropout alone has none.
        first.data[:] *= 2


EVENTS = {
    "nothing": lambda net: None,
    "eval": lambda net: net.eval(),
    "train": lambda net: net.train(),
    "freeze": freeze_half,
    "append": append,
    "edit": edit,
    "initialize": lambda net: net.initialize(seed=2, force_reinit=True),
}


@dataclasses.dataclass
class Plan:
    """How a network is built."""

    kinds: list[str]
    sized: list[bool]
    shared: bool
    tie: tuple[int, int] | None
    transposed: bool

    def build(self):
        pairs = zip(self.kinds, self.sized, strict=True)
        layers = [LAYERS[kind](sized) for kind, sized in pairs]
        net = nn.Sequential(*layers, *(layers[:1] if self.shared else []))
        if self.tie is not None:
            first, second = (f"{i}.weight" for i in self.tie)
            az.tie(net, first, second, transpose=self.transposed)
        net.initialize(seed=1)
        return net


@st.composite
def plans(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=3))
    sized = [draw(st.booleans()) for _ in kinds]
    weighted = [i for i, kind in enumerate(kinds) if kind in WITH_WEIGHT]
    tied = len(weighted) > 1 and draw(st.booleans())
    return Plan(
        kinds,
        sized,
        shared=draw(st.booleans()),
        tie=(weighted[0], weighted[-1]) if tied else None,
        transposed=draw(st.booleans()),
    )


inner = st.lists(st.sampled_from(sorted(TRANSFORMS)), max_size=3)
outer = st.lists(st.sampled_from(["jit", "jit of a closure", "scan", "remat"]), max_size=2)


def check(plan, transforms, outer, events):
    moving = any(kind in MOVING for kind in plan.kinds)
    if moving:  # A mapped call draws other masks, and refuses other statistics.
        transforms = [name for name in transforms if name != "vmap"]
    net, twin = plan.build(), plan.build()
    twin.settle_shapes(X)
    if "functional_call" in (*transforms, *outer):
        net.settle_shapes(X)  # It takes values, so they have to be there.
    step = step_of(transforms, outer)
    run(step, net, twin, X)
    for event, batch in events:
        if event == "copy":  # The same step goes on with another network of the same structure.
            net = copy.deepcopy(net)
        else:
            EVENTS[event](net)
            EVENTS[event](twin)
        run(step, net, twin, X[:batch])
    if plan.tie is not None:
        first, second = (net[i].weight.value for i in plan.tie)
        np.testing.assert_array_equal(first, second.T if plan.transposed else second)


def run(step, net, twin, x):
    """One step of each; then all values are equal."""
    np.testing.assert_allclose(step(net, x), step_over_a_dict(twin, x), rtol=1e-3, atol=1e-5)
    state, expected = net.state_dict(), twin.state_dict()
    assert list(state) == list(expected)
    for path, value in state.items():
        assert not isinstance(value, jax.core.Tracer), path
        np.testing.assert_allclose(value, expected[path], rtol=1e-3, atol=1e-4, err_msg=path)


events = st.lists(
    st.tuples(st.sampled_from(["copy", *EVENTS]), st.sampled_from([6, 3])), max_size=1
)


@settings(max_examples=5, deadline=None)
@given(plans(), inner, outer, events)
def test_every_nesting_of_transforms_does_what_the_plain_step_does(plan, inner, outer, events):
    check(plan, inner, outer, events)
