"""The ways that are fast on CPUs give the numbers of `jax.lax`, and so do their derivatives."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import export
from jax.test_util import check_grads

from ansatz.nn import convolution_cpu as cpu
from ansatz.nn.sliding import Sliding, slide
from tests.nn.convolutions import agree, arrays, sliding
from tests.nn.reference import close

# A way, the shapes of input and weight, and how the window slides.
CASES = {
    "pointwise": (cpu.slide_pointwise, (2, 4, 5, 3), (6, 3, 1, 1), sliding()),
    "pointwise, stride": (cpu.slide_pointwise, (2, 5, 3), (6, 3, 1), sliding(2, layout="NWC")),
    "depthwise": (cpu.slide_depthwise, (2, 6, 7, 4), (4, 1, 3, 3), sliding(1, 1, 1, 4)),
    "depthwise, several": (
        cpu.slide_depthwise,
        (2, 4, 7, 8),
        (8, 1, 2, 3),
        sliding(2, (2, 0), 2, 4, "NCHW"),
    ),
    "depthwise, sequence": (
        cpu.slide_depthwise,
        (2, 7, 4),
        (4, 1, 3),
        sliding(1, (2, 0), 1, 4, "NWC"),
    ),
    "patches": (cpu.slide_patches, (2, 7, 6, 3), (4, 3, 3, 3), sliding(3)),
    "patches, volume": (
        cpu.slide_patches,
        (2, 5, 4, 4, 3),
        (4, 3, 2, 2, 2),
        sliding(2, layout="NDHWC"),
    ),
    "unfolded": (cpu.slide_unfolded, (2, 5, 6, 3), (4, 3, 3, 2), sliding(2, 1, 2)),
    "unfolded, volume": (
        cpu.slide_unfolded,
        (2, 3, 4, 4, 3),
        (4, 3, 2, 1, 2),
        sliding(1, (0, 1), layout="NDHWC"),
    ),
    "channels last": (
        cpu.slide_channels_last,
        (2, 3, 6, 7),
        (4, 3, 3, 3),
        sliding(2, 1, layout="NCHW"),
    ),
    "groups": (cpu.slide_groups, (2, 6, 7, 64), (96, 16, 3, 3), sliding(1, 1, groups=4)),
    "groups, together": (cpu.slide_groups, (2, 6, 7, 6), (9, 2, 3, 2), sliding(1, 1, groups=3)),
    "groups, transposed": (
        cpu.slide_groups,
        (2, 4, 5, 64),
        (32, 32, 3, 3),
        sliding(pads=1, groups=2, spread=2),
    ),
    "phases": (cpu.slide_phases, (2, 4, 5, 3), (4, 3, 4, 3), sliding(pads=2, spread=2)),
    "phases, alike": (cpu.slide_phases, (2, 4, 5, 3), (4, 3, 2, 2), sliding(pads=1, spread=2)),
    "phases, none": (cpu.slide_phases, (2, 4, 5, 3), (4, 3, 2, 2), sliding(pads=1, spread=4)),
    "phases, cut": (cpu.slide_phases, (2, 6, 3), (4, 3, 3), sliding(1, (-1, 3), 1, 1, "NWC", 3)),
    "planes": (cpu.slide_planes, (2, 5, 4, 6, 3), (4, 3, 2, 3, 3), sliding(2, 1, 2, 1, "NDHWC")),
    "planes, many channels": (
        cpu.slide_planes,
        (2, 4, 3, 3, 65),
        (4, 65, 2, 3, 1),
        sliding(1, 1, layout="NDHWC"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_both_gradients_are_those_of_the_plain_operation(name):
    way, shape, weight_shape, window = CASES[name]
    agree(way, *arrays(shape, weight_shape), window, atol=3e-4)


@pytest.mark.parametrize(
    ("shape", "weight", "pads"),
    [
        ((3, 4, 4, 3), (7, 3, 3, 1), ((0, 0), (-2, 2))),
        ((1, 4, 3, 4), (4, 4, 3, 1), ((4, 0), (4, 1))),
    ],
)
def test_padding_may_be_negative_or_more_than_the_window_reaches(shape, weight, pads):
    window = dataclasses.replace(sliding(), pads=pads)
    agree(cpu.slide_on_cpu, *arrays(shape, weight), window, atol=3e-4)


def test_a_dilated_window_may_stride_over_fewer_places_than_it_has_cells():
    # XLA aborts on the gradient of the plain operation, so there is none to compare with.
    window = Sliding((1, 2), ((2, 1), (1, 1)), (2, 1), (1, 1), 1, "NHWC")
    x, weight = arrays((2, 5, 4, 4), (6, 4, 4, 2))
    assert cpu.slide_on_cpu(x, weight, window).shape == (2, 2, 3, 6)

    def loss(x, weight):
        return jnp.sum(jnp.sin(cpu.slide_on_cpu(x, weight, window)))

    check_grads(jax.jit(loss), (x, weight), order=1, modes=["rev"], rtol=2e-2)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_convolution_is_the_plain_one(data):
    draw = data.draw
    axes = draw(st.integers(1, 3), "axes")
    layout = draw(st.sampled_from(["NC" + "DHW"[-axes:], "N" + "DHW"[-axes:] + "C"]), "layout")
    groups, inputs, outputs = (
        draw(st.integers(1, most), name)
        for most, name in ((3, "groups"), (3, "inputs"), (3, "outputs"))
    )

    def each(strategy, name):
        return tuple(draw(st.lists(strategy, min_size=axes, max_size=axes), name))

    lengths, kernel = each(st.integers(1, 6), "lengths"), each(st.integers(1, 4), "kernel")
    stride, dilation = each(st.integers(1, 3), "stride"), each(st.integers(1, 2), "dilation")
    pads = each(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), "pads")
    spread = (1,) * axes
    if draw(st.booleans(), "transposed"):
        stride, spread = spread, stride
    for n, k, d, s, (before, after) in zip(lengths, kernel, dilation, spread, pads, strict=True):
        long = (n - 1) * s + 1
        assume(before + long > 0 < long + after)
        assume(before + long + after > (k - 1) * d)
    shape = list(lengths)
    shape.insert(0 if layout[1] == "C" else axes, groups * inputs)
    x, weight = arrays((2, *shape), (groups * outputs, inputs, *kernel))
    agree(
        cpu.slide_on_cpu,
        x,
        weight,
        Sliding(stride, pads, dilation, spread, groups, layout),
        atol=3e-4,
    )


@pytest.mark.parametrize(
    ("weight", "window"),
    [
        ((4, 2, 3, 3), sliding(groups=2)),
        ((4, 4, 3, 3), sliding(spread=2)),
        ((4, 4, 2, 2), sliding(2)),
        ((4, 4, 3, 3), sliding(1, 1, layout="NCHW")),
        ((4, 4, 2, 3, 3), sliding(1, 1, layout="NDHWC")),
    ],
)
def test_derivatives_hold_in_forward_mode_twice_and_under_vmap(weight, window):
    x = (2, *(4,) * (len(weight) - 1))
    x, weight, v = arrays(x, weight, weight)

    def results(way):
        energy = lambda x, w: (way(x, w, window) ** 3).sum()  # noqa: E731
        directional = lambda x, w: jax.jvp(lambda w: energy(x, w), (w,), (v,))[1]  # noqa: E731
        both = jax.grad(directional, (0, 1))
        return jax.jit(jax.vmap(both, (None, 0)))(x, jnp.stack([weight, v]))

    for found, expected in zip(results(cpu.slide_on_cpu), results(slide), strict=True):
        close(found, expected, rtol=1e-3, atol=5e-2)


@pytest.mark.parametrize(
    ("weight", "window", "way"),
    [
        ((8, 4, 1, 1), sliding(), "slide_pointwise"),
        ((8, 4, 1, 1), sliding(2), "slide_pointwise"),
        ((4, 1, 3, 3), sliding(groups=4), "slide_depthwise"),
        ((4, 1, 3, 3), sliding(groups=4, layout="NCHW"), "slide_depthwise"),
        ((7, 4, 3, 3), sliding(), "slide_dense"),
        ((8, 4, 1, 1), sliding(pads=1), "slide_pointwise"),
        ((8, 4, 3, 3), sliding(layout="NCHW"), "slide_channels_last"),
        ((8, 2, 3, 3), sliding(groups=2), "slide_groups"),
        ((8, 2, 3, 3), sliding(groups=2, spread=2), "slide_groups"),
        ((8, 4, 3, 3), sliding(spread=2), "slide_phases"),
        ((8, 4, 3, 3), sliding(spread=2, dilation=2), "slide_spread"),
        ((8, 4, 3, 3), sliding(3), "slide_patches"),
        ((4, 4, 3, 3), sliding(3, 1), "slide_dense"),
        ((8, 4, 3, 3, 3), sliding(layout="NDHWC"), "slide_planes"),
        ((16, 4, 3, 3, 3), sliding(layout="NDHWC"), "slide_unfolded"),
        ((8, 4, 3, 3), sliding(), "slide_unfolded"),
        ((3, 4, 3), sliding(layout="NWC"), "slide_dense"),
    ],
)
def test_the_way_is_chosen_by_shapes(monkeypatch, weight, window, way):
    taken = []
    for name in dir(cpu):
        if name.startswith("slide_") and name != "slide_on_cpu":
            monkeypatch.setattr(cpu, name, lambda *args, name=name: taken.append(name))
    cpu.slide_on_cpu(jnp.ones((2, *(4,) * (len(weight) - 1))), jnp.ones(weight), window)
    assert taken == [way]


@pytest.mark.parametrize(
    ("channels", "groups", "parts"),
    [(64, 4, 4), (256, 32, 16), (8, 4, 1), (96, 3, 3), (60, 6, 3), (2048, 64, 32)],
)
def test_groups_are_convolved_by_sixteen_channels_in_at_most_32_parts(
    monkeypatch, channels, groups, parts
):
    taken = []
    monkeypatch.setattr(cpu, "slide_dense", lambda x, *args: taken.append(x.shape[-1]) or x)
    x, weight = jnp.ones((99, 5, 5, channels)), jnp.ones((channels, channels // groups, 3, 3))
    cpu.slide_groups(x, weight, sliding(groups=groups))
    assert taken == [channels // parts] * parts


def test_what_is_between_groups_has_no_derivative():
    """A weight that is not finite spoils its own group alone."""
    x, weight = arrays((1, 4, 4, 4), (4, 2, 3, 3))
    y = cpu.slide_on_cpu(x, weight.at[0].set(jnp.nan), sliding(groups=2))
    np.testing.assert_array_equal(jnp.isnan(y).all((0, 1, 2)), [True, False, False, False])
    assert not jnp.isnan(y[..., 1:]).any()


@pytest.mark.parametrize(
    ("shape", "weight", "window"),
    [
        ("b, 6, 6, 4", (4, 2, 3, 3), sliding(groups=2)),
        ("b, 6, 6, 4", (4, 4, 3, 3), sliding(spread=2)),
        ("b, 6, 6, 4", (4, 4, 3, 3), sliding(3)),
        ("b, 5, 5, 5, 4", (4, 4, 3, 3, 3), sliding(layout="NDHWC")),
        ("b, 4, h, h", (4, 4, 3, 3), sliding(1, 1, layout="NCHW")),
        ("b, h, h, 4", (4, 4, 3, 3), sliding(pads=1, spread=2)),
        ("b, h, h, h, 4", (4, 4, 3, 3, 3), sliding(1, 1, layout="NDHWC")),
    ],
)
def test_sizes_may_be_symbols(shape, weight, window):
    x, w = jnp.ones([int(n) if n.isdigit() else 6 for n in shape.split(", ")]), jnp.ones(weight)
    constraints = ["h >= 3"] if "h" in shape else []
    symbols = export.symbolic_shape(shape, constraints=constraints)
    compute = jax.jit(lambda x: cpu.slide_on_cpu(x, w, window))
    program = export.export(compute)(jax.ShapeDtypeStruct(symbols, x.dtype))
    close(program.call(x), slide(x, w, window), rtol=1e-4, atol=1e-4)
