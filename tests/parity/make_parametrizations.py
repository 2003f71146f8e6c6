"""Makes `fixtures/parametrizations.safetensors`: `python -m tests.parity.make_parametrizations`."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from tests.parity.recording import Recorder

if __name__ == "__main__":
    recorder = Recorder("parametrizations")
    x = torch.randn(4, 5)

    def longer(layer: nn.Module) -> nn.Module:
        """Lengths and directions that no initialisation would have given."""
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(1.5).add_(0.1)
        return layer

    for dim in (0, 1, None):
        layer = longer(weight_norm(nn.Linear(5, 3), dim=dim))
        recorder.record(f"weight norm along {dim}", layer, x)
    recorder.record("spectral norm in training", longer(spectral_norm(nn.Linear(5, 3))), x)
    layer = longer(spectral_norm(nn.Linear(5, 3), n_power_iterations=3, dim=1))
    recorder.record("spectral norm with three steps", layer, x)
    recorder.record("spectral norm in evaluation", longer(spectral_norm(nn.Linear(5, 3))).eval(), x)
    recorder.save()
