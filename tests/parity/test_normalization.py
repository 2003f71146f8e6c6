"""Norms against PyTorch: batches one after the other, evaluation, and all gradients."""

import numpy as np
import pytest

from ansatz import nn
from tests.parity import replay

CASES = replay.load("normalization")
# PyTorch's layers are channels-first.
OURS = {
    "BatchNorm vectors": nn.BatchNorm,
    "BatchNorm images": lambda axis=1: nn.BatchNorm(axis=axis),
    "BatchNorm average": lambda: nn.BatchNorm(momentum=None),
    "BatchNorm not affine": lambda: nn.BatchNorm(4, use_weight=False, use_bias=False),
    "BatchNorm options": lambda: nn.BatchNorm(eps=1e-2, momentum=0.3),
    "BatchNorm volumes": lambda axis=1: nn.BatchNorm(2, axis=axis),
    "BatchNorm without statistics": lambda: nn.BatchNorm(track_running_stats=False),
    "BatchNorm half": lambda: nn.BatchNorm(use_weight=False, use_bias=False),
    "InstanceNorm running": lambda axis=1: nn.InstanceNorm(axis=axis, track_running_stats=True),
    "InstanceNorm running affine": lambda axis=1: nn.InstanceNorm(
        3, axis=axis, momentum=0.3, use_weight=True, use_bias=True, track_running_stats=True
    ),
    "InstanceNorm images": lambda axis=1: nn.InstanceNorm(axis=axis),
    "InstanceNorm affine": lambda axis=1: nn.InstanceNorm(
        axis=axis, use_weight=True, use_bias=True
    ),
    "InstanceNorm volumes": lambda axis=1: nn.InstanceNorm(
        axis=axis, use_weight=True, use_bias=True
    ),
    "GroupNorm images": lambda axis=1: nn.GroupNorm(2, axis=axis),
    "GroupNorm vectors": lambda: nn.GroupNorm(2),
    "GroupNorm not affine": lambda axis=1: nn.GroupNorm(
        3, 6, axis=axis, use_weight=False, use_bias=False
    ),
    "GroupNorm eps": lambda axis=1: nn.GroupNorm(1, axis=axis, eps=0.1),
    "LayerNorm last": nn.LayerNorm,
    "LayerNorm two": lambda: nn.LayerNorm((None, 5)),
    "LayerNorm not affine": lambda: nn.LayerNorm(use_weight=False, use_bias=False),
    "LayerNorm no bias": lambda: nn.LayerNorm(5, use_bias=False),
    "LayerNorm eps": lambda: nn.LayerNorm(eps=0.1),
    "LayerNorm half": lambda: nn.LayerNorm(use_weight=False, use_bias=False),
    "RMSNorm last": nn.RMSNorm,
    "RMSNorm two": lambda: nn.RMSNorm((3, None)),
    "RMSNorm not affine": lambda: nn.RMSNorm(use_weight=False),
    "RMSNorm eps": lambda: nn.RMSNorm(5, eps=0.1),
    "RMSNorm half": lambda: nn.RMSNorm(use_weight=False),
    "LocalResponseNorm": lambda axis=1: nn.LocalResponseNorm(3, axis=axis),
    "LocalResponseNorm even": lambda axis=1: nn.LocalResponseNorm(
        4, alpha=2, beta=0.6, k=1.5, axis=axis
    ),
    "LocalResponseNorm wide": lambda axis=1: nn.LocalResponseNorm(15, alpha=0.5, axis=axis),
}
SPELLED_AS_IN_PYTORCH = {
    "BatchNorm vectors step 0": lambda: nn.BatchNorm1d(),
    "BatchNorm images step 0": lambda: nn.BatchNorm2d(4),
    "BatchNorm volumes step 0": lambda: nn.BatchNorm3d(2),
    "InstanceNorm running affine step 0": lambda: nn.InstanceNorm1d(3, 1e-5, 0.3, True, True),
    "InstanceNorm running step 0": lambda: nn.InstanceNorm2d(track_running_stats=True),
    "InstanceNorm volumes": lambda: nn.InstanceNorm3d(affine=True),
}
CHANNELS_FIRST = [
    name
    for name in CASES
    if CASES[name].inputs[0].ndim > 2 and (name[:1] in "BIG" or name == "LocalResponseNorm even")
]


def ours(name, **options):
    layer = OURS[name.partition(" step ")[0].removesuffix(" eval")](**options)
    return layer.eval() if name.endswith(" eval") else layer


@pytest.mark.parametrize("name", CASES)
def test_a_norm_computes_what_pytorch_computes(name):
    tolerance = {"rtol": 2e-3, "atol": 5e-3} if "half" in name else {"atol": 2e-5}
    replay.check(CASES[name], ours(name), **tolerance)


@pytest.mark.parametrize("name", SPELLED_AS_IN_PYTORCH)
def test_a_norm_may_be_spelled_as_in_pytorch(name):
    replay.check(CASES[name], SPELLED_AS_IN_PYTORCH[name](), atol=2e-5)


@pytest.mark.parametrize(
    "name", [name for name in CHANNELS_FIRST if "step 0" in name or "step" not in name]
)
def test_channels_may_be_last(name):
    replay.check(
        CASES[name],
        ours(name, axis=-1),
        atol=2e-5,
        to_ours=lambda x: np.moveaxis(x, 1, -1),
        to_theirs=lambda x: x.transpose(0, -1, *range(1, x.ndim - 1)),
    )
