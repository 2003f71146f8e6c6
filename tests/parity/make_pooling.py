"""Makes `fixtures/pooling.safetensors` with PyTorch: `python -m tests.parity.make_pooling`."""

import torch
from torch import nn

from tests.parity.recording import Recorder

if __name__ == "__main__":
    recorder = Recorder("pooling")
    row, picture = torch.randn(2, 3, 10), torch.randn(2, 3, 9, 8)
    volume = torch.randn(1, 2, 5, 6, 5)
    # Small whole numbers, so that many windows have several largest cells.
    ties = torch.randint(0, 3, (2, 3, 9, 8)).float()
    recorder.record("max 1d", nn.MaxPool1d(3), row)
    recorder.record("max 2d", nn.MaxPool2d(2), picture)
    recorder.record("max 2d ties", nn.MaxPool2d(3, 2, 1), ties)
    recorder.record("max 2d padding", nn.MaxPool2d((3, 2), 2, (1, 0)), picture)
    recorder.record("max 2d dilation", nn.MaxPool2d(2, 1, 1, dilation=(2, 3)), picture)
    recorder.record("max 2d ceil", nn.MaxPool2d(2, 2, ceil_mode=True), picture)
    recorder.record("max 2d ceil gap", nn.MaxPool2d(2, 4, 1, ceil_mode=True), picture)
    recorder.record("max 2d ceil small", nn.MaxPool2d(4, 3, ceil_mode=True), picture[:, :, :3, :3])
    recorder.record("max 2d large", nn.MaxPool2d(5, 2, 2), ties)
    recorder.record("max 3d", nn.MaxPool3d(2, (1, 2, 1)), volume)
    recorder.record("avg 1d", nn.AvgPool1d(3, 2, 1), row)
    recorder.record("avg 2d", nn.AvgPool2d(2), picture)
    recorder.record("avg 2d padding", nn.AvgPool2d(3, 2, 1), picture)
    recorder.record("avg 2d exclude", nn.AvgPool2d(3, 2, 1, count_include_pad=False), picture)
    recorder.record("avg 2d ceil", nn.AvgPool2d(4, 3, 1, ceil_mode=True), picture)
    recorder.record(
        "avg 2d ceil exclude",
        nn.AvgPool2d((3, 4), (2, 3), 1, ceil_mode=True, count_include_pad=False),
        picture,
    )
    recorder.record("avg 3d", nn.AvgPool3d(2, 2, 1), volume)
    recorder.record("adaptive max 1d", nn.AdaptiveMaxPool1d(4), row)
    recorder.record("adaptive max 2d", nn.AdaptiveMaxPool2d((3, 5)), ties)
    recorder.record("adaptive max 3d", nn.AdaptiveMaxPool3d((2, None, 7)), volume)
    recorder.record("adaptive avg 1d", nn.AdaptiveAvgPool1d(5), row)
    recorder.record("adaptive avg 2d", nn.AdaptiveAvgPool2d((4, None)), picture)
    recorder.record("adaptive avg 3d", nn.AdaptiveAvgPool3d(3), volume)
    recorder.record("global max 2d", nn.AdaptiveMaxPool2d(1), ties)
    recorder.record("global avg 2d", nn.AdaptiveAvgPool2d(1), picture)
    recorder.record(
        "avg 2d divisor", nn.AvgPool2d(3, 2, 1, True, False, divisor_override=5), picture[:1, :1]
    )
    for name, layer, x in (
        ("global max 1d", nn.AdaptiveMaxPool1d(1), row),
        ("global avg 1d", nn.AdaptiveAvgPool1d(1), row),
        ("global max 3d", nn.AdaptiveMaxPool3d(1), volume),
        ("global avg 3d", nn.AdaptiveAvgPool3d(1), volume),
    ):
        recorder.record(name, layer, x[:1, :2])
    recorder.save()
