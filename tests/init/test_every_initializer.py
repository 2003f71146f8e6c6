"""What holds for every initialiser: printing, comparing, pickling, and what draws depend on."""

import copy
import inspect
import os
import pickle
import subprocess
import sys
import textwrap

import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import ansatz as az
from ansatz import init, nn
from ansatz.core import random
from ansatz.core.initializer import Spec
from ansatz.core.random import BLOCK, Job, draw

# One that differs from the defaults of each public class, with a shape that it takes.
EVERY = [
    (init.Bilinear(), (2, 3, 4)),
    (init.Constant(2), (3, 4)),
    (init.Dirac(2), (4, 3, 3)),
    (init.FanInUniform(), (3, 4)),
    (init.Identity(2), (3, 4)),
    (init.Kaiming("fan_out", "tanh", "truncated_normal"), (3, 4)),
    (init.LSTMBias(2), (8,)),
    (init.LeCun("uniform"), (3, 4)),
    (init.MSRAPrelu("in", 0.1), (3, 4)),
    (init.Normal(2, 1), (3, 4)),
    (init.Ones(), (3, 4)),
    (init.Orthogonal(2), (3, 4)),
    (init.Sparse(0.5, 2), (3, 4)),
    (init.TruncatedNormal(1, 2, -3, 4), (3, 4)),
    (init.Uniform(1, 2), (3, 4)),
    (init.VarianceScaling(2, "fan_avg", "uniform"), (3, 4)),
    (init.Xavier("gaussian", "in", 2), (3, 4)),
    (init.Zeros(), (3, 4)),
]
LOAD = init.Load({"weight": np.arange(12.0).reshape(3, 4)}, default="zeros")
WITH_LOAD = [*EVERY, (LOAD, (3, 4))]


def name_of(value):
    return type(value).__name__ if isinstance(value, init.Initializer) else ""


every = pytest.mark.parametrize(("initializer", "shape"), WITH_LOAD, ids=name_of)


def drawn(initializer, shape, *, seed=0, dtype="float32"):
    return draw([Job(initializer, Spec(shape, np.dtype(dtype), "weight"), seed)])[0]


def test_no_initialiser_is_left_out_of_these_tests():
    public = {getattr(init, name) for name in init.__all__}
    classes = {each for each in public if inspect.isclass(each)}
    abstract = {init.Initializer, init.FromFunction, init.Spec}
    assert {type(each) for each, _ in WITH_LOAD} == classes - abstract


@pytest.mark.parametrize(("initializer", "shape"), EVERY, ids=name_of)
def test_what_it_prints_builds_it_again(initializer, shape):
    assert eval(repr(initializer), vars(init)) == initializer


@every
def test_copies_and_pickles_are_equal_and_draw_the_same(initializer, shape):
    for other in (pickle.loads(pickle.dumps(initializer)), copy.deepcopy(initializer)):
        assert other == initializer
        assert hash(other) == hash(initializer)
        assert repr(other) == repr(initializer)
        np.testing.assert_array_equal(drawn(other, shape), drawn(initializer, shape))


def test_no_two_of_them_are_equal():
    for i, (one, _) in enumerate(WITH_LOAD):
        for other, _ in WITH_LOAD[:i]:
            assert one != other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (init.Dirac(), init.Dirac(2)),
        (init.Identity(), init.Identity(2)),
        (init.LSTMBias(), init.LSTMBias(2)),
        (init.LeCun(), init.LeCun("uniform")),
        (init.MSRAPrelu(), init.MSRAPrelu(slope=0)),
        (init.Orthogonal(), init.Orthogonal(2)),
        (init.Sparse(0.1), init.Sparse(0.2)),
        (init.VarianceScaling(), init.VarianceScaling(2)),
        (init.Xavier("gaussian", "avg", 2 / 1.0625), init.MSRAPrelu()),
        (LOAD, init.Load({"weight": np.zeros((3, 4))}, default="zeros")),
        (LOAD, init.Load(LOAD.arrays)),
    ],
)
def test_other_arguments_make_another_initialiser(one, other):
    assert one != other


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        # The names that Gluon registers.
        ("bilinear", init.Bilinear),
        ("lstmbias", init.LSTMBias),
        ("msraprelu", init.MSRAPrelu),
        ("normal", init.Normal),
        ("one ones", init.Ones),
        ("zero zeros", init.Zeros),
        ("orthogonal", init.Orthogonal),
        ("uniform", init.Uniform),
        ("xavier Xavier XAVIER glorot", init.Xavier),
        # Those of other libraries and papers.
        ("kaiming he", init.Kaiming),
        ("lecun", init.LeCun),
        ("identity eye", init.Identity),
        ("dirac", init.Dirac),
        ("truncated_normal trunc_normal", init.TruncatedNormal),
        ("variance_scaling", init.VarianceScaling),
    ],
)
def test_names_stand_for_the_defaults(names, kind):
    for name in names.split():
        assert az.Parameter((2, 2), init=name).init == kind()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("xaver", ValueError, "no initialiser is called 'xaver'; did you mean 'xavier'"),
        ("Ortogonal", ValueError, "did you mean 'orthogonal'"),
        ("he_normal", ValueError, r"here it is init\.Kaiming\(distribution=\"truncated_normal\"\)"),
        ("glorot_uniform", ValueError, r"here it is init\.Xavier\(\)"),
        ("constant", TypeError, r"'constant' alone .* needs value: write Constant\(value\)"),
        (init.Sparse, TypeError, r"Sparse alone .* needs sparsity: write Sparse\(sparsity\)"),
        ("load", TypeError, r"'load' alone .* needs arrays: write Load\(arrays\)"),
    ],
)
def test_a_wrong_name_is_refused_where_it_is_written(name, error, message):
    with pytest.raises(error, match=message):
        nn.Dense(2, weight_init=name)


@pytest.mark.parametrize(("initializer", "shape"), EVERY, ids=name_of)
def test_values_have_the_dtype_of_the_parameter(initializer, shape):
    for dtype in ("float32", "float16", jnp.bfloat16, "float64"):
        values = drawn(initializer, shape, dtype=dtype)
        assert values.dtype == dtype
        assert values.shape == shape
        assert np.isfinite(values.astype(np.float64)).all()


@pytest.mark.parametrize(
    ("initializer", "shape"),
    # Those with bounds of their own do not round across them; see test_low_precision.
    [case for case in EVERY if not isinstance(case[0], init.TruncatedNormal | init.Uniform)],
    ids=name_of,
)
def test_narrow_values_are_the_float32_ones_rounded(initializer, shape):
    wide = drawn(initializer, shape)
    for dtype in ("float16", jnp.bfloat16):
        narrow = drawn(initializer, shape, dtype=dtype)
        np.testing.assert_array_equal(narrow, wide.astype(dtype))


# -- the same bits, whoever draws ---------------------------------------------------------------

LARGE = [
    (init.Kaiming(), (600, 1000)),
    (init.LeCun("truncated_normal"), (600, 1000)),
    (init.Orthogonal(), (300, 290)),  # LAPACK's QR differs here between one thread and two.
    (init.Orthogonal(), (40, 9000)),
    (init.Sparse(0.3), (600, 1000)),
    (init.Xavier(), (600, 1000)),
    (init.Normal(), (600_000,)),
    (init.Uniform(), (60, 10_000)),
    (init.TruncatedNormal(), (6, 10, 10_000)),
]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, "float16"])
@pytest.mark.parametrize(("initializer", "shape"), LARGE)
def test_the_number_of_threads_does_not_change_a_bit_of_narrow_values(
    monkeypatch, initializer, shape, dtype
):
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(random.processors, "available", lambda n=threads: n)
        results.append(drawn(initializer, shape, seed=3, dtype=dtype))
    assert results[0].tobytes() == results[1].tobytes()


@pytest.mark.parametrize(("initializer", "shape"), LARGE)
def test_the_number_of_threads_does_not_change_a_bit(monkeypatch, initializer, shape):
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(random.processors, "available", lambda n=threads: n)
        with threadpool_limits(min(threads, os.cpu_count() or 1)):
            results.append(drawn(initializer, shape, seed=3))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize(
    ("initializer", "shape"),
    # These two are drawn as a whole; the test of all meshes, below, has them.
    [case for case in LARGE if not isinstance(case[0], init.Orthogonal | init.Sparse)],
)
def test_a_shard_may_draw_its_blocks_alone(initializer, shape):
    spec = Spec(shape, np.dtype(np.float32), "weight")
    bound = random._bound(Job(initializer, spec, 3))
    whole = drawn(initializer, shape, seed=3).reshape(-1)
    for block in reversed(range(-(-whole.size // BLOCK))):
        part = np.empty(min(BLOCK, whole.size - block * BLOCK), np.float32)
        bound.fill(random.generator(3, "weight", block), part)
        np.testing.assert_array_equal(part, whole[block * BLOCK :][:BLOCK])


def test_every_mesh_of_eight_devices_gives_the_same_bits():
    program = """
        import itertools
        import jax
        import numpy as np
        from jax.sharding import NamedSharding, PartitionSpec
        import ansatz as az
        from ansatz import init

        def network():
            net = az.Module()
            net.layers = [az.Parameter((256, 1200)), az.Parameter((64, 64)), az.Parameter((64, 8))]
            return net

        RULES = {"layers.0": init.Kaiming(), "layers.1": "orthogonal", "layers.2": init.Sparse(0.3)}
        plain = network()
        plain.initialize(RULES, seed=3)
        expected = [np.asarray(p.value) for p in plain.layers]
        assert len(jax.devices()) == 8
        shapes = [(8, 1), (2, 4)]
        for shape, names in itertools.product(shapes, [("a", "b"), ("b", "a"), (("a", "b"),)]):
            mesh = jax.make_mesh(shape, ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
            placed = NamedSharding(mesh, PartitionSpec(*names))
            net = network()
            for p in net.layers:
                p.value = jax.device_put(np.zeros(p.shape, np.float32), placed)
            net.initialize(RULES, seed=3, force_reinit=True)
            for p, value in zip(net.layers, expected, strict=True):
                assert p.value.sharding == placed, p.value.sharding
                np.testing.assert_array_equal(p.value, value)
    """
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
