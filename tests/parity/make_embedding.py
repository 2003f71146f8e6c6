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
    bags, flat = torch.tensor([[1, 0, 6], [2, 2, 2], [1, 3, 1]]), torch.tensor([1, 0, 6, 2, 2])
    offsets = torch.tensor([0, 3, 3, 4])
    for mode in ("mean", "sum", "max"):
        bag = nn.EmbeddingBag(7, 4, mode=mode, padding_idx=2)
        torch.nn.init.normal_(bag.weight)
        recorder.record(f"bags, {mode}", bag, bags)
        recorder.record(f"bags from offsets, {mode}", bag, flat, offsets)
    bag = nn.EmbeddingBag(7, 4, mode="sum")
    factors = torch.randn(3, 3)
    recorder.record("bags with weights", bag, bags, factors, call=lambda bag, x, w: bag(x, None, w))
    recorder.record("short bags", nn.EmbeddingBag(7, 4, max_norm=1.5), bags, call=leaving_the_table)
    recorder.save()
