"""The LSTM learns to write, and what it learned holds for text that it has not seen."""

import io

from rich.console import Console

from examples.lstm_text import main
from examples.text import load_text


def test_the_text_is_long_and_no_paragraph_stands_there_twice():
    text = load_text()
    assert len(text) > 300_000
    assert set(text) <= set(map(chr, range(32, 127))) | {"\n"}
    paragraphs = text.split("\n\n")
    assert len(set(paragraphs)) == len(paragraphs)


def test_a_short_training_lowers_the_perplexity_of_held_out_text_below_14():
    console = Console(record=True, width=100, file=io.StringIO())
    perplexity = main(console, characters=100_000, epochs=4, hidden=96)
    assert perplexity < 14
    written = console.export_text()
    assert "embed.weight" in written
    assert "The statement " in written
