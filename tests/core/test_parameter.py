import copy
import operator
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ansatz as az
from tests.core.layers import Affine, Chain, inputs, mean_square, sgd

# -- shapes and dtypes --------------------------------------------------------------------------


def test_unknown_dimensions_are_filled_and_known_ones_never_change():
    p = az.Parameter((3, None))
    assert p.is_deferred
    p.shape = (3, 4)
    assert p.shape == (3, 4)
    assert not p.is_deferred
    with pytest.raises(az.ShapeError, match=r"shape \(3, 4\), which does not fit \(3, 5\)"):
        p.shape = (3, 5)
    with pytest.raises(az.ShapeError):
        p.shape = (3, 4, 1)
    assert p.shape == (3, 4)


@pytest.mark.parametrize("shape", [7, np.int64(7), (7,), [7], [np.int32(7)]])
def test_a_shape_may_be_written_as_an_integer_a_tuple_or_a_list(shape):
    assert az.Parameter(shape).shape == (7,)


def test_a_negative_size_is_refused():
    with pytest.raises(az.ShapeError, match="negative size"):
        az.Parameter((3, -1))


def test_a_shape_has_to_be_given():
    with pytest.raises(TypeError, match="got None, which stands for one dimension"):
        az.Parameter(None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([0.5, 1.0], "got a list of 2 (0.5 of type float, 1.0 of type float); values are given as"),
        ("weight", "got 'weight'; a name comes from the attribute: self.weight ="),
        (2.5, "got 2.5 of type float; values are given as an array"),
    ],
)
def test_what_is_no_shape_is_refused_with_what_to_write(given, told):
    with pytest.raises(TypeError) as caught:
        az.Parameter(given)
    assert told in str(caught.value)


def test_a_parameter_may_take_the_values_of_an_array():
    given = np.arange(3, dtype=np.float32)
    p = az.Parameter(given)
    given[:] = 7
    assert p.value.tolist() == [0, 1, 2]
    assert str(p.origin) == "declared with a value"
    p.value = jnp.ones(3)
    p.initialize(force_reinit=True)
    assert p.value.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", [az.Parameter, az.State])
def test_an_array_takes_the_declared_dtype_and_without_one_keeps_its_own(kind):
    given = np.array([1, 2.5], np.float16)
    assert kind(given).dtype == jnp.float16
    cell = kind(given, dtype="bfloat16")
    assert cell.value.dtype == jnp.bfloat16
    cell.initialize(force_reinit=True)
    assert cell.value.tolist() == [1, 2.5]
    assert cell.value.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (
            lambda: az.State((4,), init="zeros"),
            r"got a tuple of 1 .*: write az\.State\(shape=\(4,\)\) if it is a shape, or az",
        ),
        (lambda: az.State((0.5, 1.0)), r"write az\.State\(np\.array\(\(0\.5, 1\.0\)\)\)"),
        (lambda: az.State((), dtype="int32"), r"write az\.State\(shape=\(\)\)"),
        (lambda: az.State(1.0, init="ones"), "has no init='ones', got both"),
        (lambda: az.State(np.ones(3), shape=(3,)), r"has no shape=\(3,\), got both"),
    ],
)
def test_a_state_whose_shape_stands_where_the_value_does_is_refused(declare, message):
    with pytest.raises(TypeError, match=message):
        declare()


def test_64_bit_dtypes_need_64_bit_mode():
    with pytest.raises(az.DTypeError, match="jax_enable_x64"):
        az.Parameter((3,), dtype="float64")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_values_have_the_declared_dtype(dtype):
    p = az.Parameter((3, 2), dtype=dtype)
    assert p.value.dtype == jnp.dtype(dtype)
    assert p.grad.dtype == jnp.dtype(dtype)


def test_size_and_ndim_and_their_limits():
    p = az.Parameter((3, None))
    assert p.ndim == 2
    with pytest.raises(az.DeferredInitializationError, match=r"\(3, None\).*size is unknown"):
        _ = p.size
    p.shape = (3, 4)
    assert p.size == 12


def test_reading_a_deferred_value_says_how_to_settle_it():
    net = Chain(Affine(3))
    with pytest.raises(
        az.DeferredInitializationError,
        match=r"(?s)'layers.0.weight'.*net\.initialize\(example=.*def infer_shape\(self, x\):"
        r".*self\.weight\.shape = \(3, x\.shape\[-1\]\)",
    ):
        _ = net.layers[0].weight.value


def test_a_weak_python_number_does_not_make_a_function_trace_again():
    state = az.State(0.0)
    step = az.jit(lambda: state.assign(state.value + 1))
    step()
    state.value = 3.0
    step()
    state.value = 4
    step()
    assert step.traces == 1
    assert float(state.value) == 5


# -- editing ------------------------------------------------------------------------------------


def test_a_value_of_another_shape_is_refused_and_nothing_changes():
    net = Affine(2, 3)
    net.weight.value = jnp.ones((2, 3))
    with pytest.raises(
        az.ShapeError, match=r"parameter 'weight' has shape \(2, 3\).*\(3,\).*never broadcast"
    ):
        net.weight.value = jnp.ones(3)
    assert net.weight.value.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_value_of_another_dtype_is_refused_and_nothing_changes():
    net = Affine(2, 3)
    net.weight.value = jnp.ones((2, 3))
    with pytest.raises(
        az.DTypeError, match=r"'weight' has dtype float32.*int32.*astype\('float32'"
    ):
        net.weight.value = jnp.zeros((2, 3), jnp.int32)
    assert net.weight.value.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_python_numbers_and_lists_take_the_declared_dtype():
    p = az.Parameter((2,), init="zeros")
    p.value = [1, 2.5]
    assert p.value.dtype == jnp.float32
    state = az.State(0)
    with pytest.raises(az.DTypeError):
        state.value = 1.5


def test_assigning_a_value_settles_an_unknown_shape():
    p = az.Parameter((2, None))
    p.value = jnp.ones((2, 5))
    assert p.shape == (2, 5)


def test_assigning_a_value_settles_an_unknown_shape_also_under_jit():
    net = Affine(2)
    az.jit(lambda net, new: net.weight.assign(new))(net, jnp.ones((2, 5)))
    assert net.weight.shape == (2, 5)
    assert not net.weight.is_deferred
    assert net(jnp.ones((1, 5))).tolist() == [[5, 5]]
    assert list(net.state_dict()) == ["weight", "bias"]


def test_a_numpy_array_that_was_assigned_stays_the_users_own():
    p = az.Parameter((3,), init="zeros")
    mine = np.ones(3, np.float32)
    p.value = mine
    mine[:] = 7
    assert p.value.tolist() == [1, 1, 1]


def test_data_is_a_live_view():
    p = az.Parameter((2, 2), init="zeros")
    view = p.data
    p.data[:] += 1
    p.data[0, 0] = 42
    p.data *= abs(p.data) >= 1
    p.data[1] = np.array([3.0, 4.0], np.float32)
    assert p.value.tolist() == [[42, 1], [3, 4]]
    assert view.tolist() == p.value.tolist()
    assert (view == p).all()


def test_data_refuses_what_would_be_cast():
    p = az.Parameter((2,), dtype="int32", init="zeros", trainable=False)
    with pytest.raises(az.DTypeError, match="dtype int32"):
        p.data[0] = 1.5
    assert p.value.tolist() == [0, 0]


def test_indexing_reads_and_writes():
    p = az.Parameter((2, 2), init="zeros")
    p[0, 1] = 5
    p[1] += 2
    p[..., 0] = p[..., 1] * 2
    assert p.value.tolist() == [[10, 5], [4, 2]]
    assert p[0].tolist() == [10, 5]
    assert p[None].shape == (1, 2, 2)


def test_edits_under_jit_are_kept():
    p = az.Parameter((2, 2), init="zeros")

    @az.jit
    def edit(x):
        p.data[0] += x
        p[1, 1] = 3
        nonlocal_p = p
        nonlocal_p *= 2

    edit(1.0)
    assert p.value.tolist() == [[2, 2], [0, 6]]
    edit(1.0)
    assert p.value.tolist() == [[6, 6], [0, 6]]


# -- operators ----------------------------------------------------------------------------------

BINARY = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.matmul,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]
LEFT = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
RIGHT = np.array([[5.0, 3.0], [2.0, 7.0]], np.float32)


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.__name__)
@pytest.mark.parametrize("jitted", [False, True])
def test_operators_act_on_the_value_like_numpy(op, jitted):
    p, q = az.Parameter(jnp.array(LEFT)), az.Parameter(jnp.array(RIGHT))
    run = (lambda f: az.jit(f)()) if jitted else (lambda f: f())
    for compute in (
        lambda: op(p, q),
        lambda: op(p, RIGHT),
        lambda: op(LEFT, q),
        lambda: op(p, jnp.array(RIGHT)),
        lambda: op(jnp.array(LEFT), q),
        lambda: op(p.data, q.data),
    ):
        result = run(compute)
        assert isinstance(result, jax.Array)
        assert_allclose(result, op(LEFT, RIGHT), rtol=1e-6)


@pytest.mark.parametrize("op", BINARY[:7], ids=lambda op: op.__name__)
def test_operators_take_python_and_numpy_scalars_on_either_side(op):
    p = az.Parameter(jnp.array(LEFT))
    for number in (3, 2.5, np.float32(2.5)):
        assert_allclose(op(p, number), op(LEFT, np.float32(number)), rtol=1e-6)
        assert_allclose(op(number, p), op(np.float32(number), LEFT), rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul"]
)
def test_in_place_operators_change_the_parameter_itself(name):
    p = same = az.Parameter(jnp.array(LEFT))
    net = az.Module()
    net.weight = p
    net.weight = getattr(operator, name)(net.weight, RIGHT)
    same = getattr(operator, name)(same, RIGHT)
    plain = getattr(operator, name[1:])
    assert same is p
    assert net.weight is p
    assert_allclose(p.value, plain(plain(LEFT, RIGHT), RIGHT), rtol=1e-5)


def test_unary_operators_and_conversions():
    p = az.Parameter(jnp.array([-1.0, 2.0]))
    assert (-p).tolist() == [1, -2]
    assert (+p).tolist() == [-1, 2]
    assert abs(p).tolist() == [1, 2]
    assert p.T.shape == (2,)
    assert len(p) == 2
    assert np.asarray(p).tolist() == [-1, 2]
    assert np.asarray(p, dtype=np.float64).dtype == np.float64
    assert float(az.Parameter((), init="ones")) == 1
    assert int(az.State(3)) == 3


def test_iterating_over_a_parameter_ends():
    p = az.Parameter(jnp.array(LEFT))
    assert [row.tolist() for row in p] == LEFT.tolist()


def test_a_parameter_is_equal_to_itself_only_and_can_be_a_key():
    p, q = az.Parameter((2,), init="ones"), az.Parameter((2,), init="ones")
    assert p == p
    assert p != q
    assert {p: 1}[p] == 1


# -- gradients ----------------------------------------------------------------------------------


def test_backward_writes_by_default():
    net, x = Affine(1, 5), inputs()
    az.backward(mean_square, net, x)
    first = net.weight.grad
    az.backward(mean_square, net, x)
    assert_array_equal(net.weight.grad, first)
    assert float(jnp.abs(first).sum()) > 0


@pytest.mark.parametrize("jitted", [False, True])
def test_grad_req_add_accumulates_until_zeroed(jitted):
    net, x = Affine(1, 5), inputs()
    net.weight.grad_req = "add"
    run = lambda net, x: az.backward(mean_square, net, x)  # noqa: E731
    run = az.jit(run) if jitted else run
    run(net, x)
    first = net.weight.grad
    run(net, x)
    assert_allclose(net.weight.grad, 2 * first, rtol=1e-6)
    net.zero_grad()
    assert float(jnp.abs(net.weight.grad).sum()) == 0
    run(net, x)
    assert_allclose(net.weight.grad, first, rtol=1e-6)


def test_grad_req_null_freezes():
    net = Affine(1, 5)
    net.weight.grad_req = "null"
    assert not net.weight.trainable
    assert net.weight.grad is None
    assert list(az.grad(mean_square)(net, inputs())) == ["bias"]
    net.weight.grad_req = "write"
    assert net.weight.trainable


def test_trainable_is_true_or_false_and_nothing_else():
    weight = az.Parameter((2,))
    with pytest.raises(TypeError, match="is True or False, got 'no'"):
        weight.trainable = "no"
    with pytest.raises(TypeError, match="is True or False, got 1"):
        az.Parameter((2,), trainable=1)
    weight.trainable = np.bool_(False)
    assert weight.trainable is False


def test_freezing_and_thawing_keeps_grad_req():
    p = az.Parameter((2,), grad_req="add")
    p.trainable = False
    assert p.grad_req == "null"
    p.trainable = True
    assert p.grad_req == "add"


def test_an_unknown_grad_req_is_refused():
    with pytest.raises(ValueError, match=r"must be 'write', 'add' or 'null', got 'sum'"):
        az.Parameter((2,)).grad_req = "sum"


def test_a_gradient_is_zero_before_the_first_backward_and_refused_without_a_shape():
    assert az.Parameter((2,)).grad.tolist() == [0, 0]
    with pytest.raises(az.DeferredInitializationError, match="no gradient"):
        _ = az.Parameter((2, None)).grad


def test_gradients_after_a_new_initialisation_are_those_of_the_new_values():
    net, x = Affine(1, 5), inputs()
    step = az.jit(lambda net, x: az.backward(mean_square, net, x))
    step(net, x)
    net.initialize(seed=3, force_reinit=True)
    step(net, x)
    wanted = az.grad(mean_square)(net, x)
    assert_allclose(net.weight.grad, wanted["weight"], rtol=1e-5)
    assert step.traces == 1


def test_an_integer_parameter_has_no_gradient_and_says_so():
    net = az.Module()
    net.table = az.Parameter((2,), dtype="int32", init="ones")
    with pytest.raises(az.DTypeError, match=r"'table' has dtype int32.*trainable=False"):
        az.grad(lambda net: net.table.value.sum() * 1.0)(net)
    net.freeze()
    assert az.grad(lambda net: net.table.value.sum() * 1.0)(net) == {}


# -- cast ---------------------------------------------------------------------------------------


def test_cast_converts_value_gradient_and_what_is_drawn_later():
    net = Affine(2, 3)
    _ = net.weight.value, net.weight.grad
    net.collect_params().cast("bfloat16")
    assert net.weight.value.dtype == net.weight.grad.dtype == net.bias.value.dtype == jnp.bfloat16
    net.initialize(force_reinit=True)
    assert net.weight.value.dtype == jnp.bfloat16


def test_a_cast_that_would_lose_the_values_is_refused():
    with pytest.raises(az.DTypeError, match="would lose its values"):
        az.Parameter((2,)).cast("int32")


def test_a_cast_inside_a_trace_is_refused():
    net = Affine(2, 3)
    net.initialize()
    with pytest.raises(az.TraceError, match=r"'weight' was cast inside"):
        az.jit(lambda net: net.collect_params().cast("bfloat16"))(net)
    assert net.weight.value.dtype == jnp.float32


# -- origin -------------------------------------------------------------------------------------


def test_origin_tells_where_the_value_comes_from():
    net, x = Affine(1, 5), inputs()
    assert str(net.weight.origin) == "declared"
    net.initialize(seed=3)
    assert net.weight.origin.kind == "initialised"
    assert "the layer's fallback, seed 3" in str(net.weight.origin)
    assert not net.weight.origin.updated
    net.weight.data[0, 0] = 1
    assert str(net.weight.origin) == "edited"
    az.jit(sgd)(net, x)
    assert str(net.weight.origin) == "edited, then updated"


def test_origin_tells_of_an_update_after_a_new_initialisation():
    net, x = Affine(1, 5), inputs()
    step = az.jit(sgd)
    step(net, x)
    assert net.weight.origin.updated
    net.initialize(seed=3, force_reinit=True)
    assert not net.weight.origin.updated
    step(net, x)
    assert net.weight.origin.updated
    assert step.traces == 1


def test_origin_is_not_changed_by_reading():
    net = Affine(1, 5)
    net.initialize(seed=3)
    before = net.weight.origin
    _ = net.weight.value, net(inputs()), az.jit(lambda net, x: net(x))(net, inputs())
    assert net.weight.origin == before


def test_origin_survives_copies():
    net = Affine(1, 5)
    net.initialize(seed=3)
    assert copy.deepcopy(net).weight.origin == net.weight.origin
    assert pickle.loads(pickle.dumps(net)).weight.origin == net.weight.origin


# -- printing -----------------------------------------------------------------------------------


def test_a_parameter_prints_its_path_shape_and_state():
    net = Chain(Affine(2))
    weight = net.layers[0].weight
    assert repr(weight) == "Parameter layers.0.weight (shape=(2, None), dtype=float32, deferred)"
    weight.shape = (2, 1)
    assert "not initialised yet" in repr(weight)
    weight.value = jnp.ones((2, 1))
    weight.trainable = False
    assert repr(weight).endswith("dtype=float32, frozen)")
    assert str(weight).endswith("[[1.]\n [1.]]")


def test_printing_inside_a_trace_does_not_fail():
    net = Affine(2, 3)
    net.initialize()
    seen = []
    az.jit(lambda net: seen.append(str(net.weight)))(net)
    assert "weight" in seen[0]


# -- one parameter alone ------------------------------------------------------------------------


def test_initialising_one_parameter_alone():
    p = az.Parameter((3,), init="ones")
    p.initialize()
    assert p.value.tolist() == [1, 1, 1]
    with pytest.warns(az.AlreadyInitializedWarning, match="force_reinit=True"):
        p.initialize("zeros")
    assert p.value.tolist() == [1, 1, 1]
    p.initialize("zeros", force_reinit=True)
    assert p.value.tolist() == [0, 0, 0]
    p.initialize(force_reinit=True)
    assert p.value.tolist() == [1, 1, 1]


def test_an_initialisation_before_the_shape_is_carried_out_with_it():
    net = Affine(2)
    net.weight.initialize("ones", seed=1)
    net(jnp.ones((1, 3)))
    assert net.weight.value.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert "given for it alone" in str(net.weight.origin)


def test_reading_a_lone_parameter_draws_it():
    az.seed(0)
    first = az.Parameter((3, 2)).value
    az.seed(0)
    assert_array_equal(az.Parameter((3, 2)).value, first)


def test_an_unreadable_initialiser_is_refused_where_it_is_written():
    with pytest.raises(ValueError, match=r"is called 'zerso'; did you mean .*'zeros"):
        az.Parameter((3,), init="zerso")
    with pytest.raises(TypeError, match="an initialiser is wanted"):
        az.Parameter((3,), init=3)


def test_an_initialiser_of_the_wrong_shape_changes_nothing():
    net = Affine(2, 3)
    net.bias.init = lambda shape: np.zeros((7,), np.float32)
    with pytest.raises(az.InitializationError, match=r"shape \(7,\) for parameter 'bias'"):
        net.initialize()
    assert not net.weight.has_value
    assert not net.bias.has_value
