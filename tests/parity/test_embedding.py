"""Embeddings against PyTorch: rows, and the gradients of rows that are looked up."""

import pytest

from ansatz import nn
from tests.parity import replay

CASES = replay.load("embedding")
OURS = {
    "look up": lambda: nn.Embedding(7, 4),
    "padding": lambda: nn.Embedding(7, 4, padding_index=0),
    "padding with a row of its own": lambda: nn.Embedding(7, 4, padding_index=0),
    "one row": lambda: nn.Embedding(3, 2),
    "short rows": lambda: nn.Embedding(7, 4, max_norm=1.5),
    "short rows by their sum": lambda: nn.Embedding(7, 4, max_norm=2, norm_type=1, padding_index=6),
    **{
        f"bags{how}, {mode}": lambda mode=mode: nn.EmbeddingBag(7, 4, mode=mode, padding_index=2)
        for mode in ("mean", "sum", "max")
        for how in ("", " from offsets")
    },
    "bags with weights": lambda: nn.EmbeddingBag(7, 4, mode="sum"),
    "short bags": lambda: nn.EmbeddingBag(7, 4, max_norm=1.5),
}
CALLS = {"bags with weights": lambda bag, x, weights: bag(x, weights=weights)}


@pytest.mark.parametrize("name", CASES)
def test_an_embedding_computes_what_pytorch_computes(name):
    replay.check(CASES[name], OURS[name](), CALLS.get(name))
