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
    recorder.save()
