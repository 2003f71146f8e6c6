"""GPT-2 with the weights of Hugging Face computes what Hugging Face's computes."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ansatz import nn
from examples.gpt2 import GPT2, GPT2_NAMES, continued, from_state, load_gpt2, translated

STORED = load_file(Path(__file__).parent / "fixtures" / "gpt2.safetensors")
STATE = {name[6:]: array for name, array in STORED.items() if name.startswith("state/")}


@pytest.fixture(scope="module")
def net():
    return from_state(STATE, heads=2)


def test_the_logits_are_equal(net):
    logits = net(STORED["tokens"].astype("int32"))
    np.testing.assert_allclose(logits, STORED["logits"], rtol=1e-4, atol=1e-4)


def test_the_likeliest_continuation_is_equal(net):
    prompt = STORED["continued"][:, :4].astype("int32")
    assert (continued(net, prompt, 7) == STORED["continued"]).all()


def test_the_head_is_the_embedding(net):
    assert net.head.weight is net.embed.weight
    assert net.collect_params().aliases == {"embed.weight": ("head.weight",)}
    assert sum(p.size for p in net.parameters()) == sum(
        array.size for name, array in STATE.items() if name != "lm_head.weight"
    )


def test_the_names_of_the_bare_model_are_understood_and_masks_left_out(net):
    bare = {name.removeprefix("transformer."): array for name, array in STATE.items()}
    del bare["lm_head.weight"]
    bare["h.0.attn.bias"] = np.ones((1, 1, 11, 11), bool)
    fresh = GPT2(19, 11, 8, 2, 2).eval()
    load_gpt2(fresh, bare)
    for path, value in net.state_dict().items():
        if not path.endswith("stream"):
            assert (fresh.state_dict()[path] == value).all(), path


def test_an_unknown_name_and_a_broken_tie_are_refused():
    with pytest.raises(ValueError, match=r"'transformer\.extra'"):
        translated({"transformer.extra": np.zeros(1)}, GPT2_NAMES)
    untied = {**STATE, "lm_head.weight": STATE["lm_head.weight"] + 1}
    with pytest.raises(Exception, match=r"head\.weight"):
        load_gpt2(GPT2(19, 11, 8, 2, 2), untied)


def test_layers_start_different():
    blocks = GPT2(19, 11, 8, 2, 2).blocks
    assert isinstance(blocks.layers, nn.Stack)
    first, second = (layer.linear1.weight.value for layer in blocks.layers)
    assert (first != second).any()
