"""Draws depend on (seed, path, block) and on nothing else."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ansatz as az
from ansatz import init, nn
from ansatz.core import random
from ansatz.core.initializer import Initializer, Spec
from ansatz.core.random import BLOCK, Job, draw, generator

FLOAT32 = np.dtype(np.float32)
NORMAL = init.Normal(1.0)


def drawn(shape, *, initializer=NORMAL, path="weight", seed=0, dtype=FLOAT32):
    return draw([Job(initializer, Spec(shape, np.dtype(dtype), path), seed)])[0]


def test_the_same_seed_and_path_give_the_same_bits():
    np.testing.assert_array_equal(drawn((30, 40)), drawn((30, 40)))


@pytest.mark.parametrize("other", [{"seed": 1}, {"path": "bias"}])
def test_another_seed_or_path_gives_other_values(other):
    assert (drawn((30, 40)) != drawn((30, 40), **other)).all()


def test_seed_and_path_cannot_be_mistaken_for_each_other():
    assert drawn((1,), seed=1, path="1") != drawn((1,), seed=11, path="")
    assert drawn((1,), seed=-1) != drawn((1,), seed=1)


def test_parameters_that_are_drawn_together_are_not_correlated():
    n = 20_000
    rows = [drawn((n,), path=f"layers.{i}.weight", seed=3).astype(np.float64) for i in range(20)]
    correlation = np.corrcoef(rows) - np.eye(20)
    # 190 pairs: a correct generator exceeds five standard deviations once in ten thousand runs.
    assert np.abs(correlation).max() < 5 / n**0.5


@pytest.mark.parametrize("initializer", [NORMAL, init.Uniform(), init.TruncatedNormal()])
def test_a_block_can_be_drawn_alone(initializer):
    whole = drawn((BLOCK * 2 + 1001,), initializer=initializer).reshape(-1)
    for block, start in enumerate(range(0, whole.size, BLOCK)):
        alone = np.empty(min(BLOCK, whole.size - start), np.float32)
        initializer.fill(generator(0, "weight", block), alone)
        np.testing.assert_array_equal(whole[start : start + BLOCK], alone)


def test_blocks_of_one_parameter_differ():
    whole = drawn((2, BLOCK))
    assert (whole[0] != whole[1]).mean() > 0.999


@pytest.mark.parametrize("cores", [1, 2, 7])
def test_the_number_of_threads_does_not_change_a_bit(monkeypatch, cores):
    jobs = [
        Job(initializer, Spec((300, 1001), FLOAT32, f"{i}.weight"), 5)
        for i, initializer in enumerate([NORMAL, init.Uniform(), init.TruncatedNormal()] * 2)
    ]
    apart = [draw([job])[0] for job in jobs]
    monkeypatch.setattr(random.processors, "available", lambda: cores)
    for together, alone in zip(draw(jobs), apart, strict=True):
        np.testing.assert_array_equal(together, alone)


@given(
    st.lists(
        st.lists(st.integers(0, 40), max_size=3).map(tuple),
        max_size=6,
    ),
    st.sampled_from(["float32", "float16", "bfloat16"]),
)
def test_arrays_that_share_memory_do_not_overlap(shapes, dtype):
    jobs = [
        Job(init.Constant(i + 1), Spec(shape, np.dtype(jnp.dtype(dtype)), str(i)), 0)
        for i, shape in enumerate(shapes)
    ]
    for i, (array, shape) in enumerate(zip(draw(jobs), shapes, strict=True)):
        assert array.shape == shape
        assert array.flags.c_contiguous
        assert (array == i + 1).all()


def test_small_arrays_share_memory_only_up_to_a_limit():
    arrays = draw([Job(init.Zeros(), Spec((1 << 20,), FLOAT32, str(i)), 0) for i in range(9)])
    addresses = [array.ctypes.data for array in arrays]
    assert all(address % 64 == 0 for address in addresses)
    bases = {id(array.base if array.base.base is None else array.base.base) for array in arrays}
    assert len(bases) == 3


def test_an_error_while_drawing_names_the_parameter_and_stops_all_threads():
    class Failing(Initializer):
        def fill(self, rng, out):
            raise RuntimeError("no luck")

    jobs = [Job(Failing(), Spec((BLOCK * 4,), FLOAT32, "0.weight"), 0)]
    with pytest.raises(RuntimeError, match="no luck") as caught:
        draw(jobs)
    assert "parameter '0.weight'" in caught.value.__notes__[0]


def test_an_array_that_the_initialiser_keeps_is_not_given_away():
    kept = np.ones((256, 256), np.float32)

    class Pretrained(Initializer):
        def sample(self, rng, shape, dtype):
            return kept

    layer = nn.Dense(256, in_units=256, weight_init=Pretrained(), use_bias=False)
    layer.initialize()

    @az.jit
    def step():
        layer.weight.value = layer.weight.value + 1

    step()
    step()
    assert (kept == 1).all()
    assert (layer.weight.value == 3).all()


# -- what a network sees -----------------------------------------------------------------------


def values(net):
    return {path: np.asarray(value) for path, value in net.state_dict().items()}


def mlp(*widths):
    return nn.Sequential(*(nn.Dense(width) for width in widths))


def call(net, width=20):
    net(jnp.ones((2, width)))
    return net


def test_widening_or_appending_other_layers_changes_nothing():
    small, large = mlp(8, 4), mlp(8, 6, 3)
    for net in (small, large):
        net.initialize(seed=3)
    np.testing.assert_array_equal(values(call(small))["0.weight"], values(call(large))["0.weight"])


def test_it_does_not_matter_when_shapes_become_known():
    early = nn.Sequential(nn.Dense(8, in_units=20), nn.Dense(4, in_units=8))
    by_example, late = mlp(8, 4), mlp(8, 4)
    early.initialize(seed=3)
    by_example.initialize(seed=3, example=jax.ShapeDtypeStruct((2, 20), "float32"))
    late.initialize(seed=3)
    call(late)
    for path, value in values(early).items():
        np.testing.assert_array_equal(value, values(by_example)[path])
        np.testing.assert_array_equal(value, values(late)[path])


def test_a_partial_initialisation_draws_what_a_whole_one_does():
    whole, part = mlp(8, 4), mlp(8, 4)
    example = jax.ShapeDtypeStruct((2, 20), "float32")
    whole.initialize(init.Normal(), seed=3, example=example)
    part.settle_shapes(example)
    part.collect_params("1.*").initialize(init.Normal(), seed=3)
    np.testing.assert_array_equal(whole[1].weight.value, part[1].weight.value)


def test_reading_order_does_not_matter_before_the_first_call():
    def read(order):
        az.seed(4)
        net = nn.Sequential(nn.Dense(8, in_units=20), nn.Dense(4, in_units=8))
        return {i: np.asarray(net[i].weight.value) for i in order}

    forwards, backwards = read((0, 1)), read((1, 0))
    np.testing.assert_array_equal(forwards[0], backwards[0])
    np.testing.assert_array_equal(forwards[1], backwards[1])


def test_the_first_call_under_jit_draws_the_same_values():
    eager, compiled = mlp(8, 4), mlp(8, 4)
    for net in (eager, compiled):
        net.initialize(init.Xavier(), seed=3)
    call(eager)
    az.jit(lambda x: compiled(x))(jnp.ones((2, 20)))
    np.testing.assert_array_equal(values(eager)["0.weight"], values(compiled)["0.weight"])


def test_float16_parameters_are_the_rounded_float32_ones():
    wide, narrow = (nn.Dense(8, in_units=20, dtype=dtype) for dtype in ("float32", "float16"))
    for net in (wide, narrow):
        net.initialize(init.Normal(1.0), seed=3)
    np.testing.assert_array_equal(
        np.asarray(wide.weight.value).astype(np.float16), narrow.weight.value
    )


def test_two_networks_built_alike_start_different_and_a_global_seed_repeats_them():
    az.seed(0)
    first, second = nn.Dense(8, in_units=20), nn.Dense(8, in_units=20)
    a, b = np.asarray(first.weight.value), np.asarray(second.weight.value)
    assert (a != b).all()
    az.seed(0)
    again = nn.Dense(8, in_units=20)
    np.testing.assert_array_equal(again.weight.value, a)


def test_seeds_that_threads_take_at_once_are_distinct():
    stream = random.SeedStream()
    stream.reset(0)
    taken = []
    threads = [
        threading.Thread(target=lambda: taken.extend(stream.next() for _ in range(200)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 1600
    assert all(0 <= seed < 2**63 for seed in taken)
