"""A small GPT that learns to write like Python's reference manual, character by character.

    python -m examples.gpt

One matrix is both the table of character vectors and the output layer. The network is trained for
a minute or two, reports how well it predicts a part of the text that it has never seen, and then
writes some text of its own, keeping keys and values of what it has written already.
"""

import argparse
import itertools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ansatz as az
from ansatz import nn
from examples.text import load_text

GOAL = 4.5
"""The perplexity per character that the network reaches on unseen text, at the least."""


class GPT(nn.Module):
    """A decoder-only transformer whose output layer is its embedding."""

    def __init__(self, vocabulary, context, *, width=128, layers=4, heads=4):
        super().__init__()
        block = nn.TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            dropout=0.0,
            activation="gelu_tanh",
            norm_first=True,
            causal=True,
        )
        self.context = context
        self.embed = nn.Embedding(vocabulary, width, weight_init=az.init.Normal(0.02))
        self.positions = nn.LearnedPositions(context)
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width))

    def forward(self, tokens):
        """Characters `(batch, length)` to logits `(batch, length, vocabulary)`."""
        return self.embed.attend(self.blocks(self.positions(self.embed(tokens))))


class Text:
    """A text as integers, and back."""

    def __init__(self, text):
        self.characters = sorted(set(text))
        self.number = {character: i for i, character in enumerate(self.characters)}
        self.tokens = self.encode(text)

    def encode(self, text):
        return np.array([self.number[character] for character in text], np.int32)

    def decode(self, tokens):
        return "".join(self.characters[i] for i in tokens)


def windows(tokens, starts, length):
    """Pieces of `length` characters, and the characters that follow each of theirs."""
    rows = tokens[np.asarray(starts)[:, None] + np.arange(length + 1)]
    return rows[:, :-1], rows[:, 1:]


def perplexity(net, tokens, length, batch=16):
    """How many characters the network hesitates between, on average, in text given in pieces."""
    evaluate = az.jit(lambda net, x, y: nn.softmax_cross_entropy(net(x), y))
    starts = np.arange(0, len(tokens) - length, length)
    starts = starts[: len(starts) // batch * batch].reshape(-1, batch)
    net.eval()
    losses = [float(evaluate(net, *windows(tokens, each, length))) for each in starts]
    net.train()
    return math.exp(np.mean(losses))


def train(net, tokens, *, steps, batch=12, rate=3e-3, report=print):
    """Teach the network to predict each character from those before it."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, steps // 10, steps, rate / 10)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.99, weight_decay=0.1)
    )
    trainer = az.Trainer(net, optimizer, nn.softmax_cross_entropy)
    rng = np.random.default_rng(0)
    began, losses = time.perf_counter(), []
    for step in range(1, steps + 1):
        starts = rng.integers(0, len(tokens) - net.context - 1, batch)
        losses.append(trainer.step(*windows(tokens, starts, net.context)))
        if step % max(steps // 10, 1) == 0:
            recent = math.exp(np.mean([float(loss) for loss in losses]))
            losses.clear()
            seconds = time.perf_counter() - began
            report(f"step {step:5d} of {steps}   perplexity {recent:6.2f}   {seconds:4.0f} s")


def write(net, prompt, count, *, temperature=0.8, seed=0):
    """Continue `prompt`, a sequence of characters, by `count` more."""

    @az.jit
    def following(net, tokens, key):
        logits = net(tokens)[0, -1] / temperature
        return jax.random.categorical(key, logits)

    keys = iter(jax.random.split(jax.random.key(seed), count))
    seen, end = list(prompt), len(prompt) + count
    net.eval()
    while len(seen) < end:
        # When the context is full, the later half of it begins a new one.
        recent = seen[-max(net.context // 2, 1) :]
        room = min(net.context - len(recent), end - len(seen))
        tokens = jnp.asarray(recent)[None]
        with nn.decoding(net, batch=1, length=net.context):
            for key in itertools.islice(keys, room):
                token = following(net, tokens, key)  # All of it at first, then one by one.
                seen.append(int(token))
                tokens = token[None, None]
    net.train()
    return seen[len(prompt) :]


def main(*, steps=1500, context=64, length=400, report=print, **sizes):
    """Train, measure, write; returns the perplexity on unseen text and what was written."""
    az.seed(0)
    text = Text(load_text())
    split = int(0.95 * len(text.tokens))
    training, unseen = text.tokens[:split], text.tokens[split:]
    net = GPT(len(text.characters), context, **sizes)
    net.settle_shapes(jax.ShapeDtypeStruct((1, context), "int32"))
    count = sum(parameter.size for parameter in net.parameters())
    report(f"{len(text.tokens):,} characters, {len(text.characters)} different ones")
    report(f"{count:,} parameters; the embedding is the output layer as well")
    train(net, training, steps=steps, report=report)
    reached = perplexity(net, unseen, context)
    report(f"perplexity on unseen text: {reached:.2f} (goal: below {GOAL})")
    prompt = "The "
    sample = prompt + text.decode(write(net, text.encode(prompt), length))
    report(f"it writes:\n\n{sample}\n")
    return reached, sample


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    main(steps=parser.parse_args().steps)
