"""An LSTM learns to write like Python's manual, one character after the other.

The table that turns a character into a vector is also the last layer, which tells how well each
character would fit next: one weight, one gradient. Run

    python -m examples.lstm_text

for some text that nobody wrote. In less than two minutes on two cores, the perplexity on a part of
the manual that it has not seen falls below 4: it hesitates as if between four characters.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

import ansatz as az
from ansatz import init, nn
from ansatz.train import batches
from examples.text import load_text

HIDDEN, STEPS, BATCH_SIZE, EPOCHS, LEARNING_RATE = 256, 64, 32, 8, 4e-3


class Writer(nn.Module):
    """Characters in, for each the logits of the next one out."""

    def __init__(self, characters, hidden=HIDDEN):
        super().__init__()
        self.embed = nn.Embedding(characters, hidden, weight_init=init.Normal(0.1))
        self.lstm = nn.LSTM(hidden)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        logits, _ = self.read(x)
        return logits

    def read(self, x, state=None):
        """Go on from a state; returns the logits and the new state."""
        y, state = self.lstm(self.embed(x), state)
        return self.embed.attend(self.dropout(y)), state


def windows(codes, steps, start=0):
    """The text cut into pieces, and for each of its characters the one that follows."""
    count = (len(codes) - start - 1) // steps
    x, y = (codes[first : first + count * steps] for first in (start, start + 1))
    return x.reshape(count, steps), y.reshape(count, steps)


def train(net, training, validation, *, epochs, steps=STEPS, batch_size=BATCH_SIZE):
    """Train, and return for each epoch the loss on both parts of the text."""

    def epoch(number):
        # The pieces begin elsewhere in each epoch, so a character is not always the first.
        start = int(np.random.default_rng(number).integers(steps))
        return batches(*windows(training, steps, start), batch_size, seed=number, drop_last=True)

    total = epochs * len(epoch(0))
    schedule = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, total // 20, total, 1e-5)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    trainer = az.Trainer(net, optimizer, nn.softmax_cross_entropy)
    # Longer pieces, so that little of the text is read without what stands before it.
    held_out = batches(*windows(validation, 8 * steps), batch_size, shuffle=False)
    return trainer.fit(epoch, epochs=epochs, validate=held_out)


def write(net, prompt, length, *, temperature=0.7, seed=0):
    """Codes that go on after `prompt`, drawn one at a time."""
    logits, state = net.eval().read(jnp.asarray(prompt)[None])

    def one(carry, key):
        logits, state = carry
        code = jax.random.categorical(key, logits / temperature)
        logits, state = net.read(code[:, None], state)
        return (logits[:, -1], state), code[0]

    keys = jax.random.split(jax.random.key(seed), length)
    _, codes = az.jit(lambda carry: az.scan(one, carry, keys))((logits[:, -1], state))
    return np.asarray(codes)


def main(console, *, characters=None, epochs=EPOCHS, hidden=HIDDEN):
    """Train on the first `characters` of the text; returns the perplexity on its last tenth."""
    az.seed(0)
    text = load_text()[:characters]
    alphabet = np.array(sorted(set(text)))
    codes = np.searchsorted(alphabet, np.array(list(text))).astype(np.int32)
    border = len(codes) * 9 // 10
    training, validation = codes[:border], codes[border:]
    console.print(
        f"{len(text):,} characters, {len(alphabet)} different ones; the last {len(validation):,} "
        "are held out."
    )
    net = Writer(len(alphabet), hidden)
    net.settle_shapes(jax.ShapeDtypeStruct((1, 1), "int32"))
    console.print(net.summary())
    history = train(net, training, validation, epochs=epochs)
    console.print(history)
    perplexity = math.exp(history[-1].validation["loss"])
    console.print(
        f"After {history.seconds:.0f} seconds the perplexity on the held-out text is "
        f"[bold]{perplexity:.2f}[/] (guessing: {len(alphabet)})."
    )
    prompt = "The statement "
    written = write(net, np.searchsorted(alphabet, list(prompt)), 400)
    sample = prompt + "".join(alphabet[written])
    console.print(Panel(Text(sample), title="written by the network"))
    return perplexity


if __name__ == "__main__":
    main(Console(highlight=False))
