"""Train small networks with MXNet and with PyTorch, and keep their own weight files.

    python tests/formats/make_trained.py digits.npz    # where PyTorch and scikit-learn are
    python tests/formats/make_trained.py digits.npz    # then where MXNet 1.9.1 is

Each writes a LeNet and a small ResNet to `examples/weights/`, the weights as the framework itself
saves them, and what the networks answer to some test scans to `trained_*.expected.npz` here. The
first run also puts the scans into `digits.npz`, for there is no scikit-learn where MXNet is.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
WEIGHTS = HERE.parents[1] / "examples" / "weights"
EPOCHS, BATCH, SHOWN = 24, 64, 16

Digits = dict[str, np.ndarray]


def write_digits(path: str) -> None:
    """The same scans and the same split as in `examples/lenet.py`; the images are NCHW."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x, y = (digits.images[:, None] / 16).astype(np.float32), digits.target.astype(np.int32)
    split = train_test_split(x, y, test_size=360, stratify=y, random_state=0)
    np.savez(path, **dict(zip(("x", "x_test", "y", "y_test"), split, strict=True)))


def batches_of(digits: Digits) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    chance = np.random.default_rng(0)
    for _ in range(EPOCHS):
        order = chance.permutation(len(digits["x"]))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield digits["x"][chosen], digits["y"][chosen]


def keep(framework: str, digits: Digits, answers: dict[str, Callable]) -> None:
    x, y = digits["x_test"], digits["y_test"]
    expected = {"input": x[:SHOWN]}
    for name, answer in answers.items():
        logits = answer(x)
        expected[name] = logits[:SHOWN]
        expected[f"{name}_right"] = np.sum(logits.argmax(1) == y)
        print(f"{framework} {name}: {np.mean(logits.argmax(1) == y):.4f} of the test scans")
    np.savez(HERE / f"trained_{framework}.expected.npz", **expected)


# -- PyTorch --------------------------------------------------------------------------------------


def with_torch(digits: Digits) -> None:
    import torch
    from torch import nn

    class Block(nn.Module):
        """torchvision's BasicBlock."""

        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.downsample = None
            if stride != 1:
                shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(8)
            self.layer1 = nn.Sequential(Block(8, 8, 1))
            self.layer2 = nn.Sequential(Block(8, 16, 2))
            self.fc = nn.Linear(16, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.layer2(self.layer1(self.bn1(self.conv1(x)).relu()))
            return self.fc(x.mean((2, 3)))

    torch.manual_seed(0)
    lenet = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()),
        nn.Linear(32, 10),
    )
    answers = {}
    for name, net in {"lenet": lenet, "resnet": ResNet()}.items():
        optimizer = torch.optim.Adam(net.parameters(), 3e-3)
        for x, y in batches_of(digits):
            optimizer.zero_grad()
            logits = net(torch.from_numpy(x))
            nn.functional.cross_entropy(logits, torch.from_numpy(y).long()).backward()
            optimizer.step()
        net.eval()
        torch.save(net.state_dict(), WEIGHTS / f"{name}.pt")
        answers[name] = lambda x, net=net: net(torch.from_numpy(x)).detach().numpy()
    keep("torch", digits, answers)


# -- MXNet ----------------------------------------------------------------------------------------


def with_mxnet(digits: Digits) -> None:
    np.bool = bool  # MXNet 1.9.1 asks for names that NumPy has given up.
    import mxnet as mx
    from mxnet import gluon
    from mxnet.gluon.model_zoo import vision

    mx.random.seed(0)
    np.random.seed(0)
    lenet = gluon.nn.HybridSequential()
    lenet.add(
        *(gluon.nn.Conv2D(8, 3, padding=1, activation="relu"), gluon.nn.MaxPool2D(2)),
        *(gluon.nn.Conv2D(16, 3, padding=1, activation="relu"), gluon.nn.MaxPool2D(2)),
        *(gluon.nn.Flatten(), gluon.nn.Dense(64, activation="relu")),
        *(gluon.nn.Dense(32, activation="relu"), gluon.nn.Dense(10)),
    )
    # Gluon's own class, with blocks and channels for small images.
    resnet = vision.ResNetV1(vision.BasicBlockV1, [1, 1], [8, 8, 16], classes=10, thumbnail=True)
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    answers = {}
    for name, net in {"lenet": lenet, "resnet": resnet}.items():
        net.initialize(mx.init.Xavier())
        net.hybridize()
        trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 3e-3})
        for x, y in batches_of(digits):
            with mx.autograd.record():
                lost = loss(net(mx.nd.array(x)), mx.nd.array(y))
            lost.backward()
            trainer.step(len(x))
        net.save_parameters(str(WEIGHTS / f"{name}.params"))
        answers[name] = lambda x, net=net: net(mx.nd.array(x)).asnumpy()
    keep("mxnet", digits, answers)


if __name__ == "__main__":
    WEIGHTS.mkdir(exist_ok=True)
    if importlib.util.find_spec("mxnet"):
        with_mxnet(dict(np.load(sys.argv[1])))
    else:
        write_digits(sys.argv[1])
        with_torch(dict(np.load(sys.argv[1])))
