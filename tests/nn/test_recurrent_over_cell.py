"""Recurrences over any cell: the library's, and cells as users write them."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.nn.reference import close

CELLS = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell}


def data(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "float32")


class Cell(nn.Module):
    """A cell that does what a function of `x` and the state says."""

    def __init__(self, step, start=lambda x: jnp.zeros(len(x))):
        super().__init__()
        self.step, self.start = step, start

    def initial_state(self, x):
        return self.start(x)

    def forward(self, x, state):
        return self.step(x, state)


class Summing(nn.Module):
    """Adds up the inputs, and counts the steps of all calls."""

    def __init__(self):
        super().__init__()
        self.steps = az.State(jnp.zeros((), "int32"))

    def initial_state(self, x):
        return jnp.zeros_like(x)

    def forward(self, x, state):
        self.steps.value = self.steps.value + 1
        return {"sum": state + x, "twice": 2 * x}, state + x


@pytest.mark.parametrize(("kind", "reverse"), [("LSTM", False), ("GRU", True)])
def test_over_a_cell_of_the_library_it_computes_what_the_layer_computes(kind, reverse):
    layer = getattr(nn, kind)(3, input_size=4, bidirectional=reverse)
    over = nn.Recurrent(CELLS[kind](3), reverse=reverse)
    x, lengths = data(3, 4, 4), np.array([4, 2, 0])
    x = x.at[1, 2:].set(jnp.nan)  # What is behind the end never matters.
    end = "_l0_reverse" if reverse else "_l0"
    taken = {k: v for k, v in layer.state_dict().items() if k.endswith(end)}
    over.load_state_dict({f"cell.{k.removesuffix(end)}": v for k, v in taken.items()})

    def loss(run, x):
        y, state = run(x, lengths=lengths)
        outputs = y[..., -3:], jax.tree.map(lambda part: part.reshape(-1, 3, 3)[-1], state)
        return sum((part**2).sum() for part in jax.tree.leaves(outputs)), outputs

    both = az.jit(lambda x: [az.value_and_grad(loss, 1, has_aux=True)(n, x) for n in (layer, over)])
    ((_, expected), wanted), ((_, found), gradient) = both(x)
    jax.tree.map(lambda a, b: close(a, b, atol=1e-6), found, expected)
    close(gradient, wanted, atol=1e-6)


def test_a_cell_of_ones_own_sees_step_after_step_and_keeps_its_states():
    x = data(2, 5, 3)
    layer = nn.Recurrent(Summing())
    y, state = layer(x)
    expected = np.cumsum(x, 1)
    close(y["sum"], expected, atol=1e-6)
    close(y["twice"], 2 * x)
    close(state, expected[:, -1], atol=1e-6)
    assert layer.cell.steps.value == 5
    more, _ = layer(x, state)
    close(more["sum"], expected + expected[:, -1:], atol=1e-5)
    assert layer.cell.steps.value == 10


def test_it_goes_backwards_and_time_may_come_first():
    x = data(5, 2, 3)
    y, state = nn.Recurrent(Summing(), reverse=True, batch_first=False)(x, lengths=[5, 2])
    summed = np.cumsum(x[::-1], 0)[::-1]
    close(y["sum"][:, 0], summed[:, 0], atol=1e-6)
    close(y["sum"][:2, 1], np.cumsum(x[:2, 1][::-1], 0)[::-1], atol=1e-6)
    assert not y["sum"][2:, 1].any()
    close(state, y["sum"][0])
    # Without a batch, each step is what the cell says.
    y, _ = nn.Recurrent(Summing(), reverse=True, batch_first=False, unroll=5)(x[:, 0])
    close(y["sum"], summed[:, 0], atol=1e-6)


def test_eager_calls_run_one_compiled_program_for_each_structure():
    traced = []

    def step(x, state):
        traced.append(x)
        return x, state

    layer = nn.Recurrent(Cell(step))
    layer(data(2, 5, 3))
    first = len(traced)
    layer(data(2, 5, 3))
    assert len(traced) == first
    y, _ = copy.deepcopy(layer)(data(2, 5, 3))
    close(y, data(2, 5, 3))


class Noisy(nn.Module):
    """Its outputs are the dropout masks of its steps."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm(momentum=None), nn.Dropout(0.5)

    def initial_state(self, x):
        return jnp.zeros(())

    def forward(self, x, state):
        self.norm(x)
        return self.drop(jnp.ones_like(x)), state


def test_each_step_has_a_dropout_mask_of_its_own_and_moves_running_statistics():
    x = data(4, 3, 8)
    layer = nn.Recurrent(Noisy())
    masks = np.concatenate([layer(x)[0] for _ in range(2)], 1)
    assert set(np.unique(masks)) == {0, 2}
    # Two masks of 32 elements are alike once in 2³² draws.
    assert len({masks[:, step].tobytes() for step in range(6)}) == 6
    assert layer.cell.norm.num_batches_tracked.value == 6
    close(layer.cell.norm.running_mean.value, x.mean((0, 1)), atol=1e-6)
    layer.eval()
    assert (az.jit(layer)(x)[0] == 1).all()


def test_mapped_instances_draw_masks_of_their_own():
    layer = nn.Recurrent(Noisy())
    layer.cell.norm.eval()
    layer(data(1, 3, 8))
    y = az.vmap(lambda x: layer(x[None])[0])(data(2, 3, 8))
    assert (y[0] != y[1]).any()


def test_what_is_learned_may_be_the_initial_state():
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.start = az.Parameter((3,), init="ones")

        def initial_state(self, x):
            return jnp.broadcast_to(self.start.value, x.shape)

        def forward(self, x, state):
            return state + x, state + x

    layer = nn.Recurrent(Learned())
    x = data(2, 4, 3)
    grads = az.jit(az.grad(lambda net, x: net(x)[1].sum()))(layer, x)
    close(grads["cell.start"], np.full(3, 2.0))
    close(layer(x)[1], 1 + x.sum(1), atol=1e-6)


def test_a_state_of_a_wider_dtype_is_kept():
    layer = nn.Recurrent(Cell(lambda x, state: (x, (state + 1).astype("bfloat16"))))
    y, state = layer(data(2, 3, 4).astype("bfloat16"))
    assert (y.dtype, state.dtype) == (jnp.bfloat16, jnp.float32)
    assert (state == 3).all()


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 5, 3)])
def test_no_step_and_no_sequence_are_valid_inputs(shape):
    y, (h, c) = nn.Recurrent(nn.LSTMCell(4))(jnp.ones(shape), lengths=np.zeros(shape[0], int))
    assert y.shape == (*shape[:2], 4)
    assert h.shape == c.shape == (shape[0], 4)


def test_each_shard_runs_its_own_sequences():
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("d")
    layer = nn.Recurrent(nn.GRUCell(3))
    x = data(2, 4, 3)
    y, _ = layer(x)
    sharded = az.jit(
        lambda x: jax.shard_map(
            lambda x: az.functional_call(layer, layer.state_dict(), x),
            mesh=mesh,
            in_specs=spec,
            out_specs=spec,
        )(x)
    )
    close(sharded(x)[0], y, atol=1e-6)


X = jnp.ones((2, 5, 3))
GROWING = Cell(lambda x, state: (x, jnp.concatenate([state, state])))
SCALAR = Cell(lambda x, state: (x, state), lambda x: jnp.zeros(()))
MISTAKES = {
    "a class": (lambda: nn.Recurrent(nn.GRUCell), TypeError, "make a layer of the class"),
    "a layer": (lambda: nn.Recurrent(nn.LSTM(3)), TypeError, "give Recurrent an nn.LSTMCell"),
    "the other name": (lambda: nn.RNN(nn.GRUCell(3)), TypeError, r"is nn\.Recurrent\(cell\)"),
    "unroll": (lambda: nn.Recurrent(nn.GRUCell(3), unroll=0), ValueError, "at least 1; got 0"),
    "option": (
        lambda: nn.Recurrent(nn.GRUCell(3), go_backwards=True),
        TypeError,
        "it is called 'reverse' here",
    ),
    "no state": (
        lambda: nn.Recurrent(nn.Lambda(lambda x, state: (x, state)))(X),
        TypeError,
        r"def initial_state\(self, x\)",
    ),
    "the other order": (
        lambda: nn.Recurrent(Cell(lambda x, s: ((x, x), x), lambda x: (x, x)))(X),
        TypeError,
        r"given the state \(float32\[2, 3\], float32\[2, 3\]\) .* returns \(output, state\)",
    ),
    "a growing state": (lambda: nn.Recurrent(GROWING)(X), az.ShapeError, r"of \(2,\) .* \(4,\)"),
    "a narrow state": (
        lambda: nn.Recurrent(Cell(lambda x, s: (x, s + 0.5)))(X, jnp.zeros(2, "int32")),
        az.DTypeError,
        r"of int32 the cell made float32; .* state\.astype\('float32'\)",
    ),
    "one sequence": (lambda: nn.Recurrent(nn.GRUCell(3))(X[0]), az.ShapeError, r"x\[None\]"),
    "a list": (lambda: nn.Recurrent(nn.GRUCell(3))([[1.0]]), TypeError, "jnp.asarray"),
    "nothing": (lambda: nn.Recurrent(nn.GRUCell(3))(()), az.ShapeError, "got no array"),
    "unequal arrays": (
        lambda: nn.Recurrent(nn.GRUCell(3))((X, X[:1])),
        az.ShapeError,
        r"float32\[2, 5, 3\], float32\[1, 5, 3\]",
    ),
    "long": (lambda: nn.Recurrent(nn.GRUCell(3))(X, lengths=[6, 1]), ValueError, "from 0 to"),
    "one length": (lambda: nn.Recurrent(nn.GRUCell(3))(X, lengths=[1]), az.ShapeError, r"\(2,\)"),
    "a state for all": (
        lambda: nn.Recurrent(SCALAR)(X, lengths=[5, 1]),
        az.ShapeError,
        r"the state of Cell has one row for each of 2 sequences, but one has shape \(\)",
    ),
    "an output for all": (
        lambda: nn.Recurrent(Cell(lambda x, state: (x.sum(), state)))(X),
        az.ShapeError,
        "begins with the batch",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake):
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        call()


def test_it_prints_what_differs_from_the_defaults():
    layer = nn.Recurrent(nn.GRUCell(3), reverse=True, batch_first=False, unroll=2)
    assert layer.extra_repr() == "reverse=True, batch_first=False, unroll=2"
    assert nn.Recurrent(nn.GRUCell(3)).extra_repr() == ""
