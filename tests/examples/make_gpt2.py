"""Makes `fixtures/gpt2.safetensors` with Hugging Face's Transformers: a tiny GPT-2, never trained.

Run it as `python -m tests.examples.make_gpt2`, where torch, transformers and safetensors are.
"""

import pathlib

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, __version__

if __name__ == "__main__":
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=19, n_positions=11, n_embd=8, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # Biases start at zero, which would hide a mistake.
            parameter.add_(0.2 * torch.randn_like(parameter))
    tokens = torch.randint(0, config.vocab_size, (2, config.n_positions))
    stored = {f"state/{name}": value.clone() for name, value in model.state_dict().items()}
    stored["tokens"] = tokens
    stored["logits"] = model(tokens).logits.detach()
    continued = model.generate(tokens[:1, :4], max_new_tokens=7, do_sample=False, pad_token_id=0)
    stored["continued"] = continued
    folder = pathlib.Path(__file__).parent / "fixtures"
    folder.mkdir(exist_ok=True)
    save_file(stored, folder / "gpt2.safetensors", {"made_with": f"transformers {__version__}"})
