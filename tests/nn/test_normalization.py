import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.nn.reference import COMPILED, Cases, assert_matches, close

CASES = Cases("normalization")
BATCH = jnp.array([[1.0, 2.0], [3.0, 6.0]])


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("vectors", nn.BatchNorm),
        ("images", lambda: nn.BatchNorm(axis=1)),
        ("average", lambda: nn.BatchNorm(momentum=None)),
        ("not affine", lambda: nn.BatchNorm(4, use_weight=False, use_bias=False)),
        ("options", lambda: nn.BatchNorm(eps=1e-2, momentum=0.3)),
    ],
)
def test_batches_statistics_and_gradients_are_those_of_pytorch(name, build):
    layer = build()
    for step in range(3):
        case = CASES[f"BatchNorm {name} step {step}"]
        before = {
            path: state.value
            for path, state in layer.named_states()
            if step and not state.is_deferred
        }
        assert_matches(layer, case, atol=2e-5)
        assert set(before) <= set(case)
        for path, state in layer.named_states():
            close(state.value, case[path], atol=1e-5)
    assert_matches(layer.eval(), CASES[f"BatchNorm {name} eval"], atol=2e-5)


def test_channels_are_the_last_axis_by_default():
    layer = nn.BatchNorm()
    case = CASES["BatchNorm images step 0"]
    layer.settle_shapes(jnp.moveaxis(jnp.asarray(case["x"]), 1, -1))
    layer.collect_params().set({"weight": case["weight"], "bias": case["bias"]})
    y = layer(np.moveaxis(case["x"], 1, -1))
    close(y, np.moveaxis(case["y"], 1, -1), atol=1e-5)


def test_running_statistics_move_by_a_tenth_with_the_unbiased_variance():
    layer = nn.BatchNorm()
    layer(BATCH)
    close(layer.running_mean.value, [0.2, 0.4])
    close(layer.running_var.value, [1.1, 1.7])
    assert int(layer.num_batches_tracked.value) == 1


def test_the_names_are_those_of_pytorch():
    assert list(nn.BatchNorm(2).state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]


def test_statistics_are_updated_under_jit():
    layer = nn.BatchNorm()
    step = az.jit(lambda net, x: net(x))
    step(layer, BATCH)
    close(layer.running_mean.value, [0.2, 0.4])
    step(layer, BATCH)
    close(layer.running_mean.value, [0.38, 0.76])


def test_plain_jit_is_refused_because_it_would_lose_the_statistics():
    layer = nn.BatchNorm()
    layer(BATCH)
    with (
        pytest.warns(az.StaleParameterWarning),
        pytest.raises(az.TraceError, match=r"running_mean.*az\.jit"),
    ):
        jax.jit(lambda x: layer(x))(BATCH)


def test_evaluation_moves_nothing_and_compiles_once_more():
    layer = nn.BatchNorm()
    step = az.jit(lambda net, x: net(x))
    step(layer, BATCH)
    traced = step.traces
    layer.eval()
    y = step(layer, BATCH)
    close(layer.running_mean.value, [0.2, 0.4])
    close(y, (np.asarray(BATCH) - [0.2, 0.4]) / np.sqrt([1.1 + 1e-5, 1.7 + 1e-5]))
    layer.train()
    step(layer, BATCH)
    layer.eval()
    step(layer, BATCH)
    assert step.traces == traced + 1


def test_finding_shapes_moves_nothing():
    layer = nn.BatchNorm()
    layer.initialize(example=jax.ShapeDtypeStruct((1, 2), "float32"))
    assert layer.channels == 2
    assert int(layer.num_batches_tracked.value) == 0


@pytest.mark.parametrize("shape", [(1, 2), (0, 2)])
def test_training_on_less_than_two_values_is_refused(shape):
    layer = nn.BatchNorm()
    with pytest.raises(az.ShapeError, match="at least two values"):
        layer(jnp.ones(shape))
    assert not layer.running_mean.value.any()
    assert layer.eval()(jnp.ones(shape)).shape == shape


def test_another_number_of_channels_is_refused_also_without_scale_and_shift():
    layer = nn.BatchNorm(3, use_weight=False, use_bias=False)
    with pytest.raises(az.ShapeError, match=r"\(3,\).*\(2,\)"):
        layer(BATCH)


def test_a_momentum_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match="momentum"):
        nn.BatchNorm(momentum=1.5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_statistics_of_low_precision_are_float32(dtype):
    layer = nn.BatchNorm(dtype=dtype)
    assert layer(BATCH.astype(dtype)).dtype == dtype
    assert layer.running_var.value.dtype == "float32"
    close(layer.running_var.value, [1.1, 1.7])


def test_a_mean_far_from_zero_costs_half_precision_nothing():
    for layer in (nn.BatchNorm(), nn.LayerNorm()):
        name = type(layer).__name__
        case = CASES[f"{name} half"]
        y = layer(jnp.asarray(case["x"]))
        assert y.dtype == "float16"
        close(y, case["y"], rtol=2e-3, atol=2e-3)
        for path, state in layer.named_states():
            close(state.value, case[path], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("last", nn.LayerNorm),
        ("last", lambda: nn.LayerNorm(5)),
        ("two", lambda: nn.LayerNorm((None, 5))),
        ("not affine", lambda: nn.LayerNorm(use_weight=False, use_bias=False)),
        ("no bias", lambda: nn.LayerNorm(use_bias=False)),
        ("eps", lambda: nn.LayerNorm(eps=0.1)),
    ],
)
def test_layer_norm_and_its_gradients_are_those_of_pytorch(name, build):
    assert_matches(build(), CASES[f"LayerNorm {name}"], atol=2e-5)


def test_layer_norm_refuses_other_sizes_also_without_parameters():
    with pytest.raises(az.ShapeError, match=r"\(4,\).*\(5,\)"):
        nn.LayerNorm(4)(jnp.ones((2, 5)))
    with pytest.raises(az.ShapeError, match=r"\(4,\).*\(5,\)"):
        nn.LayerNorm(4, use_weight=False, use_bias=False)(jnp.ones((2, 5)))
    with pytest.raises(az.ShapeError, match=r"\(None, None\).*\(5,\)"):
        nn.LayerNorm((None, None), use_weight=False, use_bias=False)(jnp.ones(5))


def test_layer_norm_over_no_axis_is_refused():
    with pytest.raises(ValueError, match="at least one axis"):
        nn.LayerNorm(())


def test_the_output_of_layer_norm_has_the_dtype_of_the_input():
    layer = nn.LayerNorm()
    assert layer(jnp.ones((2, 3), "bfloat16")).dtype == "bfloat16"
    assert layer(jnp.ones((2, 3), "int32")).dtype == "float32"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("build", [nn.BatchNorm, nn.LayerNorm])
def test_a_call_outside_of_jit_is_one_dispatch(build, training):
    layer = build().train(training).settle_shapes(BATCH)
    called = jax.make_jaxpr(lambda state, x: az.functional_call(layer, state, x, return_state=True))
    (equation,) = called(layer.state_dict(), BATCH).eqns
    assert equation.primitive.name in COMPILED


def test_norms_print_their_settings():
    assert repr(nn.BatchNorm()) == "BatchNorm(None, axis=-1, eps=1e-05, momentum=0.1)"
    assert repr(nn.LayerNorm((3, None))) == "LayerNorm((3, None), eps=1e-05)"
