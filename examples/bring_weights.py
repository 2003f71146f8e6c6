"""Bring trained weights: four networks from MXNet and PyTorch go on reading digits here.

In `examples/weights/` are the files that MXNet 1.9.1 (`net.save_parameters`) and PyTorch 2.13
(`torch.save(net.state_dict(), …)`) wrote when they had trained a LeNet and a small ResNet on the
scans of scikit-learn. Neither of them is needed to read the files. Run

    python -m examples.bring_weights

and read along: each chapter declares a network, says how the names of the file become its own, and
counts how many of the 360 scans that no network was trained on are read.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from rich import box
from rich.console import Console
from rich.table import Table

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import rename_tables
from ansatz.train import accuracy
from examples.lenet import read_data
from examples.resnet import BasicBlock

WEIGHTS = Path(__file__).parent / "weights"

# No network here is told how many channels come in: the files say it.


def gluon_lenet():
    """The same layers in the same order as in Gluon, so the parameters have the same names.

    Images have their channels first here as they have them there. For convolutions that makes no
    difference, whose weights are stored in one layout; but the first dense layer learned which
    number comes from where, and `Flatten` lines them up in the order of the layout.
    """
    return nn.Sequential(
        nn.Conv2D(8, 3, padding=1, activation="relu", layout="NCHW"),
        nn.MaxPool2D(2, layout="NCHW"),
        nn.Conv2D(16, 3, padding=1, activation="relu", layout="NCHW"),
        nn.MaxPool2D(2, layout="NCHW"),
        nn.Flatten(),
        nn.Dense(64, activation="relu"),
        nn.Dense(32, activation="relu"),
        nn.Dense(10),
    )


def torch_lenet():
    """The same in PyTorch's spelling, where channels come first and ReLU is a layer of its own."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


class GluonBlock(nn.Module):
    """`BasicBlockV1` of Gluon's model zoo."""

    def __init__(self, channels, stride=1):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2D(channels, 3, stride, padding=1, use_bias=False),
            nn.BatchNorm(),
            nn.ReLU(),
            nn.Conv2D(channels, 3, padding=1, use_bias=False),
            nn.BatchNorm(),
        )
        self.downsample = None
        if stride != 1:
            shortcut = nn.Conv2D(channels, 1, stride, use_bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm())

    def forward(self, x):
        return jax.nn.relu(self.body(x) + (x if self.downsample is None else self.downsample(x)))


class GluonResNet(nn.Module):
    """`ResNetV1` of Gluon's model zoo, for small images; channels may just as well be last."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2D(8, 3, padding=1, use_bias=False),
            nn.Sequential(GluonBlock(8)),
            nn.Sequential(GluonBlock(16, stride=2)),
            nn.GlobalAvgPool2D(keepdims=False),
        )
        self.output = nn.Dense(10)

    def forward(self, x):
        return self.output(self.features(x))


class TorchResNet(nn.Module):
    """The small sister of `examples/resnet.py`, with torchvision's names."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2D(8, 3, padding=1, use_bias=False)
        self.bn1 = nn.BatchNorm()
        self.layer1 = nn.Sequential(BasicBlock(8))
        self.layer2 = nn.Sequential(BasicBlock(16, stride=2, downsample=True))
        self.avgpool = nn.GlobalAvgPool2D(keepdims=False)
        self.fc = nn.Dense(10)

    def forward(self, x):
        x = jax.nn.relu(self.bn1(self.conv1(x)))
        return self.fc(self.avgpool(self.layer2(self.layer1(x))))


CHAPTERS = {
    "lenet.params": (
        gluon_lenet,
        None,
        "A LeNet of MXNet. Gluon calls the parameters of a Sequential `0.weight`, `0.bias`, … as "
        "Ansatz does, so there is nothing to say.",
    ),
    "resnet.params": (
        GluonResNet,
        rename_tables.GLUONCV,
        "A ResNet of MXNet's model zoo. Gluon says gamma and beta where PyTorch and Ansatz say "
        "weight and bias; rename_tables.GLUONCV knows that.",
    ),
    "lenet.pt": (
        torch_lenet,
        None,
        "A LeNet of PyTorch. The pickle in the file is interpreted, and nothing in it is run.",
    ),
    "resnet.pt": (
        TorchResNet,
        None,
        "A ResNet of PyTorch, with running statistics. Names and layouts are Ansatz's own.",
    ),
}
"""For each file: the network, the renaming, and what there is to say."""


def loaded(name):
    """The network that belongs to a file, with the weights that are in it."""
    declare, rename, _ = CHAPTERS[name]
    net = declare().eval()
    net.load(WEIGHTS / name, rename=rename)
    return net


def answers(net, images):
    """Logits for images whose channels are last, whatever the network wants."""
    channels_first = isinstance(net, nn.Sequential)
    return az.jit(net)(jnp.moveaxis(images, -1, 1) if channels_first else images)


def main(console):
    """Tell the whole story; returns how many of the test scans each network reads."""
    _, x_test, _, y_test = read_data()
    nets, right = {}, {}
    for number, (name, (declare, rename, told)) in enumerate(CHAPTERS.items(), 1):
        console.print()
        console.rule(f"[bold]{number}  {name}")
        console.print(f"\n{told}\n")
        plan = declare().plan_load(WEIGHTS / name, rename=rename)
        console.print(repr(plan), markup=False)
        nets[name] = net = loaded(name)
        right[name] = round(float(accuracy(answers(net, x_test), y_test)) * len(y_test))
    table = Table("file", "network", "parameters", "test scans read", box=box.SIMPLE_HEAD)
    for name, count in right.items():
        net = nets[name]
        size = sum(cell.value.size for _, cell in net.named_parameters())
        table.add_row(
            name,
            type(net).__name__,
            f"{size:,}",
            f"{count} of {len(y_test)}, {count / len(y_test):.1%}",
        )
    console.print()
    console.rule("[bold]What they read, without any training here")
    console.print(table)
    console.print("To go on in another format:")
    console.print(
        '    convert("resnet.params", "resnet.safetensors", rename=rename_tables.GLUONCV)'
    )
    return right


if __name__ == "__main__":
    screen = Console(highlight=False)
    if not screen.is_terminal:
        screen.width = 120  # A file has no edge, but lines should have an end.
    main(screen)
