"""Make tiny models of Hugging Face's Transformers, never trained, saved in shards by their library.

    python tests/formats/make_huggingface.py      # where transformers and torch are

Each goes to `huggingface/<name>/` with the index that tells which file holds what; what it computes
for some tokens is stored next to it.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

FOLDER = Path(__file__).parent / "huggingface"
SIZES = {"vocab_size": 19, "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 12}
MODELS = {
    "bert": (
        BertForMaskedLM,
        BertConfig(**SIZES, num_attention_heads=2, max_position_embeddings=11),
    ),
    "llama": (
        LlamaForCausalLM,
        LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5),
    ),
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config(vocab_size=19, n_positions=11, n_embd=8, n_layer=2, n_head=2),
    ),
}

if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, (kind, config) in MODELS.items():
        torch.manual_seed(0)
        model = kind(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # Zeros and ones would hide a mistake.
                parameter.add_(0.2 * torch.randn_like(parameter))
        tokens = torch.randint(0, 19, (2, 7))
        model.save_pretrained(FOLDER / name, max_shard_size="3KB")
        for path in (FOLDER / name).iterdir():
            if path.suffix != ".safetensors" and not path.name.endswith(".index.json"):
                path.unlink()
        logits = model(tokens).logits.detach().numpy()
        np.savez(FOLDER / f"{name}.expected.npz", tokens=tokens.numpy(), logits=logits)
