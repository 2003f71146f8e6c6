"""The record of a training, and its table."""

from rich.console import Console

from ansatz.train import Epoch, History

TWO = [
    Epoch(1, 1.25, {"loss": 0.5, "accuracy": 0.9}, 1.5, steps=10),
    Epoch(2, 0.12345678, {}, 0.5, steps=4),
]


def test_a_history_is_a_sequence_of_epochs():
    history = History(TWO)
    assert list(history) == TWO
    assert history[-1] is TWO[1]
    assert list(history[:1]) == TWO[:1]
    assert history.losses == [1.25, 0.12345678]
    assert history.seconds == 2.0


def test_the_table_leaves_what_was_not_measured_empty():
    assert repr(History(TWO, interrupted=True)).splitlines() == [
        "epoch    loss  val loss  val accuracy  seconds",
        "    1    1.25       0.5           0.9     1.50",
        "    2  0.1235                             0.50",
        "(interrupted)",
    ]


def test_an_empty_history_prints_its_head():
    assert repr(History()) == "epoch  loss  seconds"


def test_rich_draws_a_table():
    console = Console(width=80)
    with console.capture() as capture:
        console.print(History(TWO))
    assert "val accuracy" in capture.get()
    assert "0.1235" in capture.get()
