"""Dense convolutions on CPUs give the numbers of `jax.lax`, and so do their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansatz.nn import convolution_parts as parts
from ansatz.nn.sliding import Sliding, slide
from tests.nn.convolutions import agree, arrays, sliding
from tests.nn.reference import close


def strips(images):
    return lambda x, weight, window: parts.slide_strips(x, weight, window, images)


# A way, the shapes of input and weight, and how the window slides.
CASES = {
    "rows": (parts.slide_rows, (2, 6, 7, 3), (4, 3, 3, 2), sliding(1, (1, 2))),
    "rows, stride": (parts.slide_rows, (2, 6, 7, 1), (4, 1, 3, 3), sliding(2, 1)),
    "pieces": (parts.slide_pieces, (4, 5, 5, 32), (3, 32, 3, 3), sliding()),
    "overhanging": (parts.slide_overhanging, (2, 5, 6, 3), (4, 3, 3, 3), sliding(1, 1)),
    "overhanging, wide": (
        parts.slide_overhanging,
        (2, 5, 8, 3),
        (4, 3, 2, 2),
        sliding(1, (3, 0), 3),
    ),
    "lengthened": (parts.slide_lengthened, (2, 5, 6, 3), (4, 3, 3, 3), sliding(1, 1)),
    "lengthened, wide": (parts.slide_lengthened, (2, 5, 8, 3), (4, 3, 2, 2), sliding(1, (0, 3), 3)),
    "turns": (parts.slide_in_turns, (6, 5, 6, 3), (4, 3, 3, 2), sliding(1, 1)),
    "turns, wide": (parts.slide_in_turns, (3, 5, 6, 3), (4, 3, 3, 2), sliding(1, (2, 0), 2)),
    "strips": (strips(3), (6, 5, 4, 3), (4, 3, 3, 3), sliding(1, 1)),
    "strips, one": (strips(2), (2, 5, 4, 3), (4, 3, 3, 2), sliding(1, (0, 1), 2)),
    "parts, all threads": (parts.slide_by_parts, (2, 14, 4, 32), (32, 32, 3, 3), sliding(1, 1)),
    "parts, one channel": (parts.slide_by_parts, (128, 5, 5, 1), (2, 1, 3, 3), sliding(1, 1)),
    "parts, few channels": (parts.slide_by_parts, (2, 6, 6, 3), (4, 3, 3, 3), sliding(2, 1)),
    "parts, many channels": (parts.slide_by_parts, (4, 3, 6, 32), (4, 32, 2, 2), sliding(1, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_both_gradients_are_those_of_the_plain_operation(name, monkeypatch):
    monkeypatch.setattr(parts, "_TURN", 60)
    way, shape, weight_shape, window = CASES[name]
    agree(way, *arrays(shape, weight_shape), window)


@pytest.fixture(params=["by shapes", "all threads"])
def taken(request, monkeypatch):
    """Whether the shapes choose the ways, or those for more channels are taken anyway."""
    if request.param == "all threads":
        monkeypatch.setattr(parts, "_TURN", 30)
        for name in (
            "is_left_to_one_thread",
            "transpose_is_left_to_one_thread",
            "turns_are_worth_it",
        ):
            monkeypatch.setattr(parts, name, lambda *args: True)
        monkeypatch.setattr(parts, "bands_are_small", lambda *args: False)


@pytest.mark.usefixtures("taken")
def test_derivatives_by_parts_hold_in_forward_mode_and_twice():
    window = sliding(1, 1)
    rng = np.random.default_rng(1)
    x, weight, v = (
        jnp.asarray(rng.normal(size=s), "float32")
        for s in ((2, 5, 5, 2), (3, 2, 3, 3), (3, 2, 3, 3))
    )

    def results(way):
        def energy(x, weight):
            return (way(x, weight, window) ** 3).sum()

        # A gradient of a directional derivative, through each of the arguments.
        directional = lambda x, weight: jax.jvp(lambda w: energy(x, w), (weight,), (v,))[1]  # noqa: E731
        return jax.jit(jax.grad(directional, (0, 1)))(x, weight)

    for found, expected in zip(results(parts.slide_by_parts), results(slide), strict=True):
        close(found, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.usefixtures("taken")
def test_derivatives_by_parts_hold_under_vmap_and_remat():
    window = sliding(1, 1)
    rng = np.random.default_rng(2)
    x, weights = (
        jnp.asarray(rng.normal(size=s), "float32") for s in ((2, 5, 5, 1), (3, 2, 1, 3, 3))
    )

    def results(way):
        energy = jax.checkpoint(lambda weight: (way(x, weight, window) ** 2).sum())
        return jax.jit(jax.vmap(jax.grad(energy)))(weights)

    close(results(parts.slide_by_parts), results(slide), rtol=1e-4, atol=1e-3)


def test_a_part_that_is_not_differentiated_is_not_computed():
    window = sliding()
    x, weight = jnp.ones((2, 5, 5, 4)), jnp.ones((3, 4, 3, 3))
    program = jax.make_jaxpr(jax.grad(lambda w: parts.slide_by_parts(x, w, window).sum()))(weight)
    assert str(program).count("conv_general_dilated[") <= 2


@pytest.mark.parametrize(
    ("shape", "weight", "window", "forward", "to_input", "to_weight"),
    [
        ((4, 32, 32, 64), (64, 64, 3, 3), sliding(1, 1), True, True, True),
        ((4, 32, 32, 64), (64, 64, 3, 3), sliding(1, 1, layout="NCHW"), False, False, False),
        ((4, 32, 32, 64), (64, 64, 3, 3), sliding(2, 1), False, False, False),
        ((4, 32, 32, 64), (64, 64, 3, 3), sliding(), False, False, True),
        ((4, 32, 32, 64), (64, 64, 5, 5), sliding(1, 2), True, True, False),
        ((4, 7, 7, 64), (64, 64, 3, 3), sliding(1, 1), True, True, False),
        ((4, 32, 128, 64), (64, 64, 3, 3), sliding(1, 1), False, False, True),
        ((4, 32, 128, 32), (64, 32, 3, 3), sliding(1, 1), True, True, True),
        ((4, 32, 192, 64), (32, 64, 3, 3), sliding(1, 1), False, True, True),
        ((4, 32, 32, 64), (128, 64, 3, 3), sliding(1, 1), False, True, False),
        ((4, 32, 32, 3), (64, 3, 3, 3), sliding(1, 1), False, True, False),
        ((0, 32, 32, 64), (64, 64, 3, 3), sliding(1, 1), True, True, False),
        ((4, 32, 64), (64, 64, 3), sliding(1, 1, layout="NWC"), False, False, False),
    ],
)
def test_few_channels_get_all_threads(
    monkeypatch, shape, weight, window, forward, to_input, to_weight
):
    monkeypatch.setattr(parts, "_THREADS", 2)
    for dtype in (jnp.float32, jnp.bfloat16):
        x, w = jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct(weight, dtype)
        found = [
            chosen(x, w, window)
            for chosen in (
                parts.is_left_to_one_thread,
                parts.transpose_is_left_to_one_thread,
                parts.turns_are_worth_it,
            )
        ]
        narrow = dtype == jnp.bfloat16
        assert found == [chosen and not narrow for chosen in (forward, to_input, to_weight)]


@given(
    images=st.integers(1, 3),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    rows=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    columns=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dilation=st.integers(1, 2),
)
@settings(max_examples=60, deadline=None)
def test_images_side_by_side_do_not_see_each_other(images, size, kernel, rows, columns, dilation):
    window = Sliding((1, 1), (rows, columns), (dilation,) * 2, (1, 1), 1, "NHWC")
    reach = [(k - 1) * dilation for k in kernel]
    assume(all(n + sum(p) > r for n, p, r in zip(size, window.pads, reach, strict=True)))
    assume(max(columns) <= reach[1])
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2 * images, *size, 2)), "float32")
    weight = jnp.asarray(rng.normal(size=(3, 2, *kernel)), "float32")
    found = parts.slide_strips(x, weight, window, images)
    close(found, slide(x, weight, window), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("threads", "shape", "weight", "window", "images"),
    [
        (2, (32, 32, 32, 64), (64, 64, 3, 3), sliding(1, 1), 4),
        (2, (30, 32, 32, 64), (64, 64, 3, 3), sliding(1, 1), 5),
        (4, (32, 32, 32, 64), (64, 64, 3, 3), sliding(1, 1), 8),
        (2, (32, 16, 16, 64), (64, 64, 3, 3), sliding(1, 1), 8),
        (1, (32, 32, 32, 64), (64, 64, 3, 3), sliding(1, 1), 1),
        (2, (31, 32, 32, 64), (64, 64, 3, 3), sliding(1, 1), 1),  # No divisor.
        (2, (2, 32, 32, 64), (64, 64, 3, 3), sliding(1, 1), 1),
        (2, (32, 56, 56, 64), (64, 64, 3, 3), sliding(1, 1), 1),  # A strip would be too large.
        (2, (32, 32, 32, 32), (64, 32, 3, 3), sliding(1, 1), 1),  # Few channels.
        (2, (32, 32, 32, 64), (32, 64, 3, 3), sliding(1, 1), 1),
        (2, (32, 32, 32, 64), (128, 64, 3, 3), sliding(1, 1), 1),  # So many use all threads.
        (2, (32, 64, 64), (64, 64, 3), sliding(1, 1, layout="NWC"), 1),
    ],
)
def test_small_images_lie_side_by_side(monkeypatch, threads, shape, weight, window, images):
    monkeypatch.setattr(parts, "_THREADS", threads)
    x, w = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(weight, jnp.float32)
    assert parts.images_in_a_strip(x, w, window) == images


@pytest.mark.parametrize("channels", [1, 64])
def test_several_devices_may_have_parts_of_the_batch(monkeypatch, channels):
    x, weight = jnp.ones((8, 16, 16, channels)), jnp.ones((64, channels, 3, 3))

    def program(way):
        energy = lambda x, w: way(x, w, sliding(1, 1)).sum()  # noqa: E731
        return str(jax.make_jaxpr(jax.grad(energy, (0, 1)))(x, weight))

    assert program(parts.slide_dense) != program(slide)
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    assert program(parts.slide_dense) == program(slide)
