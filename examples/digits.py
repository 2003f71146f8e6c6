"""Learn to read handwritten digits, and watch what becomes of every parameter on the way.

The data are 1,797 scans of 8x8 pixels that come with scikit-learn, so nothing is downloaded. Run

    python -m examples.digits

and read along: each chapter below prints what it does.
"""

import copy
import functools
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import ansatz as az
from ansatz import init, nn
from ansatz.train import History, accuracy, batches

# Chosen by cross-validation within the training scans.
EPOCHS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 40, 64, 3e-3, 5e-2

loss = functools.partial(nn.softmax_cross_entropy, label_smoothing=0.1)


class Reader(nn.Module):
    """Four dense layers. None of them is told how wide its input is."""

    def __init__(self):
        super().__init__()
        self.look = nn.Dense(256, activation="relu")
        self.norm = nn.BatchNorm()
        self.ponder = nn.Dense(256, activation="relu")
        self.ponder_again = nn.Dense(256, activation="relu")
        self.dropout = nn.Dropout(0.5)
        self.answer = nn.Dense(10)

    def forward(self, x):
        x = self.norm(self.look(x))
        x = x + self.ponder(x)
        x = x + self.ponder_again(x)
        return self.answer(self.dropout(x))


def read_data(console):
    """Three parts: one to train on, one to choose by, and one that is opened once, at the end."""
    digits = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target.astype(np.int32)
    rest, test = train_test_split(np.arange(len(x)), test_size=360, stratify=y, random_state=0)
    train, validation = train_test_split(rest, test_size=140, stratify=y[rest], random_state=0)
    console.print(
        f"{len(x):,} scans: {len(train):,} to train on, {len(validation)} to watch the training by,"
        f" {len(test)} to test with at the very end."
    )
    console.print(Columns([picture(x[i], f"a {y[i]}") for i in train[:4]], padding=(0, 2)))
    return (x[train], y[train]), (x[validation], y[validation]), (x[test], y[test])


def picture(pixels, caption, style=""):
    """A scan, drawn with two characters to the pixel."""
    shades = " ░▒▓█"
    rows = np.round(pixels.reshape(8, 8) * (len(shades) - 1)).astype(int)
    drawn = "\n".join("".join(2 * shades[shade] for shade in row) for row in rows)
    return Panel(Text(drawn), subtitle=caption, box=box.ROUNDED, style=style, expand=False)


def declare(console):
    """The form is written down; what the data have to settle is still `None`."""
    net = Reader()
    console.print(net.summary())
    console.print("\nNobody has said how wide the input is, so there is no weight to read yet:\n")
    try:
        net.look.weight.value  # noqa: B018 (reading it is the point)
    except az.DeferredInitializationError as error:
        console.print(Panel(Text(str(error)), title=type(error).__name__, border_style="red"))
    return net


def settle(console, net, x):
    """One batch tells all shapes. Nothing is computed for that, and nothing is drawn."""
    before = net.look.weight.shape
    net.settle_shapes(x)
    console.print(f"A batch of shape {x.shape} tells the rest:")
    console.print(f"    look.weight {before} -> {net.look.weight.shape}")
    console.print(f"    has it a value by now? {net.look.weight.has_value}")


def initialise(console, net):
    """Rules choose by path or by type of layer; the report says which rule set what."""
    report = net.initialize({"answer.weight": init.Normal(0.01), nn.Dense: init.Kaiming()}, seed=7)
    console.print(Text(repr(report)), soft_wrap=True)


def tie(console, net, x, y):
    """Two layers share one weight, and its gradient is the sum of what both of them want."""
    az.tie(net, "ponder.weight", "ponder_again.weight")
    console.print(f"one object? {net.ponder.weight is net.ponder_again.weight}")

    apart = copy.deepcopy(net)
    az.untie(apart, "ponder_again.weight")
    # In evaluation mode there is no dropout, so the two networks compute the same.
    gradients, gradients_apart = (
        az.grad(lambda net: loss(net(x), y))(each.eval()) for each in (net, apart)
    )
    net.train()
    tied = gradients["ponder.weight"]
    first, second = (gradients_apart[f"{name}.weight"] for name in ("ponder", "ponder_again"))

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("gradient of")
    table.add_column("norm", justify="right")
    for name, gradient in (
        ("ponder.weight alone", first),
        ("ponder_again.weight alone", second),
        ("their sum", first + second),
        ("the tied weight", tied),
    ):
        table.add_row(name, f"{jnp.linalg.norm(gradient):.6f}")
    console.print(table)
    np.testing.assert_allclose(tied, first + second, rtol=1e-4, atol=1e-6)


def edit(console, net, x):
    """Some pixels are blank in every scan to train on: their weights have nothing to learn."""
    blank = np.flatnonzero((x == 0).all(axis=0))
    net.look.weight.data[:, blank] = 0
    console.print(f"net.look.weight.data[:, {blank.tolist()}] = 0")
    console.print(f"    origin: {net.look.weight.origin}")


def train(console, net, training, validation):
    """Everything that changes in a step changes in one compiled call."""
    data = batches(*training, BATCH_SIZE, seed=0, drop_last=True)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            optax.cosine_decay_schedule(LEARNING_RATE, EPOCHS * len(data)),
            weight_decay=WEIGHT_DECAY,
            # Masks are functions of paths: no decay for biases and norms.
            mask=lambda params: {path: value.ndim > 1 for path, value in params.items()},
        ),
    )
    trainer = az.Trainer(net, optimizer, loss)
    history = trainer.fit(
        data, epochs=EPOCHS, validate=[validation], metrics={"accuracy": accuracy}
    )
    shown = [epoch for epoch in history if epoch.number == 1 or epoch.number % 8 == 0]
    console.print(f"every eighth of {len(history)} epochs:")
    console.print(History(shown))
    console.print(
        f"{sum(epoch.steps for epoch in history):,} steps in {history.seconds:.1f} seconds, "
        "compilation included"
    )


def freeze(console, net, training):
    """What is frozen has no gradient, no update and no optimizer state."""
    net.freeze("look.*").freeze("norm.*")
    net.norm.eval()  # Its running statistics stay what they are as well.
    before = net.state_dict()
    trainer = az.Trainer(net, optax.sgd(1e-3, momentum=0.9), loss)
    trainer.fit(batches(*training, BATCH_SIZE, seed=1, drop_last=True), epochs=3)
    trace, _ = trainer.optimizer_state
    console.print(f"momentum is kept for: {', '.join(trace.trace)}")
    for path, value in net.state_dict().items():
        if path.endswith("weight"):
            moved = float(jnp.abs(value - before[path]).max())
            console.print(f"    {path:<14} moved by at most {moved:.2g}")
    net.unfreeze()


def save_and_load(console, net, test, folder):
    """A fresh network takes all values from a file, and gives the same answers to the last bit."""
    file = Path(folder) / "digits.safetensors"
    net.save(file)
    fresh = Reader()
    az.tie(fresh, "ponder.weight", "ponder_again.weight")
    fresh.load(file)
    x, y = test
    # The first and only time that the test scans are used.
    logits, again = (az.jit(each.eval())(x) for each in (net, fresh))
    reached, reached_again = float(accuracy(logits, y)), float(accuracy(again, y))
    console.print(f"{file.name}: {file.stat().st_size:,} bytes")
    console.print(f"test accuracy                     [bold]{reached:.4f}[/]")
    console.print(f"test accuracy of the loaded one   [bold]{reached_again:.4f}[/]")
    console.print(f"all logits equal, bit for bit?    {bool((logits == again).all())}")
    console.print(f"the origin of its first weight    {fresh.look.weight.origin}")
    return logits, again


def show_predictions(console, x, y, logits):
    """The scans that the network is least sure of, right or wrong."""
    probabilities = np.asarray(jax.nn.softmax(logits))
    guesses = probabilities.argmax(axis=1)
    doubtful = np.argsort(probabilities[np.arange(len(y)), y])[:4]
    console.print("The four test scans that it finds hardest:")
    console.print(
        Columns(
            [
                picture(
                    x[i],
                    f"{guesses[i]} at {probabilities[i].max():.0%}"
                    + ("" if guesses[i] == y[i] else f", is {y[i]}"),
                    "green" if guesses[i] == y[i] else "red",
                )
                for i in doubtful
            ],
            padding=(0, 2),
        )
    )


def main(console, folder):
    """Tell the whole story; returns the test accuracy of the network and of its loaded copy."""

    def chapter(number, title):
        console.print()
        console.rule(f"[bold]{number}  {title}")
        console.print()

    az.seed(0)
    chapter(1, "The scans")
    training, validation, test = read_data(console)
    first_batch = next(iter(batches(*training, BATCH_SIZE, shuffle=False)))
    chapter(2, "A network is declared, without its input size")
    net = declare(console)
    chapter(3, "The first batch settles the shapes")
    settle(console, net, first_batch[0])
    chapter(4, "Rules initialise")
    initialise(console, net)
    chapter(5, "Two layers are tied, and their gradients add up")
    tie(console, net, *first_batch)
    chapter(6, "A weight is edited in place")
    edit(console, net, training[0])
    chapter(7, "Training")
    train(console, net, training, validation)
    chapter(8, "A layer is frozen, the others train on")
    freeze(console, net, training)
    chapter(9, "Saved, and loaded into a fresh network")
    logits, again = save_and_load(console, net, test, folder)
    show_predictions(console, *test, logits)
    chapter(10, "What became of every parameter")
    console.print(net.summary())
    return float(accuracy(logits, test[1])), float(accuracy(again, test[1]))


if __name__ == "__main__":
    screen = Console(highlight=False)
    if not screen.is_terminal:
        screen.width = 120  # A file has no edge, but lines should have an end.
    with tempfile.TemporaryDirectory() as temporary:
        main(screen, temporary)
