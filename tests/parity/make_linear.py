"""Makes `fixtures/linear.safetensors` with PyTorch: `python -m tests.parity.make_linear`."""

import torch
from torch import nn

from tests.parity.recording import Recorder

if __name__ == "__main__":
    recorder = Recorder("linear")
    recorder.record("linear", nn.Linear(5, 3), torch.randn(4, 5))
    recorder.record("linear without bias", nn.Linear(5, 3, bias=False), torch.randn(4, 5))
    recorder.record("linear over three axes", nn.Linear(5, 3), torch.randn(2, 4, 5))
    recorder.record("linear of one example", nn.Linear(5, 3), torch.randn(5))
    recorder.record("bilinear", nn.Bilinear(5, 2, 3), torch.randn(4, 5), torch.randn(4, 2))
    recorder.record(
        "bilinear without bias",
        nn.Bilinear(5, 2, 3, bias=False),
        torch.randn(2, 4, 5),
        torch.randn(2, 4, 2),
    )
    recorder.save()
