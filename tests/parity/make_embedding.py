"""Makes `fixtures/embedding.safetensors` with PyTorch: `python -m tests.parity.make_embedding`."""

import torch
from torch import nn

from tests.parity.recording import Recorder


def leaving_the_table(embedding, words):
    """The rows, without what PyTorch writes back to the table."""
    table = embedding.weight.detach().clone()
    rows = embedding(words)
    embedding.weight.data.copy_(table)
    return rows


if __name__ == "__main__":
    recorder = Recorder("embedding")
    recorder.record("look up", nn.Embedding(7, 4), torch.tensor([[1, 0, 6], [1, 1, 3]]))
    padded = nn.Embedding(7, 4, padding_idx=0)
    recorder.record("padding", padded, torch.tensor([[1, 0, 6], [1, 1, 0]]))
    torch.nn.init.normal_(padded.weight)
    recorder.record("padding with a row of its own", padded, torch.tensor([[1, 0, 6], [1, 1, 0]]))
    recorder.record("one row", nn.Embedding(3, 2), torch.tensor(2))
    words = torch.tensor([[1, 0, 6], [1, 1, 3]])
    for name, options in {
        "short rows": {"max_norm": 1.5},
        "short rows by their sum": {"max_norm": 2.0, "norm_type": 1.0, "padding_idx": 6},
    }.items():
        recorder.record(name, nn.Embedding(7, 4, **options), words, call=leaving_the_table)
    recorder.save()
