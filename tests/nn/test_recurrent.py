"""Recurrent layers and cells, beyond what PyTorch's numbers say (`tests/parity`)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import ansatz as az
from ansatz import init, nn
from tests.nn.reference import close

LAYERS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
CELLS = {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}


def data(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "float32")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@settings(deadline=None, max_examples=8)
@given(
    kind=st.sampled_from(sorted(LAYERS)),
    sizes=st.tuples(*[st.integers(1, 4)] * 4),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    use_bias=st.booleans(),
)
def test_shapes_are_those_of_the_docs_also_under_jit_grad_and_vmap(
    kind, sizes, layers, bidirectional, batch_first, use_bias
):
    batch, steps, width, hidden = sizes
    layer = LAYERS[kind](
        hidden,
        num_layers=layers,
        bidirectional=bidirectional,
        batch_first=batch_first,
        use_bias=use_bias,
    )
    x = data(*(batch, steps, width) if batch_first else (steps, batch, width))
    y, state = az.jit(layer)(x)
    assert y.shape == (*x.shape[:2], hidden * (1 + bidirectional))
    for part in jax.tree.leaves(state):
        assert part.shape == (layers * (1 + bidirectional), batch, hidden)
    axis = 0 if batch_first else 1
    close(az.vmap(lambda x: layer(x)[0], in_axes=axis, out_axes=axis)(x), y, atol=1e-5)
    gradient = az.jit(az.grad(lambda x: layer(x)[0].sum()))(x)
    assert gradient.shape == x.shape


@pytest.mark.parametrize("kind", LAYERS)
def test_a_cell_in_a_scan_computes_what_the_layer_computes(kind):
    layer, cell = LAYERS[kind](3), CELLS[kind](3)
    x = data(2, 5, 4)
    y, last = layer(x)
    cell.load_state_dict({path[: -len("_l0")]: v for path, v in layer.state_dict().items()})
    zeros = jnp.zeros((2, 3))

    def advance(state, x):
        state = cell(x, state)
        return state, state[0] if kind == "LSTM" else state

    state, outputs = az.scan(advance, (zeros, zeros) if kind == "LSTM" else zeros, x.swapaxes(0, 1))
    close(outputs.swapaxes(0, 1), y, atol=1e-6)
    jax.tree.map(lambda a, b: close(a, b[0], atol=1e-6), state, last)
    close(jax.tree.leaves(cell(x[:, 0]))[0], y[:, 0], atol=1e-6)
    close(jax.tree.leaves(cell(x[0, 0]))[0], y[0, 0], atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_stated_derivative_is_the_derivative(kind):
    layer = LAYERS[kind](3, num_layers=2, bidirectional=True)
    x, lengths = data(2, 4, 3), np.array([4, 2])
    layer.settle_shapes(x)
    state = {path: value * 2 for path, value in layer.state_dict().items()}

    @jax.jit
    def outputs(state, x):
        y, last = az.functional_call(layer, state, x, lengths=lengths)
        return sum((leaf**2).sum() for leaf in jax.tree.leaves((y, last)))

    check_grads(outputs, (state, x), 1, atol=0.02, rtol=0.02, eps=1e-2)


def test_lstm_gates_follow_their_formulas():
    layer = nn.LSTM(3)
    x = np.random.default_rng(0).normal(size=(2, 4, 5)).astype("float32") * 3
    y, (h_n, c_n) = layer(jnp.asarray(x))
    w, u, b, d = (
        np.asarray(p.value, "float64")
        for p in (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
    )
    h = c = np.zeros((2, 3))
    for t in range(4):
        i, f, g, o = np.split(x[:, t] @ w.T + b + h @ u.T + d, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        close(y[:, t], h, atol=1e-6)
    close(h_n[0], h, atol=1e-6)
    close(c_n[0], c, atol=1e-6)


def test_what_stands_behind_the_end_of_a_sequence_never_matters():
    layer = nn.GRU(3, num_layers=2, bidirectional=True)
    x, lengths = data(3, 5, 4), jnp.array([3, 5, 0])
    spoiled = x.at[0, 3:].set(jnp.nan).at[2].set(jnp.inf)
    run = az.jit(lambda x, lengths: layer(x, lengths=lengths))
    (y, h), (spoiled_y, spoiled_h) = run(x, lengths), run(spoiled, lengths)
    assert (y == spoiled_y).all()
    assert (h == spoiled_h).all()
    assert (y[2] == 0).all()
    assert (h[:, 2] == 0).all()
    close(y[0, :3], layer(x[0, :3])[0], atol=1e-6)
    # Numbers out of range, which a compiled function cannot see, count as none and as all.
    assert (run(x, jnp.array([3, 9, -2]))[0] == y).all()

    def loss(layer, x):
        y, h = layer(x, lengths=lengths)
        return (y**2).sum() + h.sum()

    for path, gradient in az.jit(az.grad(loss))(layer, spoiled).items():
        assert jnp.isfinite(gradient).all(), path


def test_the_state_of_one_call_continues_in_the_next():
    layer = nn.LSTM(3, num_layers=2)
    x = data(2, 6, 4)
    y, last = layer(x)
    first, state = layer(x[:, :4])
    second, state = layer(x[:, 4:], state)
    close(jnp.concatenate([first, second], 1), y, atol=1e-6)
    jax.tree.map(lambda a, b: close(a, b, atol=1e-6), state, last)


def test_all_parameters_are_drawn_from_the_uniform_distribution_of_pytorch():
    layer = nn.LSTM(64, input_size=32)
    layer.initialize(seed=0)
    for path, parameter in layer.named_parameters():
        values = np.asarray(parameter.value).ravel()
        assert abs(values).max() <= 1 / 8, path
        # A uniform distribution on ±b has the standard deviation b/√3.
        assert abs(values.std() * 8 * 3**0.5 - 1) < 0.1, path


def test_a_default_initialiser_sets_weights_and_leaves_biases():
    layer = nn.GRU(3, input_size=2)
    layer.initialize(init.Constant(2.0), seed=0)
    assert (layer.weight_ih_l0.value == 2).all()
    assert (layer.weight_hh_l0.value == 2).all()
    assert (layer.bias_ih_l0.value != 2).all()


def test_a_rule_can_open_the_forget_gate():
    net = nn.Sequential({"reader": nn.LSTM(3, input_size=2)})
    bias = np.zeros(12, "float32")
    bias[3:6] = 1
    net.initialize({"*.bias_hh_l0": lambda shape: bias}, seed=0)
    assert (net[0].bias_hh_l0.value == bias).all()


def test_dropout_acts_between_layers_in_training_only():
    layer = nn.RNN(3, num_layers=2, dropout=0.5)
    x = data(2, 4, 3)
    train = az.jit(lambda layer, x: layer(x)[0])
    assert (train(layer, x) != train(layer, x)).any()
    layer.eval()
    assert (layer(x)[0] == layer(x)[0]).all()
    below, above = nn.RNN(3), nn.RNN(3)
    state = layer.state_dict()
    for single, ending in ((below, "_l0"), (above, "_l1")):
        single.load_state_dict(
            {p.replace(ending, "_l0"): v for p, v in state.items() if p.endswith(ending)}
        )
    close(layer(x)[0], above(below(x)[0])[0], atol=1e-6)
    everything = nn.RNN(3, num_layers=2, dropout=1.0)
    inner = az.jit(lambda x: everything(x)[1])(x)[1]
    assert jnp.allclose(inner[0], inner[1])  # The upper layer sees zeros for every example.


def test_without_dropout_the_names_are_those_of_pytorch():
    layer = nn.LSTM(3, input_size=2, num_layers=2, bidirectional=True, proj_size=1)
    expected = [
        f"{name}_l{number}{direction}"
        for number in (0, 1)
        for direction in ("", "_reverse")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ]
    assert list(layer.state_dict()) == expected


def test_a_network_learns_through_a_recurrence():
    """Whether the first of eight numbers was positive, told at the end."""
    az.seed(0)

    class Memory(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = nn.LSTM(8)
            self.answer = nn.Dense(2)

        def forward(self, x):
            return self.answer(self.read(x)[0][:, -1])

    x = data(64, 8, 1)
    y = (x[:, 0, 0] > 0).astype(int)
    trainer = az.Trainer(Memory(), optax.adam(3e-2), nn.softmax_cross_entropy)
    losses = [float(trainer.step(x, y)) for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0]


def test_shared_parameters_are_one():
    first = nn.GRU(3, num_layers=2)
    second = nn.GRU(3, num_layers=2, params=first.collect_params())
    first(data(2, 4, 5))
    assert second.input_size == 5
    assert second.weight_hh_l1 is first.weight_hh_l1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gates_are_computed_in_float32_for_half_precision(dtype):
    layer = nn.LSTM(16)
    x = data(2, 30, 8)
    y, _ = layer(x)
    layer.collect_params().cast(dtype)
    low, (h, c) = layer(x.astype(dtype))
    assert low.dtype == h.dtype == c.dtype == dtype
    close(low.astype("float32"), y, atol=0.02 if dtype == "bfloat16" else 0.003)


WRONG = {
    "one axis": (lambda: nn.LSTM(3)(data(4)), az.ShapeError, r"\(batch, time, features\)"),
    "another width": (
        lambda: nn.LSTM(3, input_size=5)(data(2, 3, 4)),
        az.ShapeError,
        r"weight_ih_l0.*\(12, 5\)",
    ),
    "a state of another batch": (
        lambda: nn.GRU(3)(data(2, 3, 4), jnp.zeros((1, 5, 3))),
        az.ShapeError,
        r"\(1, 5, 3\), expected .*\(1, 2, 3\)",
    ),
    "half a state": (lambda: nn.LSTM(3)(data(2, 3, 4), jnp.zeros((1, 2, 3))), TypeError, "pair"),
    "a state for another cell": (
        lambda: nn.GRUCell(3)(data(2, 4), jnp.zeros((2, 4))),
        az.ShapeError,
        r"GRUCell has shape \(2, 4\), expected \(2, 3\)",
    ),
    "lengths of another batch": (
        lambda: nn.RNN(3)(data(2, 3, 4), lengths=[1, 2, 3]),
        az.ShapeError,
        r"shape \(2,\)",
    ),
    "lengths that are too long": (
        lambda: nn.RNN(3)(data(2, 3, 4), lengths=[1, 4]),
        ValueError,
        r"from 0 to the number of steps, 3; got \[1, 4\]",
    ),
    "lengths that are no integers": (
        lambda: nn.RNN(3)(data(2, 3, 4), lengths=[1.0, 2.0]),
        TypeError,
        "integers, got float64",
    ),
    "no layers": (lambda: nn.RNN(3, num_layers=0), ValueError, "at least 1"),
    "dropout behind the last layer": (
        lambda: nn.RNN(3, dropout=0.5),
        ValueError,
        "between layers",
    ),
    "no probability": (lambda: nn.RNN(3, num_layers=2, dropout=2), ValueError, "from 0 to 1"),
    "another nonlinearity": (
        lambda: nn.RNN(3, nonlinearity="gelu"),
        ValueError,
        "'tanh' or 'relu', got 'gelu'",
    ),
    "a projection that is none": (lambda: nn.LSTM(3, proj_size=3), ValueError, "smaller than"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_named(mistake):
    call, kind, message = WRONG[mistake]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2), (2, 3, 0)])
def test_nothing_is_a_valid_input(shape):
    layer = nn.LSTM(4)
    y, (h, _) = layer(jnp.zeros(shape))
    assert y.shape == (*shape[:2], 4)
    assert h.shape == (1, shape[0], 4)
    gradients = az.jit(az.grad(lambda layer: layer(jnp.zeros(shape))[0].sum()))(layer)
    assert all(jnp.isfinite(gradient).all() for gradient in gradients.values())


ARRAY, PAIR = "one array h", r"a pair \(h, c\) of arrays"


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("build", "given", "expected", "found"),
    [
        (nn.GRU, lambda h: (h,), ARRAY, r"a tuple of 1 \(float32\[1, 2, 4\]\)"),
        (nn.RNN, lambda h: "zeros", ARRAY, "'zeros' of type str"),
        (nn.LSTM, lambda h: h, PAIR, r"float32\[1, 2, 4\]"),
        (nn.LSTM, lambda h: (h, h, h), PAIR, "a tuple of 3"),
        (nn.LSTM, lambda h: (h, None), PAIR, r"a tuple of 2 \(float32\[1, 2, 4\], None\)"),
        (nn.GRUCell, lambda h: (h[0],), ARRAY, "a tuple of 1"),
        (nn.LSTMCell, lambda h: h[0], PAIR, r"float32\[2, 4\]"),
    ],
)
def test_an_initial_state_of_another_kind_is_shown_and_refused(
    build, given, expected, found, compiled
):
    layer = build(4)
    x = jnp.ones((2, 3) if build in (nn.GRUCell, nn.LSTMCell) else (2, 5, 3))

    def call(x, h):
        return layer(x, given(h))

    message = f"the initial state of {build.__name__} is {expected}, or None for zeros; got {found}"
    with pytest.raises(TypeError, match=message):
        (az.jit(call) if compiled else call)(x, jnp.zeros((1, 2, 4)))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_a_state_of_integers_is_refused(kind):
    whole = issubclass(kind, nn.RNN | nn.LSTM | nn.GRU)
    x, state = (
        (jnp.ones((1, 2, 3)), jnp.ones((1, 1, 4), int))
        if whole
        else (
            jnp.ones((1, 3)),
            jnp.ones((1, 4), int),
        )
    )
    pair = kind in (nn.LSTM, nn.LSTMCell)
    with pytest.raises(az.DTypeError, match=rf"state of {kind.__name__} is of floating.*got int"):
        kind(4)(x, (state, state) if pair else state)
