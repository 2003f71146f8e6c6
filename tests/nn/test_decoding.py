"""Decoding piece by piece gives what one call on the whole sequence gives."""

import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.nn.reference import close


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        rotary = nn.RotaryPositions(interleaved=True)
        self.attention = nn.MultiHeadAttention(8, 4, kv_heads=2, causal=True, rotary=rotary)
        self.norm = nn.LayerNorm()

    def forward(self, x):
        return x + self.attention(self.norm(x))


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 12, norm_first=True, causal=True)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm())


NETS = {
    "attention": lambda: nn.MultiHeadAttention(8, 2, causal=True),
    "sinusoidal": lambda: nn.Sequential(nn.SinusoidalPositions(), Block()),
    "stack": lambda: nn.Sequential(nn.LearnedPositions(9), nn.Stack(Block, 2)),
    "encoder": encoder,
}


def inputs(batch=2, length=6):
    return jnp.asarray(np.random.default_rng(0).normal(size=(batch, length, 8)), "float32")


def run(net, x):
    return net(x)


@pytest.mark.parametrize("name", NETS)
def test_token_by_token_equals_the_whole(name):
    net, x, step = NETS[name]().eval(), inputs(), az.jit(run)
    whole = net(x)
    before = list(net.state_dict())
    with nn.decoding(net, batch=2, length=6):
        pieces = [step(net, x[:, :3]), *(step(net, x[:, i : i + 1]) for i in range(3, 6))]
    close(jnp.concatenate(pieces, 1), whole, atol=1e-5)
    assert list(net.state_dict()) == before
    close(net(x), whole, atol=1e-6)


def test_the_first_call_may_be_one_that_decodes():
    net = nn.MultiHeadAttention(None, 2, causal=True)
    net.initialize(seed=0)
    twin = nn.MultiHeadAttention(None, 2, causal=True)
    twin.initialize(seed=0)
    x = inputs()
    with nn.decoding(net, 2, 6):
        pieces = [net(x[:, i : i + 2]) for i in (0, 2, 4)]
    close(jnp.concatenate(pieces, 1), twin(x), atol=1e-5)


def test_all_steps_may_run_in_one_scan():
    net, x = NETS["stack"](), inputs()
    whole = net(x)

    @az.jit
    def decode(net, x):
        def step(carry, token):
            return carry, net(token[:, None])[:, 0]

        return az.scan(step, 0, jnp.swapaxes(x, 0, 1))[1]

    with nn.decoding(net, 2, 6):
        close(jnp.swapaxes(decode(net, x), 0, 1), whole, atol=1e-5)


def test_a_second_sequence_starts_anew_without_compiling_anew():
    net, x, step = NETS["encoder"]().eval(), inputs(), az.jit(run)

    def decoded():
        with nn.decoding(net, 2, 6):
            return [step(net, x[:, i : i + 1]) for i in range(2)]

    first = decoded()
    traced = step.traces
    for a, b in zip(first, decoded(), strict=True):
        assert (a == b).all()
    assert step.traces == traced


def test_a_decoder_looks_back_at_a_memory():
    layer = nn.TransformerDecoderLayer(8, 2, 12)
    net, x, memory = nn.TransformerDecoder(layer, 2).eval(), inputs(), inputs(2, 4) + 1
    whole = net(x, memory)
    with nn.decoding(net, 2, 6):
        pieces = [net(x[:, i : i + 1], memory) for i in range(6)]
    close(jnp.concatenate(pieces, 1), whole, atol=1e-5)


def test_padding_of_a_prompt_is_masked_over_all_that_there_is_room_for():
    net, x = NETS["attention"](), inputs(1, 6)
    real = jnp.array([[False, True, True, True, True, True]])
    whole = net(x, key_mask=real)
    with nn.decoding(net, 1, 6):
        pieces = [net(x[:, i : i + 1], key_mask=real) for i in range(6)]
    close(jnp.concatenate(pieces, 1), whole, atol=1e-5)


def test_a_cache_may_have_another_precision():
    net, x = NETS["attention"](), inputs()
    whole = net(x)
    with nn.decoding(net, 2, 6, dtype="bfloat16"):
        assert net.cached_key.dtype == jnp.bfloat16
        pieces = [net(x[:, i : i + 1]) for i in range(6)]
    close(jnp.concatenate(pieces, 1), whole, atol=0.03)


def test_an_eager_call_beyond_the_room_raises_and_a_compiled_one_gives_nan():
    net, x, step = NETS["attention"](), inputs(), az.jit(run)
    with nn.decoding(net, 2, 4):
        assert jnp.isfinite(step(net, x[:, :3])).all()
        with pytest.raises(az.ShapeError, match="4 positions, of which 3 are taken"):
            net(x[:, :2])
        assert jnp.isnan(step(net, x[:, :2])[:, 1]).all()
        with pytest.raises(az.ShapeError, match="no room for 6 more"):
            step(net, x)
        with pytest.raises(az.ShapeError, match=r"queries, keys\) = \(2, 2, 1, 4\)"):
            net(x[:, :1], mask=jnp.ones((1, 3), bool))
        assert int(net.position.value) == 5  # A refused call takes no positions.


def test_what_cannot_decode_says_so():
    with (
        pytest.raises(az.StructureError, match="no causal attention"),
        nn.decoding(nn.MultiHeadAttention(8, 2), 1, 4),
    ):
        pass
    net = NETS["stack"]()
    with nn.decoding(net, 1, 4):
        with pytest.raises(az.StructureError, match="decoding already"), nn.decoding(net, 1, 4):
            pass
        with pytest.raises(az.ShapeError, match="opened for 1 sequences, got 2"):
            net(inputs(2, 1))
    with (
        pytest.raises(az.ShapeError, match="9 learned positions, too few"),
        nn.decoding(net, 1, 10),
    ):
        pass
    assert net[0].position is None


def test_an_error_while_decoding_closes_the_cache():
    net = NETS["attention"]()
    with pytest.raises(RuntimeError, match="stop"), nn.decoding(net, 1, 4):
        raise RuntimeError("stop")
    assert net.position is None
    assert not list(net.named_states())
