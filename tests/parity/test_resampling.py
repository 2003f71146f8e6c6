"""Resizing, padding and rearranging against PyTorch, with channels last and first."""

import pytest

from ansatz import nn
from tests.parity import replay
from tests.parity.layouts import check_channels_last
from tests.parity.resizings import RESIZINGS, pads_of

CASES = replay.load("resampling")


def resized(axes, layout=None):
    return lambda x: [nn.Upsample(layout=layout, **how)(x) for how in RESIZINGS[axes]]


def padded(axes):
    """What PyTorch's layers do, by ours with the channels last."""
    layers = [
        nn.Pad(theirs.padding, theirs.mode, value=theirs.value) for theirs in pads_of(nn, axes)
    ]
    return lambda x: [layer(x) for layer in layers]


LAST = {
    **{f"resize {n}d": resized(n) for n in (1, 2, 3)},
    "pad 1d": padded(1),
    "shuffle 2": nn.PixelShuffle(2),
    "shuffle 3": nn.PixelShuffle((3, 3)),
    "unshuffle 2": nn.PixelUnshuffle(2),
    "unshuffle 3": nn.PixelUnshuffle((3, 3)),
    "channel shuffle": nn.ChannelShuffle(3),
}
FIRST = {
    "resize 1d": resized(1, "NCW"),
    **{f"pad {n}d": lambda x, n=n: [pad(x) for pad in pads_of(nn, n)] for n in (1, 2, 3)},
    "shuffle 2": nn.PixelShuffle(2, layout="NCHW"),
    "unshuffle 3": nn.PixelUnshuffle(3, layout="NCHW"),
    "channel shuffle": nn.ChannelShuffle(3, axis=1),
    "unflatten": nn.Unflatten(1, (3, -1, 2)),
}


def test_every_case_is_replayed():
    assert {*LAST, *FIRST} == set(CASES)


@pytest.mark.parametrize("name", LAST)
def test_with_channels_last_it_computes_what_pytorch_computes(name):
    check_channels_last(CASES[name], LAST[name])


@pytest.mark.parametrize("name", FIRST)
def test_with_channels_first_it_computes_what_pytorch_computes(name):
    replay.check(CASES[name], FIRST[name])
