"""Makes `fixtures/embedding.safetensors` with PyTorch: `python -m tests.parity.make_embedding`."""

import torch
from torch import nn

from tests.parity.recording import Recorder

if __name__ == "__main__":
    recorder = Recorder("embedding")
    recorder.record("look up", nn.Embedding(7, 4), torch.tensor([[1, 0, 6], [1, 1, 3]]))
    padded = nn.Embedding(7, 4, padding_idx=0)
    recorder.record("padding", padded, torch.tensor([[1, 0, 6], [1, 1, 0]]))
    torch.nn.init.normal_(padded.weight)
    recorder.record("padding with a row of its own", padded, torch.tensor([[1, 0, 6], [1, 1, 0]]))
    recorder.record("one row", nn.Embedding(3, 2), torch.tensor(2))
    recorder.save()
