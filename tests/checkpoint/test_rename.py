"""Renaming on the way into a network: names, layouts, ready-made tables, and other shapes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import Rule, rename_tables, strip_prefix
from ansatz.checkpoint.rename import renaming
from ansatz.checkpoint.source import from_mapping


def new_names(rename: Any, *names: str) -> list[str | None]:
    function = renaming(rename, names, "the file")
    return [function(name).name for name in names]


@pytest.mark.parametrize(
    ("rename", "name", "expected"),
    [
        ({"h.*.w": "blocks.*.weight"}, "h.3.w", "blocks.3.weight"),
        ({"*.a.*": "*.b.*"}, "x.a.y", "x.b.y"),
        ({"*.a.*": "b.*"}, "x.a.y", "b.x"),
        ({"h.*": None}, "h.1", None),
        ({"h.*": "x", "h.1": "y"}, "h.1", "y"),
        (Rule("h.*", "g.*"), "no", "no"),
        (Rule(re.compile(r"layer(\d+)"), r"layers.\1"), "net.layer12.w", "net.layers.12.w"),
        (Rule(re.compile("^a"), ""), "ab", "b"),
        (Rule("*", None), "x", None),
        (strip_prefix("module."), "module.module.w", "module.w"),
        ([strip_prefix("model."), {"h.*": "g.*"}, str.upper], "model.h.1", "G.1"),
        # A star is only a star: brackets and question marks are letters.
        (Rule("a[0]?", "b"), "a[0]?", "b"),
    ],
)
def test_a_name_is_changed(rename: Any, name: str, expected: str | None) -> None:
    assert new_names(rename, name) == [expected]


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"h.*": "g"}, r"speaks of 'h\.\*', but the file holds no such name; it holds 'w'"),
        ([strip_prefix("w"), {"w": "v"}], "speaks of 'w'.*it holds ''"),
        ({"*": "*.*"}, r"has more \* than the pattern"),
    ],
)
def test_a_renaming_that_cannot_be_meant_is_refused(rename: Any, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        new_names(rename, "w")


def test_what_is_no_renaming_is_explained() -> None:
    with pytest.raises(TypeError, match="a mapping, a function, a Rule or a list of these"):
        new_names([3], "w")


def test_a_rule_turns_axes_before_shapes_are_compared_and_settled() -> None:
    kernel = np.arange(24, dtype="float32").reshape(1, 2, 3, 4)

    class Convolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = az.Parameter((4, None, 1, 2))

    net = Convolution()
    net.load_state_dict({"kernel": kernel}, rename=Rule("kernel", "weight", transpose=(3, 2, 0, 1)))
    np.testing.assert_array_equal(net.weight.value, kernel.transpose(3, 2, 0, 1))
    with pytest.raises(az.CheckpointError, match=r"the axes \(1, 0\), but its shape is \(1, 2"):
        net.load_state_dict({"w": kernel}, rename=Rule("w", "weight", transpose=(1, 0)))


def test_a_tie_that_a_rule_turns_on_one_side_is_a_transposed_tie(tmp_path: Any) -> None:
    tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    az.tie(tied, "0.weight", "1.weight")
    tied.save(tmp_path / "a.safetensors")
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    net.load(tmp_path / "a.safetensors", rename=Rule("1.weight", transpose=True))
    np.testing.assert_array_equal(net[0].weight.value, tied[0].weight.value)
    np.testing.assert_array_equal(net[1].weight.value, tied[0].weight.value.T)


def test_gpt_2_of_hugging_face_computes_the_same() -> None:
    # Its layers hold (in, out) and compute x @ weight + bias.
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, 9)).astype("f4"), rng.normal(size=9).astype("f4")
    held = {
        "transformer.h.0.attn.c_attn.weight": weight,
        "transformer.h.0.attn.c_attn.bias": bias,
        "transformer.h.0.attn.bias": np.tril(np.ones((1, 1, 4, 4), "f4")),
        "transformer.h.0.attn.masked_bias": np.array(-1e4, "f4"),
    }

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c_attn = nn.Dense(9)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = Attention()

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [Block()]

    net = Model()
    net.load_state_dict(held, rename=[*rename_tables.GPT2, {"h.*": "blocks.*"}])
    x = rng.normal(size=(2, 3)).astype("f4")
    np.testing.assert_allclose(net.blocks[0].attn.c_attn(x), x @ weight + bias, rtol=1e-5)


@pytest.mark.parametrize(
    ("table", "name", "expected"),
    [
        ("BERT", "bert.layer.0.LayerNorm.gamma", "layer.0.LayerNorm.weight"),
        ("BERT", "bert.embeddings.position_ids", None),
        ("BERT", "cls.predictions.bias", "cls.predictions.bias"),
        ("LLAMA", "model.layers.0.self_attn.rotary_emb.inv_freq", None),
        ("LLAMA", "model.layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"),
        ("LLAMA", "lm_head.weight", "lm_head.weight"),
        (
            "TORCHVISION",
            "features.denseblock1.denselayer1.norm.1.weight",
            "features.denseblock1.denselayer1.norm1.weight",
        ),
        ("TORCHVISION", "features.1.conv.1.weight", "features.1.conv.1.weight"),  # MobileNetV2
        ("GLUONCV", "features.0.gamma", "features.0.weight"),
        ("GLUONCV", "resnetv10_batchnorm0_beta", "resnetv10_batchnorm0_bias"),
        ("GLUONCV", "rnn._unfused.1.r_cell.h2h_bias", "rnn.bias_hh_l1_reverse"),  # MXNet 1.9.1
        ("GLUONCV", "rnn.l0_i2h_weight", "rnn.weight_ih_l0"),  # MXNet 2.0
        ("GLUONCV", "r1_h2h_weight", "weight_hh_l1_reverse"),
        ("GPT2", "transformer.h.0.attn.c_attn.bias", "h.0.attn.c_attn.bias"),
        ("KERAS", "layers.batch_normalization_2.3", "batch_normalization_2.running_var"),
        ("KERAS", "layers.dense.1", "dense.bias"),
        # Of MobileNetV2, ConvNeXtTiny and a network of small layers, as Keras 3.15 saves them.
        ("KERAS", "layers.depthwise_conv2d_3.0", "depthwise_conv2d_3.weight"),
        ("KERAS", "layers.sequential_1.layers.conv2d_2.0", "sequential_1.conv2d_2.weight"),
        ("KERAS", "layers.conv1d_transpose.0", "conv1d_transpose.weight"),
        ("KERAS", "layers.group_normalization.1", "group_normalization.bias"),
        ("KERAS", "layers.rms_normalization.0", "rms_normalization.weight"),
        # Two kernels in one layer, and a cell: no layer here is like them.
        ("KERAS", "layers.separable_conv2d.0", "separable_conv2d.0"),
        ("KERAS", "layers.lstm.cell.0", "lstm.cell.0"),
        ("FLAX", "params.block.Dense_0.kernel", "block.Dense_0.weight"),
        ("FLAX", "params.kernel", "weight"),
        ("FLAX", "params.stem.kernel", "stem.weight"),
        ("FLAX", "params.RMSNorm_0.scale", "RMSNorm_0.weight"),
        ("FLAX", "params.Embed_0.embedding", "Embed_0.weight"),
        ("FLAX", "params.up.ConvTranspose_0.kernel", "up.ConvTranspose_0.kernel"),
        ("FLAX", "batch_stats.BatchNorm_0.var", "BatchNorm_0.running_var"),
    ],
)
def test_a_ready_made_table_knows_the_names(table: str, name: str, expected: str | None) -> None:
    assert new_names(getattr(rename_tables, table), name) == [expected]


@pytest.mark.parametrize(
    ("table", "name", "shape", "turned"),
    [
        ("FLAX", "params.Dense_0.kernel", (8, 3), (3, 8)),
        ("FLAX", "params.Conv_1.kernel", (2, 4, 5), (5, 4, 2)),
        # However the convolution is called, height and width stay in their order.
        ("FLAX", "params.stem.kernel", (7, 6, 3, 4), (4, 3, 7, 6)),
        ("FLAX", "params.Conv_2.kernel", (7, 6, 5, 3, 4), (4, 3, 7, 6, 5)),
        ("KERAS", "layers.conv2d_1.0", (7, 6, 3, 4), (4, 3, 7, 6)),
        ("KERAS", "layers.conv2d_transpose.0", (7, 6, 3, 4), (4, 3, 7, 6)),
        ("KERAS", "layers.depthwise_conv2d.0", (7, 6, 3, 1), (3, 1, 7, 6)),
    ],
)
def test_a_ready_made_table_turns_kernels_of_every_rank(
    table: str, name: str, shape: tuple[int, ...], turned: tuple[int, ...]
) -> None:
    held = np.arange(np.prod(shape)).reshape(shape)
    source = from_mapping({name: held}).renamed(getattr(rename_tables, table))
    (entry,) = source.entries
    assert source.entries[entry].shape == source.read(entry).shape == turned


def test_axes_that_are_not_those_of_the_array_are_refused() -> None:
    for axes in ((-1, -2, ...), (0, 0), (1,), (..., ...)):
        with pytest.raises(az.CheckpointError, match="the axes"):
            from_mapping({"w": np.ones(3)}).renamed(Rule("w", transpose=axes))


def test_a_gluon_network_is_loaded_from_its_own_file() -> None:
    path = Path(__file__).parent.parent / "formats" / "mxnet1_net.params"
    net = nn.Sequential(nn.Identity(), nn.BatchNorm(2), nn.Dense(3))
    plan = net.plan_load(path, rename=[*rename_tables.GLUONCV, Rule("0.*", None)])
    assert plan.ok, plan
    assert plan.commit().missing_keys == []


def test_recurrent_layers_of_gluon_compute_what_they_did_there() -> None:
    path = Path(__file__).parent.parent / "formats" / "mxnet1_recurrent.params"
    net = nn.Sequential(
        nn.LSTM(3, num_layers=2, bidirectional=True, batch_first=False),
        nn.GRU(2, batch_first=False),
        nn.RNN(2, batch_first=False),
        nn.LSTMCell(3),
    )
    net.load(path, rename=rename_tables.GLUONCV)
    with np.load(path.with_suffix(".expected.npz")) as expected:
        y = expected["input"]
        for layer in net[:3]:
            y, _ = layer(y)
        np.testing.assert_allclose(y, expected["output"], atol=1e-6)
        np.testing.assert_allclose(net[3](y[-1])[0], expected["cell"], atol=1e-6)


# -- another shape --------------------------------------------------------------------------------


def trained() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 5))
    net.initialize(seed=0)
    return net


def test_a_head_of_another_shape_is_left_or_drawn_anew_on_request() -> None:
    state = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 7)).state_dict()
    for choice, status in (("skip", "kept"), ("reinitialise", "reinitialised")):
        net = trained()
        before = np.array(net[1].weight.value)
        report = net.load_state_dict(state, on_shape=choice)
        assert report.paths(status) == ["1.weight", "1.bias"]
        assert report.paths("match") == ["0.weight", "0.bias"]
        np.testing.assert_array_equal(net[0].weight.value, state["0.weight"])
        assert net[1].weight.shape == (5, 2)
        assert np.array_equal(net[1].weight.value, before) is (choice == "skip")


def test_a_head_that_waits_for_its_first_use_goes_on_waiting() -> None:
    net = nn.Sequential(nn.Dense(2), nn.Dense(5))
    state = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 7)).state_dict()
    net.load_state_dict(state, on_shape="reinitialise")
    assert not net[1].weight.has_value
    assert net(np.ones((1, 3), "f4")).shape == (1, 5)


def test_another_shape_is_an_error_unless_something_else_is_asked_for() -> None:
    state = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 7)).state_dict()
    with pytest.raises(az.CheckpointError, match=r"\(7, 2\) in the file, \(5, 2\) in the network"):
        trained().load_state_dict(state)
    with pytest.raises(ValueError, match="on_shape is 'error', 'skip' or 'reinitialise'"):
        trained().load_state_dict(state, on_shape="ignore")


def test_a_transposed_convolution_of_flax_under_a_name_of_its_own_can_be_left_out() -> None:
    held = {name: np.ones((3, 3, 2, 4)) for name in ("params.up.kernel", "params.down.kernel")}
    # As the docstring of the table says.
    assert set(from_mapping(held).renamed(rename_tables.FLAX).entries) == {
        "up.weight",
        "down.weight",
    }
    steps = [{"*up.kernel": None}, *rename_tables.FLAX]
    assert set(from_mapping(held).renamed(steps).entries) == {"down.weight"}


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("modul.", r"no name in the state dict begins with 'modul\.'.*did you mean 'module\.'"),
        ("module", r"would begin with a dot, such as '\.weight'; strip 'module\.'"),
    ],
)
def test_a_prefix_that_is_not_there_or_lacks_its_dot_is_refused(prefix: str, message: str) -> None:
    held = {"module.weight": np.ones((2, 2), "float32"), "bias": np.ones(2, "float32")}
    net = nn.Linear(2, 2)
    with pytest.raises(az.CheckpointError, match=message):
        net.load_state_dict(held, rename=strip_prefix(prefix))
    net.load_state_dict(held, rename=[strip_prefix("mod"), strip_prefix("ule.")])
    assert strip_prefix("module.")("submodule.w").name == "submodule.w"


def test_an_array_whose_stored_name_is_dropped_stays_under_its_other_name(tmp_path: Any) -> None:
    tied = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False))
    az.tie(tied, "0.weight", "1.weight", transpose=True)
    tied.initialize(seed=0)
    tied.save(tmp_path / "a.safetensors")
    drop = {"0.weight": None, "1.weight": "head"}
    az.checkpoint.convert(tmp_path / "a.safetensors", tmp_path / "b.npz", rename=drop)
    found = az.checkpoint.load_arrays(tmp_path / "b.npz")
    assert found.keys() == {"head"}
    np.testing.assert_array_equal(found["head"], tied[1].weight.value)
