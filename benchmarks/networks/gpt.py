"""A small GPT: four pre-norm transformer layers between an embedding and the same matrix again."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from networks.steps import Arrays, Step, by_equinox, by_hand, by_nnx, by_torch, by_trainer

NAME = "GPT, 4 layers, 256 wide, 4 heads, 128 positions, vocabulary 4096, batch 8"
BATCH, LENGTH, VOCABULARY, WIDTH, HEADS, LAYERS = 8, 128, 4096, 256, 4, 4
EPS = 1e-5


def make() -> tuple[Any, Any, Arrays]:
    """Tokens, those that follow them, and the values that everybody starts from, as PyTorch's."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, VOCABULARY, (BATCH, LENGTH + 1)).astype(np.int32)
    shapes = {"embed.weight": (VOCABULARY, WIDTH), "positions.weight": (LENGTH, WIDTH)}
    for i in range(LAYERS):
        layer = {
            "self_attn.in_proj_weight": (3 * WIDTH, WIDTH),
            "self_attn.in_proj_bias": (3 * WIDTH,),
            "self_attn.out_proj.weight": (WIDTH, WIDTH),
            "self_attn.out_proj.bias": (WIDTH,),
            "linear1.weight": (4 * WIDTH, WIDTH),
            "linear1.bias": (4 * WIDTH,),
            "linear2.weight": (WIDTH, 4 * WIDTH),
            "linear2.bias": (WIDTH,),
            "norm1.weight": (WIDTH,),
            "norm1.bias": (WIDTH,),
            "norm2.weight": (WIDTH,),
            "norm2.bias": (WIDTH,),
        }
        shapes |= {f"blocks.layers.{i}.{path}": shape for path, shape in layer.items()}
    shapes |= {"blocks.norm.weight": (WIDTH,), "blocks.norm.bias": (WIDTH,)}
    weights = {
        path: rng.normal(_mean(path), 0.02, shape).astype(np.float32)
        for path, shape in shapes.items()
    }
    return tokens[:, :-1].copy(), tokens[:, 1:].copy(), weights


def _mean(path: str) -> float:
    return 1.0 if "norm" in path and path.endswith("weight") else 0.0


def _unpacked(layer: Arrays) -> list[tuple[Any, Any]]:
    """Weight and bias of queries, of keys and of values."""
    packed = layer["self_attn.in_proj_weight"], layer["self_attn.in_proj_bias"]
    return list(zip(*(np.split(part, 3) for part in packed), strict=True))


def lax(x: Any, y: Any, weights: Arrays) -> Step:
    def forward(w: dict[str, Any], tokens: Any) -> Any:
        def dense(path: str, x: Any) -> Any:
            return x @ w[f"{path}weight"].T + w[f"{path}bias"]

        def norm(path: str, x: Any) -> Any:
            x = x - jnp.mean(x, -1, keepdims=True)
            x = x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPS)
            return x * w[f"{path}.weight"] + w[f"{path}.bias"]

        def attention(path: str, x: Any) -> Any:
            heads = (BATCH, LENGTH, HEADS, WIDTH // HEADS)
            q, k, v = (
                part.reshape(heads) for part in jnp.split(dense(f"{path}in_proj_", x), 3, -1)
            )
            y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            return dense(f"{path}out_proj.", y.reshape(x.shape))

        x = w["embed.weight"][tokens] + w["positions.weight"]
        for i in range(LAYERS):
            path = f"blocks.layers.{i}"
            x = x + attention(f"{path}.self_attn.", norm(f"{path}.norm1", x))
            hidden = jax.nn.gelu(dense(f"{path}.linear1.", norm(f"{path}.norm2", x)))
            x = x + dense(f"{path}.linear2.", hidden)
        return norm("blocks.norm", x) @ w["embed.weight"].T

    return by_hand(forward, weights, x, y)


def ansatz(x: Any, y: Any, weights: Arrays) -> Step:
    from ansatz import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            block = nn.TransformerEncoderLayer(
                WIDTH,
                HEADS,
                4 * WIDTH,
                dropout=0.0,
                activation="gelu_tanh",
                norm_first=True,
                causal=True,
            )
            self.embed = nn.Embedding(VOCABULARY, WIDTH)
            self.positions = nn.LearnedPositions(LENGTH)
            self.blocks = nn.TransformerEncoder(block, LAYERS, nn.LayerNorm(WIDTH))

        def forward(self, tokens: Any) -> Any:
            return self.embed.attend(self.blocks(self.positions(self.embed(tokens))))

    net = Net()
    net.load_state_dict(weights)
    return by_trainer(net, x, y)


def nnx(x: Any, y: Any, weights: Arrays) -> Step:
    from flax import nnx

    class Block(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.norm1 = nnx.LayerNorm(WIDTH, epsilon=EPS, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
            self.norm2 = nnx.LayerNorm(WIDTH, epsilon=EPS, rngs=rngs)
            self.linear1 = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
            self.linear2 = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

        def __call__(self, x: Any, mask: Any) -> Any:
            x = x + self.attention(self.norm1(x), mask=mask)
            return x + self.linear2(nnx.gelu(self.linear1(self.norm2(x))))

    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.embed = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
            self.positions = nnx.Embed(LENGTH, WIDTH, rngs=rngs)
            self.blocks = nnx.List([Block(rngs) for _ in range(LAYERS)])
            self.norm = nnx.LayerNorm(WIDTH, epsilon=EPS, rngs=rngs)

        def __call__(self, tokens: Any) -> Any:
            mask = nnx.make_causal_mask(tokens)
            x = self.embed(tokens) + self.positions(jnp.arange(tokens.shape[1]))
            for block in self.blocks:
                x = block(x, mask)
            return self.embed.attend(self.norm(x))

    def fill(cell: Any, value: Any) -> None:
        cell.set_value(jnp.asarray(value.reshape(cell.shape)))

    net = Net()
    fill(net.embed.embedding, weights["embed.weight"])
    fill(net.positions.embedding, weights["positions.weight"])
    for i, block in enumerate(net.blocks):
        w = {path.removeprefix(f"blocks.layers.{i}."): value for path, value in weights.items()}
        for name in ("norm1", "norm2"):
            fill(getattr(block, name).scale, w[f"{name}.weight"])
            fill(getattr(block, name).bias, w[f"{name}.bias"])
        for name in ("linear1", "linear2"):
            fill(getattr(block, name).kernel, w[f"{name}.weight"].T)
            fill(getattr(block, name).bias, w[f"{name}.bias"])
        packed = (
            np.split(w["self_attn.in_proj_weight"], 3),
            np.split(w["self_attn.in_proj_bias"], 3),
        )
        for name, weight, bias in zip(("query", "key", "value"), *packed, strict=True):
            fill(getattr(block.attention, name).kernel, weight.T)
            fill(getattr(block.attention, name).bias, bias)
        fill(block.attention.out.kernel, w["self_attn.out_proj.weight"].T)
        fill(block.attention.out.bias, w["self_attn.out_proj.bias"])
    fill(net.norm.scale, weights["blocks.norm.weight"])
    fill(net.norm.bias, weights["blocks.norm.bias"])
    return by_nnx(net, x, y)


def equinox(x: Any, y: Any, weights: Arrays) -> Step:
    import equinox as eqx

    key = jax.random.key(0)

    class Block(eqx.Module):
        norm1: eqx.nn.LayerNorm
        attention: eqx.nn.MultiheadAttention
        norm2: eqx.nn.LayerNorm
        linear1: eqx.nn.Linear
        linear2: eqx.nn.Linear

        def __init__(self) -> None:
            every = dict.fromkeys(("query", "key", "value", "output"), True)
            biases = {f"use_{name}_bias": there for name, there in every.items()}
            self.norm1 = eqx.nn.LayerNorm(WIDTH, EPS)
            self.attention = eqx.nn.MultiheadAttention(HEADS, WIDTH, key=key, **biases)
            self.norm2 = eqx.nn.LayerNorm(WIDTH, EPS)
            self.linear1 = eqx.nn.Linear(WIDTH, 4 * WIDTH, key=key)
            self.linear2 = eqx.nn.Linear(4 * WIDTH, WIDTH, key=key)

        def __call__(self, x: Any, mask: Any) -> Any:
            normed = jax.vmap(self.norm1)(x)
            x = x + self.attention(normed, normed, normed, mask)
            hidden = jax.nn.gelu(jax.vmap(self.linear1)(jax.vmap(self.norm2)(x)))
            return x + jax.vmap(self.linear2)(hidden)

    class Net(eqx.Module):
        embed: eqx.nn.Embedding
        positions: eqx.nn.Embedding
        blocks: list[Block]
        norm: eqx.nn.LayerNorm

        def __call__(self, tokens: Any) -> Any:
            mask = jnp.tril(jnp.ones((LENGTH, LENGTH), bool))
            x = jax.vmap(self.embed)(tokens) + self.positions.weight
            for block in self.blocks:
                x = block(x, mask)
            return jax.vmap(self.norm)(x) @ self.embed.weight.T

    net = Net(
        eqx.nn.Embedding(VOCABULARY, WIDTH, key=key),
        eqx.nn.Embedding(LENGTH, WIDTH, key=key),
        [Block() for _ in range(LAYERS)],
        eqx.nn.LayerNorm(WIDTH, EPS),
    )

    def leaves(net: Net) -> list[Any]:
        found = [net.embed.weight, net.positions.weight]
        for block in net.blocks:
            a = block.attention
            layers = (a.query_proj, a.key_proj, a.value_proj, a.output_proj)
            layers += (block.linear1, block.linear2, block.norm1, block.norm2)
            found += [leaf for layer in layers for leaf in (layer.weight, layer.bias)]
        return [*found, net.norm.weight, net.norm.bias]

    values = [weights["embed.weight"], weights["positions.weight"]]
    for i in range(LAYERS):
        w = {path.removeprefix(f"blocks.layers.{i}."): value for path, value in weights.items()}
        packed = (
            np.split(w["self_attn.in_proj_weight"], 3),
            np.split(w["self_attn.in_proj_bias"], 3),
        )
        values += [part for pair in zip(*packed, strict=True) for part in pair]
        for name in ("self_attn.out_proj", "linear1", "linear2", "norm1", "norm2"):
            values += [w[f"{name}.weight"], w[f"{name}.bias"]]
    values += [weights["blocks.norm.weight"], weights["blocks.norm.bias"]]
    net = eqx.tree_at(leaves, net, [jnp.asarray(value) for value in values])
    return by_equinox(net, x, y)


def torch(x: Any, y: Any, weights: Arrays) -> Step:
    import torch
    from torch.nn.functional import gelu, linear

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            block = torch.nn.TransformerEncoderLayer(
                WIDTH,
                HEADS,
                4 * WIDTH,
                dropout=0.0,
                activation=lambda x: gelu(x, approximate="tanh"),
                batch_first=True,
                norm_first=True,
            )
            self.embed = torch.nn.Embedding(VOCABULARY, WIDTH)
            self.positions = torch.nn.Embedding(LENGTH, WIDTH)
            self.blocks = torch.nn.TransformerEncoder(
                block, LAYERS, torch.nn.LayerNorm(WIDTH), enable_nested_tensor=False
            )
            mask = torch.nn.Transformer.generate_square_subsequent_mask(LENGTH)
            self.register_buffer("mask", mask, persistent=False)

        def forward(self, tokens: Any) -> Any:
            x = self.embed(tokens) + self.positions.weight
            x = self.blocks(x, mask=self.mask, is_causal=True)
            return linear(x, self.embed.weight)

    net = Net()
    net.load_state_dict({path: torch.from_numpy(value) for path, value in weights.items()})
    return by_torch(net, x, y)
