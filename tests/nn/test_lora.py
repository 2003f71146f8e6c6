"""Low-rank adapters: `az.lora` and `az.merge`."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), "float32")


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(None, 6)
        self.value = nn.Linear(None, 6)

    def forward(self, x):
        return self.query(x) * self.value(x)


def network():
    return nn.Sequential({"layers": nn.Sequential(Attention(), Attention()), "head": nn.Dense(2)})


def learned(net):
    """Give the adapters values that training could have given."""
    for path, parameter in net.collect_params("*.lora_b").items():
        rng = np.random.default_rng(len(path))
        parameter.value = jnp.asarray(rng.normal(size=parameter.shape), "float32")
    return net


@pytest.mark.parametrize("select", ["*.query", "*.query.weight"])
def test_adapters_go_on_the_selected_layers_and_all_else_is_frozen(select):
    net = az.lora(network(), select, rank=2)
    net(X)
    trainable = {path: p.shape for path, p in net.collect_params().items() if p.trainable}
    assert trainable == {
        "layers.0.query.parametrizations.weight.0.lora_a": (2, 3),
        "layers.0.query.parametrizations.weight.0.lora_b": (6, 2),
        "layers.1.query.parametrizations.weight.0.lora_a": (2, 6),
        "layers.1.query.parametrizations.weight.0.lora_b": (6, 2),
    }


def test_freezing_is_optional_and_spares_earlier_adapters():
    net = az.lora(network(), "*.query", rank=2, freeze=False)
    assert all(p.trainable for p in net.parameters())
    az.lora(net, "*.value", rank=1)
    assert [path.split(".")[-1] for path, p in net.collect_params().items() if p.trainable] == [
        "lora_a",
        "lora_b",
    ] * 4
    net.unfreeze("head.*")
    assert net["head"].weight.trainable


@given(st.integers(1, 3), st.floats(0.5, 8), st.sampled_from(["*.query", nn.Linear, "*"]))
@settings(max_examples=8)
def test_the_function_is_the_same_after_adding_and_after_merging(rank, alpha, select):
    net = network()
    plain = net(X)
    az.lora(net, select, rank=rank, alpha=alpha)
    assert (net(X) == plain).all()
    adapted = learned(net)(X)
    assert not np.allclose(adapted, plain)
    paths = set(az.merge(net).state_dict())
    assert paths == set(network().collect_params())
    assert (net(X) == adapted).all()


def test_the_product_is_scaled_by_alpha_over_rank():
    layer = nn.Linear(3, 2)
    before = np.asarray(layer.weight.value)
    az.lora(layer, "weight", rank=4, alpha=16)
    step = learned(layer).weight.steps[0]
    expected = before + 16 / 4 * np.asarray(step.lora_b.value) @ np.asarray(step.lora_a.value)
    np.testing.assert_allclose(layer.weight.value, expected, rtol=1e-5)


def test_adapters_of_other_weights_than_matrices():
    net = nn.Sequential(nn.Embedding(5, 3), nn.Dense(2))
    az.lora(net, nn.Embedding, rank=1)
    assert net[0].weight.steps[0].lora_a.shape == (1, 3)
    kernel = az.Parameter((4, 3, 2, 2))
    layer = nn.Sequential()
    layer.weight = kernel
    az.lora(layer, "weight", rank=2)
    assert layer.weight.steps[0].lora_a.shape == (2, 12)
    assert layer.weight.value.shape == (4, 3, 2, 2)


def test_the_adapters_are_saved_alone(tmp_path):
    base = network()
    base(X)
    base.save(tmp_path / "base.safetensors")
    net = learned(az.lora(base, "*.query", rank=2))
    y = net(X)
    net.save(tmp_path / "adapters.safetensors", select="*lora*")
    fresh = network()
    fresh.load(tmp_path / "base.safetensors")
    az.lora(fresh, "*.query", rank=2)
    report = fresh.load(tmp_path / "adapters.safetensors", select="*lora*")
    assert sorted(row.path for row in report) == sorted(
        f"layers.{i}.query.parametrizations.weight.0.lora_{x}" for i in range(2) for x in "ab"
    )
    assert (fresh(X) == y).all()


def test_adapters_are_trained_and_nothing_else_moves():
    net = network()
    net(X)
    before = net.state_dict()
    az.lora(net, "*.query", rank=2)
    trainer = az.Trainer(net, optax.adam(0.05), lambda output, y: ((output - y) ** 2).mean())
    losses = [float(trainer.step(X, jnp.ones((4, 2)))) for _ in range(10)]
    assert losses[-1] < losses[0]
    az.unparametrize(net, leave_parametrized=False)
    after = net.state_dict()
    assert all((after[path] == before[path]).all() for path in before)


def test_an_adapter_on_a_normed_weight_is_merged_into_length_and_direction():
    layer = nn.weight_norm(nn.Linear(3, 2))
    learned(az.lora(layer, "weight", rank=1))
    adapted = layer.weight.value
    az.merge(layer)
    assert list(layer.collect_params()) == [
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    np.testing.assert_allclose(layer.weight.value, adapted, rtol=1e-5)


def test_a_tied_weight_has_one_adapter():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    learned(az.lora(net, "1", rank=1))
    assert net[0].weight is net[1].weight
    y = net(X)
    az.merge(net)
    assert net[0].weight is net[1].weight
    assert (net(X) == y).all()


def test_mistakes_are_named():
    net = az.lora(network(), "*.query")
    with pytest.raises(az.StructureError, match="has an adapter already"):
        az.lora(net, "*.query")
    with pytest.raises(ValueError, match="at least 1"):
        az.lora(net, "*.value", rank=0)
    with pytest.raises(az.PathError, match="no parameter with 2"):
        az.lora(net, "*.bias")
    with pytest.raises(az.DeferredInitializationError):
        az.merge(net)
    with pytest.raises(az.PathError, match="computed by LoRA"):
        az.merge(network())
    layer = az.lora(az.parametrize(nn.Linear(3, 2), "weight", jnp.tanh), "weight")
    with pytest.raises(az.StructureError, match="tanh has no right_inverse"):
        az.merge(layer)
    assert isinstance(layer.weight, az.Parametrized)
    with pytest.raises(az.StructureError, match="LoRA"):
        layer.weight.value = jnp.ones((2, 3))
