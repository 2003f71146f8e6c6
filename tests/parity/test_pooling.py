"""Pooling layers against PyTorch, with channels last and first."""

import pytest

from ansatz import nn
from tests.parity import replay
from tests.parity.layouts import CHANNELS, check_channels_last

CASES = replay.load("pooling")


def options(class_, *args, **kwargs):
    return lambda layout: class_(*args, layout=layout, **kwargs)


OURS = {
    "max 1d": options(nn.MaxPool1D, 3),
    "max 2d": options(nn.MaxPool2D),
    "max 2d ties": options(nn.MaxPool2D, 3, 2, 1),
    "max 2d padding": options(nn.MaxPool2D, (3, 2), 2, (1, 0)),
    "max 2d dilation": options(nn.MaxPool2D, 2, 1, 1, dilation=(2, 3)),
    "max 2d ceil": options(nn.MaxPool2D, 2, ceil_mode=True),
    "max 2d ceil gap": options(nn.MaxPool2D, 2, 4, 1, ceil_mode=True),
    "max 2d ceil small": options(nn.MaxPool2D, 4, 3, ceil_mode=True),
    "max 2d large": options(nn.MaxPool2D, 5, 2, 2),
    "max 3d": options(nn.MaxPool3D, 2, (1, 2, 1)),
    "avg 1d": options(nn.AvgPool1D, 3, 2, 1),
    "avg 2d": options(nn.AvgPool2D),
    "avg 2d padding": options(nn.AvgPool2D, 3, 2, 1),
    "avg 2d exclude": options(nn.AvgPool2D, 3, 2, 1, count_include_pad=False),
    "avg 2d ceil": options(nn.AvgPool2D, 4, 3, 1, ceil_mode=True),
    "avg 2d ceil exclude": options(
        nn.AvgPool2D, (3, 4), (2, 3), 1, ceil_mode=True, count_include_pad=False
    ),
    "avg 3d": options(nn.AvgPool3D, 2, 2, 1),
    "adaptive max 1d": options(nn.AdaptiveMaxPool1D, 4),
    "adaptive max 2d": options(nn.AdaptiveMaxPool2D, (3, 5)),
    "adaptive max 3d": options(nn.AdaptiveMaxPool3D, (2, None, 7)),
    "adaptive avg 1d": options(nn.AdaptiveAvgPool1D, 5),
    "adaptive avg 2d": options(nn.AdaptiveAvgPool2D, (4, None)),
    "adaptive avg 3d": options(nn.AdaptiveAvgPool3D, 3),
    "global max 1d": options(nn.GlobalMaxPool1D),
    "global max 2d": options(nn.GlobalMaxPool2D),
    "global max 3d": options(nn.GlobalMaxPool3D),
    "global avg 1d": options(nn.GlobalAvgPool1D),
    "global avg 2d": options(nn.GlobalAvgPool2D),
    "global avg 3d": options(nn.GlobalAvgPool3D),
    "avg 2d divisor": options(nn.AvgPool2D, 3, 2, 1, ceil_mode=True, divisor_override=5),
}
SPELLED_AS_IN_PYTORCH = {
    "max 1d": lambda: nn.MaxPool1d(3),
    "max 2d dilation": lambda: nn.MaxPool2d(2, 1, 1, (2, 3)),
    "max 3d": lambda: nn.MaxPool3d(2, (1, 2, 1)),
    "avg 1d": lambda: nn.AvgPool1d(3, 2, 1),
    "avg 2d ceil exclude": lambda: nn.AvgPool2d((3, 4), (2, 3), 1, True, False),
    "avg 3d": lambda: nn.AvgPool3d(2, 2, 1),
    "avg 2d divisor": lambda: nn.AvgPool2d(3, 2, 1, True, False, 5),
    "adaptive max 1d": lambda: nn.AdaptiveMaxPool1d(4),
    "adaptive max 2d": lambda: nn.AdaptiveMaxPool2d((3, 5)),
    "adaptive max 3d": lambda: nn.AdaptiveMaxPool3d((2, None, 7)),
    "adaptive avg 1d": lambda: nn.AdaptiveAvgPool1d(5),
    "adaptive avg 2d": lambda: nn.AdaptiveAvgPool2d((4, None)),
    "adaptive avg 3d": lambda: nn.AdaptiveAvgPool3d(3),
}


@pytest.mark.parametrize("name", CASES)
def test_pooling_with_channels_last_computes_what_pytorch_computes(name):
    check_channels_last(CASES[name], OURS[name](None))


@pytest.mark.parametrize(
    "name", ["max 2d ties", "max 2d ceil", "avg 2d exclude", "adaptive max 2d", "adaptive avg 3d"]
)
def test_pooling_with_channels_first_computes_what_pytorch_computes(name):
    case = CASES[name]
    replay.check(case, OURS[name](CHANNELS[case.inputs[0].ndim]))


@pytest.mark.parametrize("name", SPELLED_AS_IN_PYTORCH)
def test_pooling_may_be_spelled_as_in_pytorch(name):
    replay.check(CASES[name], SPELLED_AS_IN_PYTORCH[name]())
