"""Teach a network that reads upright digits to read them lying on their side, with 4 % of its size.

The data are 1,797 scans of 8x8 pixels that come with scikit-learn, so nothing is downloaded. Run

    python -m examples.lora

A network is trained on upright scans. Then low-rank adapters are put on its weights, and trained,
alone, on scans that were turned by a quarter. They are saved to a small file, taken off again, put
on a fresh copy of the network, and merged into its weights.
"""

import tempfile
from pathlib import Path

import numpy as np
import optax
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import ansatz as az
from ansatz import nn
from ansatz.train import accuracy, batches

WIDTH, RANK, ALPHA = 256, 4, 8
BATCH_SIZE, EPOCHS = 64, 20


def build():
    """Four dense layers, of which nobody says how wide their input is."""
    return nn.Sequential(
        nn.Dense(WIDTH, activation="relu"),
        nn.Dense(WIDTH, activation="relu"),
        nn.Dense(WIDTH, activation="relu"),
        nn.Dense(10),
    )


def read_data():
    """Upright scans and the same scans turned by a quarter, each to train on and to test with."""
    digits = load_digits()
    upright, y = (digits.images / 16).astype(np.float32), digits.target.astype(np.int32)
    train, test = train_test_split(np.arange(len(y)), test_size=360, stratify=y, random_state=0)
    turned = np.rot90(upright, axes=(1, 2))
    flat = [np.ascontiguousarray(scans).reshape(len(y), -1) for scans in (upright, turned)]
    return [((x[train], y[train]), (x[test], y[test])) for x in flat]


def train(net, data, learning_rate, seed):
    """Train whatever is not frozen."""
    stream = batches(*data, BATCH_SIZE, seed=seed, drop_last=True)
    schedule = optax.cosine_decay_schedule(learning_rate, EPOCHS * len(stream))
    trainer = az.Trainer(net, optax.adam(schedule), nn.softmax_cross_entropy)
    trainer.fit(stream, epochs=EPOCHS, progress=False)


class Report:
    """A table with a row for each station: what was trained, and how well both kinds are read."""

    def __init__(self, upright, turned):
        self.tests = upright, turned
        self.rows = {}
        self.table = Table(box=box.SIMPLE_HEAD)
        self.table.add_column("network")
        for title in ("parameters", "trainable", "upright", "turned"):
            self.table.add_column(title, justify="right")

    def add(self, name, net):
        parameters = net.collect_params().values()
        total = sum(p.size for p in parameters)
        trainable = sum(p.size for p in parameters if p.trainable)
        read = az.jit(net)
        scores = [float(accuracy(read(x), y)) for x, y in self.tests]
        self.rows[name] = (total, trainable, *scores)
        self.table.add_row(
            name,
            f"{total:,}",
            f"{trainable:,} ({trainable / total:.1%})",
            *(f"{score:.3f}" for score in scores),
        )


def main(console, folder):
    """Run the whole story; returns the rows of the table by name."""
    (upright, upright_test), (turned, turned_test) = read_data()
    report = Report(upright_test, turned_test)
    whole, small = Path(folder) / "digits.safetensors", Path(folder) / "turned.safetensors"

    net = build()
    net.initialize(seed=0)
    train(net, upright, 2e-3, seed=0)
    net.save(whole)
    report.add("trained on upright scans", net)

    az.lora(net, nn.Dense, rank=RANK, alpha=ALPHA)
    console.print(net)
    report.add("with new adapters", net)
    train(net, turned, 1e-2, seed=1)
    net.save(small, select="*lora*")
    report.add("adapters trained on turned scans", net)

    az.unparametrize(net, leave_parametrized=False)
    report.add("adapters taken off", net)

    fresh = build()
    fresh.load(whole)
    az.lora(fresh, nn.Dense, rank=RANK, alpha=ALPHA)
    fresh.load(small, select="*lora*")
    report.add("fresh copy, adapters from the file", fresh)
    az.merge(fresh).unfreeze()
    report.add("merged into its weights", fresh)

    console.print(report.table)
    for file, what in ((whole, "the network"), (small, "the adapters")):
        console.print(f"{file.name:<20}  {file.stat().st_size:>9,} bytes  {what}")
    return report.rows


if __name__ == "__main__":
    screen = Console(highlight=False)
    if not screen.is_terminal:
        screen.width = 120  # A file has no edge, but lines should have an end.
    with tempfile.TemporaryDirectory() as temporary:
        main(screen, temporary)
