"""Attention and transformer layers against PyTorch."""

import jax.numpy as jnp
import numpy as np
import pytest

from ansatz import nn
from tests.parity import replay

CASES = replay.load("attention")
LEFT_OUT = np.array([[False] * 5, [False, False, False, True, True]])
LATER = np.triu(np.ones((5, 5), bool), 1)


def self_attention(**options):
    return lambda module, x: module(x, x, x, **options)


def cross_attention(module, x, y, z):
    return module(x, y, z)


def attention(width, heads, **options):
    return nn.MultiheadAttention(width, heads, batch_first=True, **options).eval()


def encoder_layer(width, **options):
    return nn.TransformerEncoderLayer(width, 2, 12, **options).eval()


def decoder_layer(width, **options):
    return nn.TransformerDecoderLayer(width, 2, 12, **options).eval()


def encoder(width):
    layer = nn.TransformerEncoderLayer(width, 2, 12, norm_first=True)
    return nn.TransformerEncoder(layer, 3, nn.LayerNorm(width)).eval()


def decoder(width):
    layer = nn.TransformerDecoderLayer(width, 2, 12)
    return nn.TransformerDecoder(layer, 2, nn.LayerNorm(width)).eval()


def grouped(width, heads, kv_heads, **options):
    return nn.MultiHeadAttention(width, heads, kv_heads=kv_heads, **options).eval()


# Our module, given its width or None, and how it is called.
OURS = {
    "self-attention": (lambda width: attention(width, 2), self_attention()),
    "length first": (lambda width: nn.MultiheadAttention(width, 2).eval(), self_attention()),
    "one sequence": (lambda width: attention(width, 2), self_attention()),
    "weights of each head": (
        lambda width: attention(width, 4),
        self_attention(average_attn_weights=False),
    ),
    "causal and padded, without bias": (
        lambda width: attention(width, 2, bias=False),
        self_attention(key_padding_mask=LEFT_OUT, is_causal=True),
    ),
    "an added mask for each head": (
        lambda width: attention(width, 2),
        self_attention(attn_mask=jnp.linspace(-2, 2, 100).reshape(4, 5, 5)),
    ),
    "cross-attention": (lambda width: attention(width, 2), cross_attention),
    "keys and values of other widths": (
        lambda width: attention(width, 2, kdim=6, vdim=4),
        cross_attention,
    ),
    "encoder layer": (encoder_layer, None),
    "encoder layer, norm first": (lambda width: encoder_layer(width, norm_first=True), None),
    "encoder layer, gelu, masked, without bias": (
        lambda width: encoder_layer(width, activation="gelu", bias=False),
        lambda module, x: module(x, mask=~LATER, key_mask=~LEFT_OUT),
    ),
    "decoder layer": (decoder_layer, None),
    "decoder layer, norm first, padded memory": (
        lambda width: decoder_layer(width, norm_first=True),
        lambda module, x, y: module(x, y, memory_key_mask=~LEFT_OUT),
    ),
    "encoder": (encoder, None),
    "decoder": (decoder, None),
    "grouped heads": (lambda width: grouped(width, 4, 2, use_bias=False), None),
    "grouped heads, rotary and causal": (
        lambda width: grouped(width, 2, 1, rotary=nn.RotaryPositions(), causal=True),
        None,
    ),
}


@pytest.mark.parametrize("width", [8, None])
@pytest.mark.parametrize("name", CASES)
def test_attention_computes_what_pytorch_computes(name, width):
    build, call = OURS[name]
    replay.check(CASES[name], build(width), call)
