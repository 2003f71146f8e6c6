"""Makes `fixtures/activations.safetensors` with PyTorch.

Run `python -m tests.parity.make_activations`.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tests.parity.recording import Recorder

LAYERS = {
    "CELU": nn.CELU(),
    "CELU 2": nn.CELU(2.0),
    "ELU": nn.ELU(),
    "ELU 0.5": nn.ELU(0.5),
    "GELU": nn.GELU(),
    "GELU tanh": nn.GELU("tanh"),
    "GLU": nn.GLU(),
    "GLU 0": nn.GLU(0),
    "HardShrink": nn.Hardshrink(),
    "HardShrink 1": nn.Hardshrink(1.0),
    "HardSigmoid": nn.Hardsigmoid(),
    "HardSwish": nn.Hardswish(),
    "HardTanh": nn.Hardtanh(),
    "HardTanh -2 0.5": nn.Hardtanh(-2.0, 0.5),
    "LeakyReLU": nn.LeakyReLU(),
    "LeakyReLU 0.2": nn.LeakyReLU(0.2),
    "LogSigmoid": nn.LogSigmoid(),
    "LogSoftmax": nn.LogSoftmax(-1),
    "LogSoftmax 0": nn.LogSoftmax(0),
    "Mish": nn.Mish(),
    "PReLU": nn.PReLU(),
    "RReLU": nn.RReLU(0.1, 0.4).eval(),
    "ReLU": nn.ReLU(),
    "ReLU6": nn.ReLU6(),
    "SELU": nn.SELU(),
    "SiLU": nn.SiLU(),
    "Sigmoid": nn.Sigmoid(),
    "SoftShrink": nn.Softshrink(),
    "SoftShrink 1": nn.Softshrink(1.0),
    "Softmax": nn.Softmax(-1),
    "Softmax 0": nn.Softmax(0),
    "Softmin": nn.Softmin(-1),
    "Softplus": nn.Softplus(),
    "Softplus 2": nn.Softplus(2.0),
    "Softsign": nn.Softsign(),
    "Swish 1.5": lambda x: x * torch.sigmoid(1.5 * x),
    "Tanh": nn.Tanh(),
    "TanhShrink": nn.Tanhshrink(),
    "Threshold": nn.Threshold(0.5, -2.0),
    "SwiGLU": lambda x: x.chunk(2, -1)[0] * F.silu(x.chunk(2, -1)[1]),
    "GeGLU": lambda x: x.chunk(2, -1)[0] * F.gelu(x.chunk(2, -1)[1]),
    "ReGLU": lambda x: x.chunk(2, -1)[0] * F.relu(x.chunk(2, -1)[1]),
}
# The kinks: PyTorch's choice of a derivative where there are two.
KINKS = {
    "ELU": [0.0],
    "HardShrink": [-0.5, 0.5],
    "HardSigmoid": [-3.0, 3.0],
    "HardSwish": [-3.0, 3.0],
    "HardTanh": [-1.0, 1.0],
    "LeakyReLU": [0.0],
    "ReLU": [0.0],
    "ReLU6": [0.0, 6.0],
    "SoftShrink": [-0.5, 0.5],
    "Threshold": [0.5],
}

if __name__ == "__main__":
    recorder = Recorder("activations")
    for name, layer in LAYERS.items():
        recorder.record(name, layer, 3 * torch.randn(2, 8))
    for name, places in KINKS.items():
        recorder.record(f"{name} at kinks", LAYERS[name], torch.tensor(places))
    channels = nn.PReLU(8)
    with torch.no_grad():
        channels.weight.copy_(torch.rand(8))
    recorder.record("PReLU 8", channels, torch.randn(4, 8))
    channels = nn.PReLU(3)
    with torch.no_grad():
        channels.weight.copy_(torch.rand(3))
    recorder.record("PReLU 3 in the second axis", channels, torch.randn(2, 3, 4))
    recorder.save()
