"""Makes `fixtures/normalization.safetensors` with PyTorch.

Run `python -m tests.parity.make_normalization`.
"""

import torch
from torch import nn

from tests.parity.recording import Recorder


def scrambled(layer):
    """Weights and biases that are neither one nor zero."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return layer


# Layers whose statistics run along, with the shape of their inputs.
RUNNING = {
    "BatchNorm vectors": (nn.BatchNorm1d(4), (6, 4)),
    "BatchNorm images": (nn.BatchNorm2d(4), (3, 4, 5, 2)),
    "BatchNorm average": (nn.BatchNorm1d(4, momentum=None), (6, 4)),
    "BatchNorm not affine": (nn.BatchNorm1d(4, affine=False), (6, 4)),
    "BatchNorm options": (nn.BatchNorm1d(4, eps=1e-2, momentum=0.3), (6, 4)),
    "BatchNorm volumes": (nn.BatchNorm3d(2), (2, 2, 2, 3, 2)),
    "InstanceNorm running": (nn.InstanceNorm2d(3, track_running_stats=True), (2, 3, 4, 2)),
    "InstanceNorm running affine": (
        nn.InstanceNorm1d(3, affine=True, momentum=0.3, track_running_stats=True),
        (2, 3, 5),
    ),
}
# Layers that do the same in training and in evaluation.
STATELESS = {
    "BatchNorm without statistics": (nn.BatchNorm1d(4, track_running_stats=False), (6, 4)),
    "LayerNorm last": (nn.LayerNorm(5), (4, 3, 5)),
    "LayerNorm two": (nn.LayerNorm((3, 5)), (4, 3, 5)),
    "LayerNorm not affine": (nn.LayerNorm(5, elementwise_affine=False), (4, 3, 5)),
    "LayerNorm no bias": (nn.LayerNorm(5, bias=False), (4, 3, 5)),
    "LayerNorm eps": (nn.LayerNorm(5, eps=1e-1), (4, 3, 5)),
    "RMSNorm last": (nn.RMSNorm(5), (4, 3, 5)),
    "RMSNorm two": (nn.RMSNorm((3, 5)), (4, 3, 5)),
    "RMSNorm not affine": (nn.RMSNorm(5, elementwise_affine=False), (4, 3, 5)),
    "RMSNorm eps": (nn.RMSNorm(5, eps=1e-1), (4, 3, 5)),
    "GroupNorm images": (nn.GroupNorm(2, 6), (2, 6, 4, 3)),
    "GroupNorm vectors": (nn.GroupNorm(2, 6), (4, 6)),
    "GroupNorm not affine": (nn.GroupNorm(3, 6, affine=False), (2, 6, 4)),
    "GroupNorm eps": (nn.GroupNorm(1, 6, eps=1e-1), (2, 6, 4)),
    "InstanceNorm images": (nn.InstanceNorm2d(3), (2, 3, 4, 2)),
    "InstanceNorm affine": (nn.InstanceNorm1d(3, affine=True), (2, 3, 5)),
}

if __name__ == "__main__":
    recorder = Recorder("normalization")
    for name, (layer, shape) in RUNNING.items():
        scrambled(layer)
        for step in range(3):
            recorder.record(f"{name} step {step}", layer, 2 * torch.randn(shape) + 1)
        recorder.record(f"{name} eval", layer.eval(), 2 * torch.randn(shape) + 1)
    for name, (layer, shape) in STATELESS.items():
        recorder.record(name, scrambled(layer), 2 * torch.randn(shape) + 1)
    # A mean far from zero: what sums in half precision, or in one pass, would lose.
    far = torch.randn(8, 32)
    half = (8 * far + 200).half()
    recorder.record("LayerNorm half", nn.LayerNorm(32, elementwise_affine=False), half)
    recorder.record("RMSNorm half", nn.RMSNorm(32, elementwise_affine=False), half)
    recorder.record("BatchNorm half", nn.BatchNorm1d(32, affine=False), half)
    volumes = 2 * torch.randn(2, 2, 2, 3, 2) + 1
    recorder.record("InstanceNorm volumes", scrambled(nn.InstanceNorm3d(2, affine=True)), volumes)
    images = 2 * torch.randn(2, 6, 2)
    recorder.record("LocalResponseNorm", nn.LocalResponseNorm(3), images)
    recorder.record("LocalResponseNorm even", nn.LocalResponseNorm(4, 2.0, 0.6, 1.5), images)
    recorder.record("LocalResponseNorm wide", nn.LocalResponseNorm(15, 0.5), images[:, :3])
    recorder.save()
