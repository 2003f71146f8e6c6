"""ResNet-18 computes what the same network in PyTorch computes, from a state dict by name."""

from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors import safe_open

import ansatz as az
from examples.resnet import ResNet18
from tests.examples.weights import images, weights_by_name

FIXTURE = Path(__file__).parent / "fixtures" / "resnet18.safetensors"
SHAPE = (2, 64, 64, 3)


@pytest.fixture(scope="module")
def stored():
    with safe_open(FIXTURE, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, file.metadata()["names"].split()


@pytest.fixture(scope="module")
def net():
    net = ResNet18(classes=10).eval()
    net.settle_shapes(jax.ShapeDtypeStruct(SHAPE, "float32"))
    return net


def shapes_of(net):
    cells = {**dict(net.named_parameters()), **dict(net.named_states())}
    return {path: cell.shape for path, cell in cells.items()}


def test_names_are_those_of_the_state_dict_in_pytorch(net, stored):
    assert set(shapes_of(net)) == set(stored[1])


def test_logits_and_all_stages_are_those_of_pytorch(net, stored):
    expected, _ = stored
    net.load_state_dict(weights_by_name(shapes_of(net)), cast=True)

    @az.jit
    def run(net, x):
        return net(x), [stage.mean(-1) for stage in net.features(x)]

    logits, stages = run(net, images(SHAPE))
    for number, stage in enumerate(stages, 1):
        wanted = expected[f"layer{number}"]
        np.testing.assert_allclose(stage, wanted, rtol=1e-4, atol=1e-4 * abs(wanted).max())
    wanted = expected["logits"]
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4 * abs(wanted).max())


def test_names_are_those_of_torchvisions_checkpoints(net):
    names = set(shapes_of(net))
    assert len(names) == 122
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "fc.bias"} <= names
    assert {"layer2.0.downsample.0.weight", "layer4.0.downsample.1.bias"} <= names
    assert not any("layer1.0.downsample" in name for name in names)
