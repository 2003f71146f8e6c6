"""Makes `fixtures/resampling.safetensors`: `python -m tests.parity.make_resampling`."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.parity.recording import Recorder
from tests.parity.resizings import RESIZINGS, pads_of


def resize(x, scale=None, **options):
    options.setdefault("antialias", False)
    if options["mode"].startswith("nearest"):
        options["align_corners"] = None
    return F.interpolate(x, scale_factor=scale, **options)


if __name__ == "__main__":
    recorder = Recorder("resampling")
    inputs = {1: torch.randn(2, 2, 7), 2: torch.randn(1, 2, 6, 5), 3: torch.randn(1, 2, 3, 4, 5)}
    for axes, x in inputs.items():
        recorder.record(
            f"resize {axes}d",
            lambda x, axes=axes: [resize(x, **options) for options in RESIZINGS[axes]],
            x,
        )
        recorder.record(
            f"pad {axes}d", lambda x, axes=axes: [pad(x) for pad in pads_of(nn, axes)], x
        )
    recorder.record("shuffle 2", nn.PixelShuffle(2), torch.randn(2, 8, 2, 3))
    recorder.record("shuffle 3", nn.PixelShuffle(3), torch.randn(1, 18, 2, 1))
    recorder.record("unshuffle 2", nn.PixelUnshuffle(2), torch.randn(2, 2, 4, 6))
    recorder.record("unshuffle 3", nn.PixelUnshuffle(3), torch.randn(1, 2, 6, 3))
    recorder.record("channel shuffle", nn.ChannelShuffle(3), torch.randn(2, 6, 2, 2))
    recorder.record("unflatten", nn.Unflatten(1, (3, -1, 2)), torch.randn(2, 12, 2))
    recorder.save()
