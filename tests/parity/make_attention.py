"""Makes `fixtures/attention.safetensors` with PyTorch: `python -m tests.parity.make_attention`."""

import torch
from torch import nn

from tests.parity.recording import Recorder

LEFT_OUT = torch.tensor([[False] * 5, [False, False, False, True, True]])


def causal(length):
    return torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)


def self_attention(**options):
    return lambda module, x: module(x, x, x, **options)


def cross_attention(**options):
    return lambda module, x, y, z: module(x, y, z, **options)


def perturbed(module):
    """Biases and norms start at zero and one, which would hide a mistake."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def attention(embed_dim, num_heads, **options):
    return perturbed(nn.MultiheadAttention(embed_dim, num_heads, **options))


def encoder_layer(**options):
    return perturbed(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, **options))


def decoder_layer(**options):
    return perturbed(nn.TransformerDecoderLayer(8, 2, 12, batch_first=True, **options))


class GroupedHeads(nn.Module):
    """Attention whose key heads serve groups of query heads, with rotary positions if asked for."""

    def __init__(self, width, heads, kv_heads, *, bias=True, rotary=False, causal=False):
        super().__init__()
        self.heads, self.kv_heads, self.rotary, self.causal = heads, kv_heads, rotary, causal
        size = width // heads
        self.query = nn.Linear(width, width, bias)
        self.key = nn.Linear(width, kv_heads * size, bias)
        self.value = nn.Linear(width, kv_heads * size, bias)
        self.out = nn.Linear(width, width, bias)

    def forward(self, x, y=None):
        y = x if y is None else y
        q, k, v = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2)
            for part, heads in (
                (self.query(x), self.heads),
                (self.key(y), self.kv_heads),
                (self.value(y), self.kv_heads),
            )
        )
        if self.rotary:
            q, k = turned(q), turned(k)
        y = nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=self.causal, enable_gqa=True
        )
        return self.out(y.transpose(1, 2).flatten(2))


def turned(x, base=10000.0):
    """Su et al. 2021, "RoFormer", equation 13: feature `i` and feature `i + n / 2` as one number
    of the complex plane, turned by the position times `base ** (-2 i / n)`."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2])[:, None] * base ** (-torch.arange(half) / half)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones(()), angles)
    return torch.cat([turned.real, turned.imag], -1)


if __name__ == "__main__":
    # The fused path for inference pads and packs; what is asked for here is the formula.
    torch.backends.mha.set_fastpath_enabled(False)
    recorder = Recorder("attention")
    x, y, z = torch.randn(2, 5, 8), torch.randn(2, 6, 8), torch.randn(2, 6, 8)
    first = {"batch_first": True}
    recorder.record("self-attention", attention(8, 2, **first), x, call=self_attention())
    recorder.record(
        "length first", attention(8, 2), x.transpose(0, 1).contiguous(), call=self_attention()
    )
    recorder.record("one sequence", attention(8, 2, **first), x[0], call=self_attention())
    recorder.record(
        "weights of each head",
        attention(8, 4, **first),
        x,
        call=self_attention(average_attn_weights=False),
    )
    recorder.record(
        "causal and padded, without bias",
        attention(8, 2, bias=False, **first),
        x,
        call=self_attention(attn_mask=causal(5), key_padding_mask=LEFT_OUT, is_causal=True),
    )
    recorder.record(
        "an added mask for each head",
        attention(8, 2, **first),
        x,
        call=self_attention(attn_mask=torch.linspace(-2, 2, 100).reshape(4, 5, 5)),
    )
    recorder.record("cross-attention", attention(8, 2, **first), x, y, z, call=cross_attention())
    recorder.record(
        "keys and values of other widths",
        attention(8, 2, kdim=6, vdim=4, **first),
        x,
        y[..., :6],
        z[..., :4],
        call=cross_attention(),
    )
    recorder.record("encoder layer", encoder_layer(), x)
    recorder.record("encoder layer, norm first", encoder_layer(norm_first=True), x)
    recorder.record(
        "encoder layer, gelu, masked, without bias",
        encoder_layer(activation="gelu", bias=False),
        x,
        call=lambda module, x: module(
            x, src_mask=causal(5), src_key_padding_mask=LEFT_OUT, is_causal=True
        ),
    )
    masked = {"tgt_mask": causal(5), "tgt_is_causal": True}
    recorder.record(
        "decoder layer", decoder_layer(), x, y, call=lambda module, x, y: module(x, y, **masked)
    )
    recorder.record(
        "decoder layer, norm first, padded memory",
        decoder_layer(norm_first=True),
        x,
        y[:, :5],
        call=lambda module, x, y: module(x, y, memory_key_padding_mask=LEFT_OUT, **masked),
    )
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 3, nn.LayerNorm(8), enable_nested_tensor=False)
    recorder.record("encoder", perturbed(encoder), x)
    layer = nn.TransformerDecoderLayer(8, 2, 12, batch_first=True)
    recorder.record(
        "decoder",
        perturbed(nn.TransformerDecoder(layer, 2, nn.LayerNorm(8))),
        x,
        y,
        call=lambda module, x, y: module(x, y, **masked),
    )
    # Without rotary positions the derivative of the key's bias is zero, but for rounding.
    recorder.record("grouped heads", perturbed(GroupedHeads(8, 4, 2, bias=False)), x, y)
    recorder.record(
        "grouped heads, rotary and causal",
        perturbed(GroupedHeads(8, 2, 1, rotary=True, causal=True)),
        x,
    )
    recorder.save()
