import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.nn.reference import COMPILED, close

BATCH = jnp.array([[1.0, 2.0], [3.0, 6.0]])


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
    with pytest.raises(az.ShapeError, match=r"it has 3 channels along axis -1, but .* \(\d+, 2\)"):
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


def test_without_running_statistics_evaluation_normalises_by_the_batch():
    layer = nn.BatchNorm(track_running_stats=False).eval()
    close(layer(BATCH), [[-1, -1], [1, 1]], atol=1e-4)
    assert list(layer.state_dict()) == ["weight", "bias"]
    with pytest.raises(az.ShapeError, match="at least two values"):
        layer(BATCH[:1])


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
import ansatz as az
from ansatz import nn

devices = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
rows = NamedSharding(devices, PartitionSpec("data"))
x = np.random.default_rng(0).normal(size=(8, 3, 2)) * np.arange(1, 9).reshape(8, 1, 1)
x = x.astype("float32")
found = []
for place in (jax.devices()[0], rows):
    layer = nn.BatchNorm(2)
    step = az.jit(az.value_and_grad(lambda net, x: (net(x) ** 3).sum()))
    loss, grads = step(layer, jax.device_put(x, place))
    found.append([loss, grads["weight"], layer.running_mean.value, layer.running_var.value])
for alone, sharded in zip(*found):
    np.testing.assert_allclose(alone, sharded, rtol=1e-4, atol=1e-4)
np.testing.assert_allclose(found[1][2], 0.1 * x.mean((0, 1)), rtol=1e-4, atol=1e-6)
"""


def test_a_batch_that_lies_on_several_devices_has_the_statistics_of_the_whole():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", SHARDED]
    subprocess.run(command, env={**os.environ, **flags}, timeout=300, check=True)


def test_mapped_over_an_axis_each_element_is_a_batch_of_its_own():
    layer = nn.BatchNorm(2, track_running_stats=False)
    x = jnp.stack([BATCH, 10 * BATCH])
    y = az.vmap(lambda net, x: net(x), in_axes=(None, 0))(layer, x)
    close(y[1], layer(x[1]))


@pytest.mark.parametrize("training", [True, False])
def test_a_call_outside_of_jit_is_one_dispatch(training):
    layer = nn.BatchNorm().train(training).settle_shapes(BATCH)
    called = jax.make_jaxpr(lambda state, x: az.functional_call(layer, state, x, return_state=True))
    (equation,) = called(layer.state_dict(), BATCH).eqns
    assert equation.primitive.name in COMPILED


def test_it_prints_its_settings():
    assert repr(nn.BatchNorm()) == "BatchNorm(None, axis=-1, eps=1e-05, momentum=0.1)"
    assert repr(nn.BatchNorm(3, track_running_stats=False)) == (
        "BatchNorm(3, axis=-1, eps=1e-05, track_running_stats=False)"
    )
