"""Makes `fixtures/init.safetensors` with PyTorch: `python -m tests.parity.make_init`."""

import numpy as np
import torch
from torch.nn import init

from tests.parity.recording import Recorder

GAINS = ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
         "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]  # fmt: skip
DIRAC = [((4, 3, 3), 1), ((3, 5, 4), 1), ((6, 2, 3), 3), ((4, 4, 3, 2), 1), ((6, 3, 3, 3), 2),
         ((3, 2, 3, 1, 2), 1), ((2, 1, 2, 3, 3), 2)]  # fmt: skip
DRAWN = {
    "xavier_uniform_": {"gain": 2.0},
    "xavier_normal_": {"gain": 2.0},
    "kaiming_uniform_": {"a": 0.5, "mode": "fan_out"},
    "kaiming_normal_": {"nonlinearity": "tanh"},
    "trunc_normal_": {"mean": 0.3, "std": 0.5, "a": -0.5, "b": 0.6},
    "orthogonal_": {"gain": 2.0},
    "sparse_": {"sparsity": 0.33, "std": 0.5},
}

if __name__ == "__main__":
    recorder = Recorder("init")
    arrays = recorder.arrays
    for name in GAINS:
        arrays[f"gain/{name}"] = np.array([init.calculate_gain(name)])
    for slope in (0.0, 0.25, 5.0):
        arrays[f"gain/leaky_relu {slope}"] = np.array([init.calculate_gain("leaky_relu", slope)])
    for shape in ((3, 3), (2, 4), (4, 2)):
        arrays[f"eye/{'x'.join(map(str, shape))}"] = init.eye_(torch.empty(shape)).numpy()
    for shape, groups in DIRAC:
        kernel = init.dirac_(torch.empty(shape), groups)
        arrays[f"dirac/{'x'.join(map(str, shape))}/{groups}"] = kernel.numpy()
    for name, options in DRAWN.items():
        arrays[f"drawn/{name}"] = getattr(init, name)(torch.empty(20, 40), **options).numpy()
    recorder.save()
