"""Convolutional layers against PyTorch, with channels last and first."""

import pytest

from ansatz import nn
from tests.parity import replay
from tests.parity.layouts import CHANNELS, check_channels_last

CONV = replay.load("conv")
TRANSPOSED = replay.load("conv_transpose")


def options(class_, *args, **kwargs):
    """The same layer in the house's spelling, for each layout."""
    return lambda layout: class_(*args, layout=layout, **kwargs)


OURS = {
    "1d": options(nn.Conv1D, 6, 3),
    "1d same dilation": options(nn.Conv1D, 3, 4, padding="same", dilation=2),
    "1d causal": options(nn.Conv1D, 3, 3, padding="causal", dilation=2),
    "2d stride padding": options(nn.Conv2D, 6, 3, stride=2, padding=1, in_channels=4),
    "2d unequal": options(nn.Conv2D, 6, (3, 2), (1, 2), (2, 1), dilation=(2, 1)),
    "2d sides": options(nn.Conv2D, 2, 3, padding=((1, 2), (0, 3))),
    "2d groups": options(nn.Conv2D, 6, 3, groups=2, use_bias=False),
    "2d depthwise": options(nn.DepthwiseConv2D, 3, padding=1, multiplier=2),
    "2d depthwise stride": options(nn.Conv2D, 4, 3, 2, groups=4),
    "2d pointwise": options(nn.Conv2D, 6, 1),
    "2d pointwise stride": options(nn.Conv2D, 6, 1, stride=2),
    "2d one channel": options(nn.Conv2D, 3, 5, padding="same"),
    "3d": options(nn.Conv3D, 3, (2, 3, 2), stride=(1, 2, 1)),
    "separable": options(nn.SeparableConv2D, 4, 3, padding=1, multiplier=2),
    "1d reflect": options(nn.Conv1D, 2, 4, 2, 3, padding_mode="reflect"),
    "2d replicate": options(nn.DepthwiseConv2D, 3, padding=(5, 1), padding_mode="replicate"),
    "2d circular": options(nn.Conv2D, 2, 2, padding="SAME", dilation=3, padding_mode="circular"),
    "3d circular": options(nn.Conv3D, 2, 2, padding=(2, 0, 1), padding_mode="circular"),
}
SPELLED_AS_IN_PYTORCH = {
    "1d": lambda: nn.Conv1d(4, 6, 3),
    "2d stride padding": lambda: nn.Conv2d(4, 6, 3, 2, 1),
    "2d groups": lambda: nn.Conv2d(None, 6, 3, groups=2, bias=False),
    "3d": lambda: nn.Conv3d(2, 3, (2, 3, 2), (1, 2, 1)),
    "1d reflect": lambda: nn.Conv1d(4, 2, 4, 2, 3, 1, 1, True, "reflect"),
}
OURS_TRANSPOSED = {
    "1d": options(nn.ConvTranspose1D, 6, 3),
    "1d dilation": options(nn.ConvTranspose1D, 3, 3, 2, dilation=3, output_padding=2),
    "2d stride padding": options(nn.ConvTranspose2D, 6, 3, 2, 1, output_padding=1, in_channels=4),
    "2d groups": options(nn.ConvTranspose2D, 6, 3, groups=2, use_bias=False),
    "2d depthwise": options(nn.ConvTranspose2D, 4, 2, padding="same", stride=2, groups=4),
    "2d cut away": options(nn.ConvTranspose2D, 2, 3, padding=3),
    "2d gaps": options(nn.ConvTranspose2D, 2, 2, stride=3),
    "3d": options(nn.ConvTranspose3D, 3, 2, stride=(1, 2, 1)),
}
TRANSPOSED_AS_IN_PYTORCH = {
    "1d": lambda: nn.ConvTranspose1d(4, 6, 3),
    "2d stride padding": lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1),
    "3d": lambda: nn.ConvTranspose3d(None, 3, 2, (1, 2, 1)),
}


@pytest.mark.parametrize("name", CONV)
def test_a_convolution_with_channels_last_computes_what_pytorch_computes(name):
    check_channels_last(CONV[name], OURS[name](None))


@pytest.mark.parametrize(
    "name",
    ["1d same dilation", "2d unequal", "2d depthwise", "2d pointwise stride", "3d", "2d circular"],
)
def test_a_convolution_with_channels_first_computes_what_pytorch_computes(name):
    case = CONV[name]
    replay.check(case, OURS[name](CHANNELS[case.inputs[0].ndim]))


@pytest.mark.parametrize("name", SPELLED_AS_IN_PYTORCH)
def test_a_convolution_may_be_spelled_as_in_pytorch(name):
    replay.check(CONV[name], SPELLED_AS_IN_PYTORCH[name]())


@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposed_convolution_with_channels_last_computes_what_pytorch_computes(name):
    check_channels_last(TRANSPOSED[name], OURS_TRANSPOSED[name](None))


@pytest.mark.parametrize("name", ["1d dilation", "2d groups"])
def test_a_transposed_convolution_with_channels_first_computes_what_pytorch_computes(name):
    case = TRANSPOSED[name]
    replay.check(case, OURS_TRANSPOSED[name](CHANNELS[case.inputs[0].ndim]))


@pytest.mark.parametrize("name", TRANSPOSED_AS_IN_PYTORCH)
def test_a_transposed_convolution_may_be_spelled_as_in_pytorch(name):
    replay.check(TRANSPOSED[name], TRANSPOSED_AS_IN_PYTORCH[name]())
