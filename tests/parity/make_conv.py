"""Makes `fixtures/conv.safetensors` with PyTorch: `python -m tests.parity.make_conv`."""

import torch
from torch import nn

from tests.parity.recording import Recorder


class Separable(nn.Module):
    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False)
        self.pointwise = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return self.pointwise(self.depthwise(x))


def causal(module, x):
    return module(nn.functional.pad(x, (4, 0)))


if __name__ == "__main__":
    recorder = Recorder("conv")
    row, picture = torch.randn(2, 4, 9), torch.randn(2, 4, 8, 7)
    recorder.record("1d", nn.Conv1d(4, 6, 3), row)
    recorder.record("1d same dilation", nn.Conv1d(4, 3, 4, padding="same", dilation=2), row)
    recorder.record("1d causal", nn.Conv1d(4, 3, 3, dilation=2), row, call=causal)
    recorder.record("2d stride padding", nn.Conv2d(4, 6, 3, stride=2, padding=1), picture)
    recorder.record(
        "2d unequal",
        nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1)),
        picture,
    )
    recorder.record(
        "2d sides",
        nn.Conv2d(4, 2, 3),
        picture,
        call=lambda module, x: module(nn.functional.pad(x, (0, 3, 1, 2))),
    )
    recorder.record("2d groups", nn.Conv2d(4, 6, 3, groups=2, bias=False), picture)
    recorder.record("2d depthwise", nn.Conv2d(4, 8, 3, padding=1, groups=4), picture)
    recorder.record("2d depthwise stride", nn.Conv2d(4, 4, 3, stride=2, groups=4), picture)
    recorder.record("2d pointwise", nn.Conv2d(4, 6, 1), picture)
    recorder.record("2d pointwise stride", nn.Conv2d(4, 6, 1, stride=2), picture)
    recorder.record("2d one channel", nn.Conv2d(1, 3, 5, padding=2), torch.randn(2, 1, 8, 8))
    recorder.record("3d", nn.Conv3d(2, 3, (2, 3, 2), stride=(1, 2, 1)), torch.randn(2, 2, 4, 5, 4))
    recorder.record("separable", Separable(), torch.randn(2, 3, 5, 5))
    small = torch.randn(1, 2, 4, 5)
    recorder.record("1d reflect", nn.Conv1d(4, 2, 4, 2, 3, padding_mode="reflect"), row)
    recorder.record(
        "2d replicate", nn.Conv2d(2, 2, 3, 1, (5, 1), groups=2, padding_mode="replicate"), small
    )
    recorder.record(
        "2d circular",
        nn.Conv2d(2, 2, 2, padding="same", dilation=3, padding_mode="circular"),
        small,
    )
    recorder.record(
        "3d circular",
        nn.Conv3d(1, 2, 2, padding=(2, 0, 1), padding_mode="circular"),
        torch.randn(1, 1, 2, 3, 3),
    )
    recorder.save()

    recorder = Recorder("conv_transpose")
    row, picture = torch.randn(2, 4, 5), torch.randn(2, 4, 4, 3)
    recorder.record("1d", nn.ConvTranspose1d(4, 6, 3), row)
    recorder.record(
        "1d dilation", nn.ConvTranspose1d(4, 3, 3, stride=2, dilation=3, output_padding=2), row
    )
    recorder.record(
        "2d stride padding",
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
        picture,
    )
    recorder.record("2d groups", nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), picture)
    recorder.record("2d depthwise", nn.ConvTranspose2d(4, 4, 2, stride=2, groups=4), picture)
    recorder.record("2d cut away", nn.ConvTranspose2d(4, 2, 3, padding=3), torch.randn(1, 4, 7, 6))
    recorder.record("2d gaps", nn.ConvTranspose2d(4, 2, 2, stride=3), picture)
    recorder.record("3d", nn.ConvTranspose3d(2, 3, 2, stride=(1, 2, 1)), torch.randn(2, 2, 3, 2, 3))
    recorder.save()
