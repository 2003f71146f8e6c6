"""GPT-2 in Ansatz: takes the weights that Hugging Face publishes, under the names they have there.

    python -m examples.gpt2 model.safetensors

writes some token numbers with the weights of a checkpoint of `openai-community/gpt2` (turning text
into token numbers and back is the work of a tokenizer, which is not part of this example).
"""

import argparse
import re

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

import ansatz as az
from ansatz import nn

GPT2_NAMES = {
    r"(?:transformer\.)?wte\.weight": ("embed.weight", False),
    r"(?:transformer\.)?wpe\.weight": ("positions.weight", False),
    r"(?:transformer\.)?h\.(\d+)\.ln_1\.(weight|bias)": (r"blocks.layers.\1.norm1.\2", False),
    r"(?:transformer\.)?h\.(\d+)\.attn\.c_attn\.(weight|bias)": (
        r"blocks.layers.\1.self_attn.in_proj_\2",
        True,
    ),
    r"(?:transformer\.)?h\.(\d+)\.attn\.c_proj\.(weight|bias)": (
        r"blocks.layers.\1.self_attn.out_proj.\2",
        True,
    ),
    r"(?:transformer\.)?h\.(\d+)\.ln_2\.(weight|bias)": (r"blocks.layers.\1.norm2.\2", False),
    r"(?:transformer\.)?h\.(\d+)\.mlp\.c_fc\.(weight|bias)": (
        r"blocks.layers.\1.linear1.\2",
        True,
    ),
    r"(?:transformer\.)?h\.(\d+)\.mlp\.c_proj\.(weight|bias)": (
        r"blocks.layers.\1.linear2.\2",
        True,
    ),
    r"(?:transformer\.)?ln_f\.(weight|bias)": (r"blocks.norm.\1", False),
    r"lm_head\.weight": ("head.weight", False),
    # The causal mask, which early checkpoints hold as well.
    r"(?:transformer\.)?h\.\d+\.attn\.(?:masked_)?bias": (None, False),
}
"""Hugging Face's names, as regular expressions, to ours, and whether matrices are transposed.

`None` in place of a name leaves the entry out. The layers that Hugging Face calls `Conv1D` keep
their weights as `(in, out)`, all others as `(out, in)`.
"""


class GPT2(nn.Module):
    """The network of Radford et al. 2019, "Language models are unsupervised multitask learners".

    The defaults are those of the smallest of the four published sizes, with 124 million parameters.
    """

    def __init__(self, vocabulary=50257, context=1024, width=768, layers=12, heads=12):
        super().__init__()
        block = nn.TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            activation="gelu_tanh",
            norm_first=True,
            causal=True,
        )
        self.embed = nn.Embedding(vocabulary, width, weight_init=az.init.Normal(0.02))
        self.positions = nn.LearnedPositions(context, width)
        self.dropout = nn.Dropout(0.1)
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width))
        self.head = nn.Dense(vocabulary, width, use_bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        """Token numbers `(batch, length)` to logits `(batch, length, vocabulary)`."""
        x = self.dropout(self.positions(self.embed(tokens)))
        return self.head(self.blocks(x))


def translated(state, names):
    """The arrays of `state` under the names of `names`, transposed where it says so.

    Raises:
        ValueError: `names` does not speak of an entry.
    """
    ours = {}
    for name, array in state.items():
        matches = ((re.fullmatch(pattern, name), *told) for pattern, told in names.items())
        found = next((each for each in matches if each[0] is not None), None)
        if found is None:
            raise ValueError(f"the table of names does not speak of '{name}'")
        match, template, transposed = found
        if template is not None:
            turned = transposed and array.ndim == 2
            ours[match.expand(template)] = array.T if turned else array
    return ours


def load_gpt2(net, state):
    """Load a state dict of Hugging Face's GPT-2; shapes and names are checked, all or nothing."""
    return net.load_state_dict(translated(state, GPT2_NAMES))


def from_state(state, heads):
    """A network of the size of a state dict, which does not tell the number of heads."""
    ours = translated(state, GPT2_NAMES)
    layers = len({name for name in ours if name.endswith(".linear1.weight")})
    (vocabulary, width), context = ours["embed.weight"].shape, len(ours["positions.weight"])
    net = GPT2(vocabulary, context, width, layers, heads).eval()
    load_gpt2(net, state)
    return net


def continued(net, tokens, count):
    """The `count` likeliest next tokens, one after the other, for each row of `tokens`."""

    @az.jit
    def following(net, tokens):
        return jnp.argmax(net(tokens)[:, -1], -1)[:, None]

    rows = [jnp.asarray(tokens)]
    batch, length = rows[0].shape
    with nn.decoding(net, batch, length + count):
        for _ in range(count):  # The prompt at first, then one token after the other.
            rows.append(following(net, rows[-1]))
    return np.concatenate(rows, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="model.safetensors of a GPT-2")
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--tokens", type=int, nargs="+", default=[464, 3280, 318])
    parser.add_argument("--count", type=int, default=20)
    given = parser.parse_args()
    gpt2 = from_state(load_file(given.checkpoint), given.heads)
    print(*continued(gpt2, [given.tokens], given.count)[0])
