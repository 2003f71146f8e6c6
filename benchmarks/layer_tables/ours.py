"""The layers of Ansatz."""

from __future__ import annotations

from typing import Any

from layer_tables.cases import Built, Call, Table, jax_calls

import ansatz as az
from ansatz import nn


def cross_entropy(_: Any, x: Any, labels: Any) -> Any:
    return nn.softmax_cross_entropy(x, labels, reduction="none")


TABLE: Table = {
    "Conv2D(64, 3), 64 channels": lambda: nn.Conv2D(64, 3, padding="same"),
    "Conv2D(6, 5), 1 channel": lambda: nn.Conv2D(6, 5, padding="same"),
    "Conv2D(128, 1), 64 channels": lambda: nn.Conv2D(128, 1),
    "depthwise 3x3, 64 channels": lambda: nn.DepthwiseConv2D(3, padding="same"),
    "Conv2D(64, 3, groups=4), 64 channels": lambda: nn.Conv2D(64, 3, padding="same", groups=4),
    "Conv2D(192, 16, 16), 3 channels": lambda: nn.Conv2D(192, 16, 16),
    "Conv3D(32, 3), 16 channels": lambda: nn.Conv3D(32, 3, padding="same"),
    "ConvTranspose2D(32, 4, 2), 64 channels": lambda: nn.ConvTranspose2D(32, 4, 2, 1),
    "MaxPool2D(2)": lambda: nn.MaxPool2D(2),
    "MaxPool2D(3, 2, padding=1)": lambda: nn.MaxPool2D(3, 2, padding=1),
    "AvgPool2D(2)": lambda: nn.AvgPool2D(2),
    "GlobalAvgPool2D": nn.GlobalAvgPool2D,
    "GlobalMaxPool2D": nn.GlobalMaxPool2D,
    "AdaptiveAvgPool2D(7), of 32": lambda: nn.AdaptiveAvgPool2D(7),
    "Dense(512), 3-D input": lambda: nn.Dense(512),
    "BatchNorm": nn.BatchNorm,
    "GroupNorm(8)": lambda: nn.GroupNorm(8),
    "LayerNorm": nn.LayerNorm,
    "RMSNorm": nn.RMSNorm,
    "Dropout(0.5)": lambda: nn.Dropout(0.5),
    "Embedding": lambda: nn.Embedding(4096, 256),
    "LSTM(256), 64 steps": lambda: nn.LSTM(256),
    "GRU(256), 64 steps": lambda: nn.GRU(256),
    "attention, 8 heads, 128 positions": lambda: nn.MultiHeadAttention(256, 8),
    "softmax cross-entropy, 4096 classes": lambda: Built(cross_entropy, nn.Identity()),
}


def run(layer: Any, x: Any) -> Any:
    y = layer(x)
    return y[0] if isinstance(layer, nn.LSTM | nn.GRU) else y


def build(case: str) -> tuple[Call, Call]:
    made = TABLE[case]()
    return jax_calls(case, made if isinstance(made, Built) else Built(run, made), az.jit, az.grad)
