"""Models of Hugging Face's Transformers, saved in shards, load through the ready-made tables."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import rename_tables
from examples.gpt2 import GPT2

FOLDER = Path(__file__).parent / "huggingface"


class LlamaLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(eps=1e-5)
        self.self_attn = nn.MultiHeadAttention(
            8, 4, kv_heads=2, causal=True, rotary=nn.RotaryPositions(), use_bias=False
        )
        self.post_attention_layernorm = nn.RMSNorm(eps=1e-5)
        self.gate_proj = nn.Dense(12, use_bias=False)
        self.up_proj = nn.Dense(12, use_bias=False)
        self.down_proj = nn.Dense(8, use_bias=False)

    def forward(self, x: Any) -> Any:
        x = x + self.self_attn(self.input_layernorm(x))
        y = self.post_attention_layernorm(x)
        return x + self.down_proj(jax.nn.silu(self.gate_proj(y)) * self.up_proj(y))


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(19, 8)
        self.layers = nn.Sequential(LlamaLayer(), LlamaLayer())
        self.norm = nn.RMSNorm(eps=1e-5)
        self.lm_head = nn.Dense(19, use_bias=False)

    def forward(self, tokens: Any) -> Any:
        return self.lm_head(self.norm(self.layers(self.embed_tokens(tokens))))


class Bert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(19, 8)
        self.kinds = nn.Embedding(2, 8)
        self.positions = nn.LearnedPositions(11)
        self.norm = nn.LayerNorm(eps=1e-12)
        self.layers = nn.Sequential(BertLayer(), BertLayer())
        self.transform = nn.Sequential(nn.Dense(8, activation="gelu"), nn.LayerNorm(eps=1e-12))
        self.head = nn.Dense(19)
        self.head.weight = self.words.weight

    def forward(self, tokens: Any) -> Any:
        x = self.norm(self.positions(self.words(tokens) + self.kinds(0 * tokens)))
        return self.head(self.transform(self.layers(x)))


class BertLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiHeadAttention(8, 2)
        self.norm1 = nn.LayerNorm(eps=1e-12)
        self.up = nn.Dense(12, activation="gelu")
        self.down = nn.Dense(8)
        self.norm2 = nn.LayerNorm(eps=1e-12)

    def forward(self, x: Any) -> Any:
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.down(self.up(x)))


NETWORKS: dict[str, tuple[Any, list[Any]]] = {
    "llama": (
        Llama,
        [
            *rename_tables.LLAMA,
            {
                "*.q_proj.*": "*.query.*",
                "*.k_proj.*": "*.key.*",
                "*.v_proj.*": "*.value.*",
                "*.o_proj.*": "*.out.*",
                "*.mlp.*": "*.*",
            },
        ],
    ),
    "bert": (
        Bert,
        [
            *rename_tables.BERT,
            {
                "embeddings.word_embeddings.*": "words.*",
                "embeddings.token_type_embeddings.*": "kinds.*",
                "embeddings.position_embeddings.*": "positions.*",
                "embeddings.LayerNorm.*": "norm.*",
                "encoder.layer.*.attention.self.*": "layers.*.attention.*",
                "encoder.layer.*.attention.output.dense.*": "layers.*.attention.out.*",
                "encoder.layer.*.attention.output.LayerNorm.*": "layers.*.norm1.*",
                "encoder.layer.*.intermediate.dense.*": "layers.*.up.*",
                "encoder.layer.*.output.dense.*": "layers.*.down.*",
                "encoder.layer.*.output.LayerNorm.*": "layers.*.norm2.*",
                "cls.predictions.transform.dense.*": "transform.0.*",
                "cls.predictions.transform.LayerNorm.*": "transform.1.*",
                "cls.predictions.bias": "head.bias",
            },
        ],
    ),
    "gpt2": (
        lambda: GPT2(19, 11, 8, 2, 2),
        [
            *rename_tables.GPT2,
            {
                "wte.*": "embed.*",
                "wpe.*": "positions.*",
                "h.*.attn.c_attn.*": "blocks.layers.*.self_attn.in_proj_*",
                "h.*.attn.c_proj.*": "blocks.layers.*.self_attn.out_proj.*",
                "h.*.mlp.c_fc.*": "blocks.layers.*.linear1.*",
                "h.*.mlp.c_proj.*": "blocks.layers.*.linear2.*",
                "h.*.ln_1.*": "blocks.layers.*.norm1.*",
                "h.*.ln_2.*": "blocks.layers.*.norm2.*",
                "ln_f.*": "blocks.norm.*",
            },
        ],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_saved_in_shards_computes_the_same(name: str) -> None:
    declare, rename = NETWORKS[name]
    net = declare().eval()
    report = net.load(FOLDER / name / "model.safetensors.index.json", rename=rename)
    assert not report.missing_keys
    assert not report.unexpected_keys
    with np.load(FOLDER / f"{name}.expected.npz") as stored:
        tokens, logits = stored["tokens"].astype(np.int32), stored["logits"]
    np.testing.assert_allclose(
        az.jit(net)(tokens), logits, rtol=1e-5, atol=1e-6 * abs(logits).max()
    )
