"""The small GPT learns, and writes with its cache what it would write without."""

import jax.numpy as jnp
import pytest

from examples.gpt import GPT, Text, main, write


@pytest.fixture(scope="module")
def told():
    lines = []
    sizes = {"context": 16, "width": 32, "layers": 1, "heads": 2}
    reached, sample = main(steps=60, length=36, report=lines.append, **sizes)
    return reached, sample, lines


def test_a_short_training_brings_the_perplexity_far_below_that_of_guessing(told):
    reached, _, _ = told
    assert reached < 30  # of 94 characters


def test_it_reports_its_progress_and_writes_a_sample(told):
    _, sample, lines = told
    assert len(sample) == 4 + 36
    assert sum(line.startswith("step") for line in lines) == 10
    assert sample in lines[-1]


def test_what_it_writes_with_a_cache_it_would_write_without():
    net, prompt = GPT(9, 8, width=8, layers=1, heads=2).eval(), [1, 2, 3]
    written = write(net, prompt, 3, temperature=1e-4)
    tokens = jnp.array([[*prompt, *written]])
    best = jnp.argmax(net(tokens)[0], -1)
    assert written == best[2:5].tolist()


def test_characters_survive_their_numbers():
    text = Text("abca")
    assert text.decode(text.encode("cab")) == "cab"
