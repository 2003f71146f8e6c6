"""ResNet-18, with the names that torchvision gives its weights.

    python -m examples.resnet                          # its summary, without drawing a weight
    python -m examples.resnet resnet18.safetensors     # the state dict of torchvision's, by name

Weights keep PyTorch's layout, so a state dict loads with no conversion, while images have their
channels last. Source: He et al. 2016, "Deep residual learning for image recognition", table 1 and
figure 5; as in torchvision, a block that makes images smaller does so in its first convolution.
"""

import sys

import jax

from ansatz import nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to the input or to a 1x1 convolution of it."""

    def __init__(self, channels, stride=1, downsample=False):
        super().__init__()
        self.conv1 = nn.Conv2D(channels, 3, stride, padding=1, use_bias=False)
        self.bn1 = nn.BatchNorm()
        self.conv2 = nn.Conv2D(channels, 3, padding=1, use_bias=False)
        self.bn2 = nn.BatchNorm()
        if downsample:
            shortcut = nn.Conv2D(channels, 1, stride, use_bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm())
        else:
            self.downsample = None

    def forward(self, x):
        y = jax.nn.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return jax.nn.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """Images `(batch, height, width, 3)` to logits `(batch, classes)`.

    `width` is the number of channels of the first layers, 64 in the paper.
    """

    def __init__(self, classes=1000, width=64):
        super().__init__()
        self.conv1 = nn.Conv2D(width, 7, stride=2, padding=3, use_bias=False)
        self.bn1 = nn.BatchNorm()
        self.maxpool = nn.MaxPool2D(3, stride=2, padding=1)
        self.layer1 = self._stage(width, stride=1)
        self.layer2 = self._stage(2 * width, stride=2)
        self.layer3 = self._stage(4 * width, stride=2)
        self.layer4 = self._stage(8 * width, stride=2)
        self.avgpool = nn.GlobalAvgPool2D(keepdims=False)
        self.fc = nn.Dense(classes)

    @staticmethod
    def _stage(channels, stride):
        first = BasicBlock(channels, stride, downsample=stride != 1)
        return nn.Sequential(first, BasicBlock(channels))

    def features(self, x):
        """What each stage gives."""
        x = self.maxpool(jax.nn.relu(self.bn1(self.conv1(x))))
        stages = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            stages.append(x)
        return stages

    def forward(self, x):
        return self.fc(self.avgpool(self.features(x)[-1]))


if __name__ == "__main__":
    net = ResNet18().eval()
    net.settle_shapes(jax.ShapeDtypeStruct((1, 224, 224, 3), "float32"))
    if len(sys.argv) > 1:
        # PyTorch counts batches in int64, which JAX does not have unless it is told to.
        net.load(sys.argv[1], cast=True)
    print(net.summary())
