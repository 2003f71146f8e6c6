"""The layers of PyTorch, with channels first, as its users have them."""

from __future__ import annotations

from typing import Any

import torch
from layer_tables.cases import CASES, Call, Table
from torch import nn

TABLE: Table = {
    "Conv2D(64, 3), 64 channels": lambda: nn.Conv2d(64, 64, 3, padding=1),
    "Conv2D(6, 5), 1 channel": lambda: nn.Conv2d(1, 6, 5, padding=2),
    "Conv2D(128, 1), 64 channels": lambda: nn.Conv2d(64, 128, 1),
    "depthwise 3x3, 64 channels": lambda: nn.Conv2d(64, 64, 3, padding=1, groups=64),
    "Conv2D(64, 3, groups=4), 64 channels": lambda: nn.Conv2d(64, 64, 3, padding=1, groups=4),
    "Conv2D(192, 16, 16), 3 channels": lambda: nn.Conv2d(3, 192, 16, 16),
    "Conv3D(32, 3), 16 channels": lambda: nn.Conv3d(16, 32, 3, padding=1),
    "ConvTranspose2D(32, 4, 2), 64 channels": lambda: nn.ConvTranspose2d(64, 32, 4, 2, 1),
    "MaxPool2D(2)": lambda: nn.MaxPool2d(2),
    "MaxPool2D(3, 2, padding=1)": lambda: nn.MaxPool2d(3, 2, 1),
    "AvgPool2D(2)": lambda: nn.AvgPool2d(2),
    "GlobalAvgPool2D": lambda: nn.AdaptiveAvgPool2d(1),
    "GlobalMaxPool2D": lambda: nn.AdaptiveMaxPool2d(1),
    "AdaptiveAvgPool2D(7), of 32": lambda: nn.AdaptiveAvgPool2d(7),
    "Dense(512), 3-D input": lambda: nn.Linear(256, 512),
    "BatchNorm": lambda: nn.BatchNorm2d(64),
    "GroupNorm(8)": lambda: nn.GroupNorm(8, 64),
    "LayerNorm": lambda: nn.LayerNorm(512),
    "RMSNorm": lambda: nn.RMSNorm(512),
    "Dropout(0.5)": lambda: nn.Dropout(0.5),
    "Embedding": lambda: nn.Embedding(4096, 256),
    "LSTM(256), 64 steps": lambda: nn.LSTM(256, 256, batch_first=True),
    "GRU(256), 64 steps": lambda: nn.GRU(256, 256, batch_first=True),
    "attention, 8 heads, 128 positions": lambda: nn.MultiheadAttention(256, 8, batch_first=True),
    "softmax cross-entropy, 4096 classes": lambda: nn.CrossEntropyLoss(reduction="none"),
}


def build(case: str) -> tuple[Call, Call]:
    layer = TABLE[case]()
    x, *labels = map(torch.from_numpy, CASES[case].inputs(channels_first=True))
    labels = [array.long() for array in labels]

    def run(x: Any) -> Any:
        if isinstance(layer, nn.MultiheadAttention):
            return layer(x, x, x, need_weights=False)[0]
        y = layer(x, *labels)
        return y[0] if isinstance(layer, nn.LSTM | nn.GRU) else y

    weights = torch.randn_like(run(x))

    def forward() -> Any:
        with torch.no_grad():
            return run(x)

    def step() -> Any:
        layer.zero_grad()
        given = x.clone().requires_grad_() if x.is_floating_point() else x
        (run(given) * weights).sum().backward()

    return forward, step
