"""Makes `fixtures/resnet18.safetensors` with PyTorch: `python -m tests.examples.make_resnet`.

The network is built here of PyTorch's own layers, under the names that torchvision gives them.

Weights and images are drawn by name (`weights.py`), so the file holds results alone: the logits,
the mean over the channels of what each stage gives, and all names of the state dict. It needs
torch and safetensors.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from tests.examples.weights import images, weights_by_name

FIXTURE = Path(__file__).parent / "fixtures" / "resnet18.safetensors"
SHAPE = (2, 64, 64, 3)


class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + (self.downsample or nn.Identity())(x)).relu()


class ResNet18(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, classes)

    def forward(self, x):
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


if __name__ == "__main__":
    net = ResNet18(classes=10).eval()
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    drawn = weights_by_name(shapes)
    net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in drawn.items()})
    x = torch.from_numpy(images(SHAPE)).permute(0, 3, 1, 2)
    results = {}
    for number in (1, 2, 3, 4):

        def keep(module, inputs, output, number=number):
            results[f"layer{number}"] = output.mean(1).numpy()

        getattr(net, f"layer{number}").register_forward_hook(keep)
    with torch.no_grad():
        results["logits"] = net(x).numpy()
    FIXTURE.parent.mkdir(exist_ok=True)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in results.items()},
        FIXTURE,
        metadata={
            "made_with": f"torch {torch.__version__}",
            "names": " ".join(shapes),
        },
    )
