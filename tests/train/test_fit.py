"""The loop: epochs, validation, modes, what ends it early, and what it costs nothing to watch."""

import os
import signal
import subprocess
import sys
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import nn
from ansatz.train import History, NonFiniteLossWarning, Trainer, TrainingError, batches

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
Y = X @ np.array([[1.0], [2.0], [-1.0]], np.float32)


def squared_error(output, y):
    return jnp.mean((output - y) ** 2)


def make_trainer(net=None, optimizer=None):
    return Trainer(net or nn.Dense(1), optimizer or optax.sgd(0.1), squared_error)


class Recorder(nn.Dense):
    """Notes in which mode it was traced."""

    def __init__(self):
        super().__init__(1)
        self.modes = set()

    def forward(self, x):
        self.modes.add(self.training)
        return super().forward(x)


def test_fit_makes_the_steps_that_a_bare_loop_makes():
    fitted, looped = make_trainer(nn.Dense(1)), make_trainer(nn.Dense(1))
    for trainer in (fitted, looped):
        trainer.net.initialize(seed=1)
    history = fitted.fit(batches(X, Y, 3, seed=5), epochs=2)
    data, losses = batches(X, Y, 3, seed=5), []
    for _ in range(2):
        epoch = [float(looped.step(x, y)) for x, y in data]
        losses.append(sum(epoch) / len(epoch))
    np.testing.assert_allclose(history.losses, losses, rtol=1e-6)
    np.testing.assert_array_equal(fitted.net.weight.value, looped.net.weight.value)
    assert [(e.number, e.steps) for e in history] == [(1, 3), (2, 3)]
    assert all(epoch.seconds > 0 for epoch in history)


def test_the_loss_is_recorded_before_each_update():
    layer = nn.Dense(1, weight_init="zeros")
    history = make_trainer(layer).fit([(X, Y)])
    np.testing.assert_allclose(history[0].loss, np.mean(Y**2), rtol=1e-6)


def test_many_steps_lose_no_loss():
    layer = nn.Dense(1, in_units=3, weight_init="zeros")
    history = make_trainer(layer, optax.sgd(0.0)).fit([(X, Y)] * 700, epochs=2)
    np.testing.assert_allclose(history.losses, [np.mean(Y**2)] * 2, rtol=1e-6)
    assert [epoch.steps for epoch in history] == [700, 700]


def test_metrics_without_batches_to_measure_them_on_are_refused_before_training():
    trainer = make_trainer()
    with pytest.raises(TrainingError, match=r"metrics \(error\) are measured .* of validate="):
        trainer.fit([(X, Y)], metrics={"error": squared_error})
    assert trainer.net.weight.is_deferred


def test_validation_measures_after_each_epoch_in_evaluation_mode():
    net = nn.Sequential(nn.Dropout(0.5), nn.Dense(1))
    trainer = make_trainer(net)
    history = trainer.fit(
        batches(X, Y, 4, seed=0),
        epochs=3,
        validate=[(X, Y)],
        metrics={"error": lambda output, y: jnp.abs(output - y)},
    )
    assert net.training
    assert net[0].training
    expected = {
        "loss": float(squared_error(net.eval()(X), Y)),
        "error": float(jnp.abs(net(X) - Y).mean()),
    }
    assert history[-1].validation == pytest.approx(expected, rel=1e-5)
    assert len({epoch.validation["loss"] for epoch in history}) == 3


def test_a_part_that_is_kept_in_evaluation_mode_stays_there():
    net = nn.Sequential(nn.BatchNorm(), nn.Dense(1))
    net[0].eval()
    make_trainer(net).fit([(X, Y)], epochs=2, validate=[(X, Y)])
    assert (net.training, net[0].training, net[1].training) == (True, False, True)
    assert int(net[0].num_batches_tracked.value) == 0


def test_a_network_in_evaluation_mode_is_trained_in_training_mode_and_put_back():
    net = nn.Sequential(nn.BatchNorm(), nn.Dense(1)).eval()
    make_trainer(net).fit([(X, Y)], epochs=2)
    assert int(net[0].num_batches_tracked.value) == 2
    assert not any(module.training for module in net.modules())


def test_modes_are_restored_after_an_error():
    net = nn.Sequential(nn.Dense(1)).eval()
    with pytest.raises(az.ShapeError):
        make_trainer(net).fit([(X, Y), (X[:, :2], Y)])
    assert not net.training


def test_one_trace_serves_all_epochs_also_with_validation():
    trainer = make_trainer(nn.Sequential(nn.Dropout(0.5), nn.Dense(1)))
    trainer.fit(batches(X, Y, 4), epochs=4, validate=[(X, Y)])
    assert trainer.traces == 1


def test_dropout_draws_other_masks_in_each_step():
    net = nn.Sequential(nn.Dropout(0.5), nn.Dense(1, use_bias=False, weight_init="ones"))
    trainer = make_trainer(net, optax.sgd(0.0))
    history = trainer.fit([(X, Y)], epochs=5)
    assert len(set(history.losses)) == 5


# -- sources of batches --------------------------------------------------------------------------


def test_a_function_of_the_epoch_makes_the_batches():
    epochs = []

    def make(epoch):
        epochs.append(epoch)
        return ((X, Y) for _ in range(epoch + 1))

    history = make_trainer().fit(make, epochs=3)
    assert epochs == [0, 1, 2]
    assert [epoch.steps for epoch in history] == [1, 2, 3]


def test_a_generator_serves_one_epoch():
    assert len(make_trainer().fit((X, Y) for _ in range(2))) == 1


def test_a_generator_for_several_epochs_is_refused_before_anything_is_done():
    trainer = make_trainer()
    with pytest.raises(
        TrainingError, match=r"generator.*after the first of 2 epochs.*lambda epoch"
    ):
        trainer.fit(((X, Y) for _ in range(2)), epochs=2)
    assert trainer.net.weight.is_deferred
    with pytest.raises(TrainingError, match="batches to validate on are a generator"):
        trainer.fit([(X, Y)], epochs=2, validate=((X, Y) for _ in range(2)))
    assert trainer.net.weight.is_deferred


def test_an_iterator_that_is_used_up_is_an_error_in_the_second_epoch():
    with pytest.raises(TrainingError, match=r"in epoch 2: map gave none.*used up"):
        make_trainer().fit(map(tuple, [(X, Y)]), epochs=2)


def test_an_iterator_that_starts_anew_by_itself_is_accepted():
    class Loader:
        def __iter__(self):
            self.left = 2
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            self.left -= 1
            return X, Y

    assert [epoch.steps for epoch in make_trainer().fit(Loader(), epochs=2)] == [2, 2]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "no batches to train on: list gave none"),
        ([X], r"pair \(x, y\), got float32\[8, 3\]"),
        ([(X, Y, Y)], r"pair \(x, y\), got a tuple of 3"),
        (3, r"got 3 of type int.*train\.batches"),
        (lambda epoch: None, "got None"),
        (lambda: [(X, Y)], r"with the epoch .* takes \(\): write lambda epoch: …"),
        ({"x": X}, "got a dict with 'x'"),
        ("data", "got 'data' of type str"),
    ],
    ids=["empty", "array", "triple", "number", "none", "no epoch", "dict", "text"],
)
def test_what_is_no_source_of_batches_is_named(source, message):
    with pytest.raises(TrainingError, match=message):
        make_trainer().fit(source)


def test_no_epochs_are_refused():
    with pytest.raises(TrainingError, match="at least 1"):
        make_trainer().fit([(X, Y)], epochs=0)


# -- evaluating ----------------------------------------------------------------------------------


def test_evaluation_weighs_batches_by_their_size():
    trainer = make_trainer(nn.Dense(1, in_units=3))
    whole = trainer.evaluate([(X, Y)], {"error": lambda o, y: jnp.abs(o - y).mean()})
    parts = trainer.evaluate(
        batches(X, Y, 3, shuffle=False), {"error": lambda o, y: jnp.abs(o - y).mean()}
    )
    assert parts == pytest.approx(whole, rel=1e-5)


def test_evaluation_compiles_once_and_trains_nothing():
    net = Recorder()
    trainer = make_trainer(net)
    metrics = {"error": squared_error}
    for _ in range(3):
        found = trainer.evaluate([(X, Y)], metrics)
    assert list(found) == ["loss", "error"]
    assert net.modes == {False}
    assert net.training
    before = np.array(net.weight.value)
    trainer.evaluate([(X, Y)])
    np.testing.assert_array_equal(net.weight.value, before)


def test_evaluation_of_nothing_is_an_error():
    with pytest.raises(TrainingError, match="no batches to evaluate on"):
        make_trainer().evaluate([])


# -- what ends a training early ------------------------------------------------------------------


def test_an_interrupt_returns_the_history_so_far_with_the_network_intact():
    def interrupted(epoch):
        yield X, Y
        if epoch == 1:
            raise KeyboardInterrupt
        yield X, Y

    trainer = make_trainer()
    history = trainer.fit(interrupted, epochs=5)
    assert history.interrupted
    assert [epoch.steps for epoch in history] == [2, 1]
    assert "(interrupted)" in repr(history)
    assert np.isfinite(trainer.net(X)).all()
    trainer.step(X, Y)


def test_an_interrupt_during_validation_puts_the_modes_back():
    def interrupted():
        yield X, Y
        raise KeyboardInterrupt

    trainer = make_trainer()
    history = trainer.fit([(X, Y)], epochs=3, validate=lambda epoch: interrupted())
    assert history.interrupted
    assert [epoch.validation for epoch in history] == [{}]
    assert trainer.net.training


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
@pytest.mark.usefixtures("heeds_interrupts")
def test_a_signal_in_the_middle_of_a_step_waits_for_its_end():
    class Signalling(nn.Dense):
        def forward(self, x):
            os.kill(os.getpid(), signal.SIGINT)
            return super().forward(x)

    net = Signalling(1, in_units=3)  # so that one trace is all
    trainer = make_trainer(net)
    before = signal.getsignal(signal.SIGINT)
    history = trainer.fit([(X, Y)] * 4)
    assert signal.getsignal(signal.SIGINT) is before
    assert history.interrupted
    assert history[0].steps == 1
    assert net.weight.has_value


def test_a_loss_that_becomes_nan_warns_once_and_names_the_step():
    data = [(X, Y), (X, Y), (X * np.nan, Y), (X, Y)]
    with pytest.warns(NonFiniteLossWarning, match=r"nan at step 3 \(epoch 1, batch 3\)") as caught:
        history = make_trainer().fit(data, epochs=3)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isnan(history[-1].loss)


def test_a_nan_in_a_later_epoch_is_counted_from_the_first():
    def make(epoch):
        return [(X, Y), (X * (np.nan if epoch == 2 else 1.0), Y)]

    with pytest.warns(NonFiniteLossWarning, match=r"step 6 \(epoch 3, batch 2\)"):
        make_trainer().fit(make, epochs=3)


# -- what is shown -------------------------------------------------------------------------------

WATCHED = """
import numpy as np, optax
from ansatz import nn
from ansatz.train import Trainer
x = np.ones((4, 3), np.float32)
trainer = Trainer(nn.Dense(1), optax.sgd(0.1), lambda output, y: (output - y).mean())
print(trainer.fit([(x, x[:, :1])] * 5, epochs=2, validate=[(x, x[:, :1])], progress={progress}))
"""


def run_watched(progress, **streams):
    env = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}
    command = [sys.executable, "-c", WATCHED.format(progress=progress)]
    return subprocess.run(command, env=env, timeout=120, check=True, **streams)


def test_nothing_but_the_program_writes_into_a_log_file():
    done = run_watched(True, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("epoch")
    assert "\x1b" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("progress", [True, False])
def test_a_terminal_shows_epoch_batch_loss_and_validation(progress):
    ours, theirs = os.openpty()
    shown = b""

    def read():
        nonlocal shown
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:
            pass  # How Linux says that the other end was closed.

    reader = threading.Thread(target=read)
    reader.start()
    run_watched(progress, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    text = shown.decode()
    if not progress:
        assert text == ""
        return
    for expected in ("epoch 2/2", "5/5", "loss", "batches/s", "val loss"):
        assert expected in text


def test_history_is_a_sequence_that_prints_as_a_table():
    history = make_trainer().fit([(X, Y)], epochs=2, validate=[(X, Y)])
    assert isinstance(history, History)
    head, *rows = repr(history).splitlines()
    assert head.split() == ["epoch", "loss", "val", "loss", "seconds"]
    assert [row.split()[0] for row in rows] == ["1", "2"]


def test_fit_works_outside_of_the_main_thread():
    histories = []
    with warnings.catch_warnings():
        thread = threading.Thread(
            target=lambda: histories.append(make_trainer().fit([(X, Y)], epochs=2))
        )
        thread.start()
        thread.join()
    assert len(histories[0]) == 2


def test_fit_accepts_arrays_that_are_on_the_device():
    assert make_trainer().fit([(jax.device_put(X), jax.device_put(Y))])[0].steps == 1


def test_arrays_in_the_place_of_batches_are_refused_with_what_to_write():
    trainer = Trainer(nn.Dense(1), optax.sgd(0.1), nn.l2_loss)
    x = np.ones((4, 3), np.float32)
    calls = (
        lambda: trainer.fit(x, x, batch_size=2),
        lambda: trainer.fit(x, batch_size=2),
        lambda: trainer.evaluate(x, x),
    )
    for call in calls:
        with pytest.raises(TypeError, match=r"arrays are cut into batches by train\.batches\(x, y"):
            call()
    with pytest.raises(TypeError, match=r"fit has no option 'epoch'; did you mean 'epochs'\? \(it"):
        trainer.fit([(x, x)], epoch=3)
    with pytest.raises(TypeError, match="evaluate has no option 'metric'; did you mean 'metrics'"):
        trainer.evaluate([(x, x)], metric={})
    with pytest.raises(TrainingError, match=r"got the array float32\[4, 3\]; cut arrays"):
        trainer.fit(x)
    with pytest.raises(TrainingError, match=r"got a tuple of 3 \(float32\[4, 3\], "):
        trainer.fit([(x, x, x)])


@pytest.mark.parametrize("epochs", [None, 0, -1, 1.5, "3"])
def test_a_number_of_epochs_that_is_none_is_told(epochs):
    with pytest.raises(TrainingError, match="epochs is a whole number, at least 1, got "):
        Trainer(nn.Dense(1), optax.sgd(0.1), squared_error).fit([(X, Y)], epochs=epochs)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: batches(X, Y), "batches needs batch_size; it takes"),
        (lambda: batches(X, Y, 2, batchsize=2), "did you mean 'batch_size'?"),
        (
            lambda: batches(X, Y, 2.5),
            "a whole number of examples, at least one, got",
        ),
        (lambda: batches(None, Y, 2), "batches are cut from arrays, got x=None"),
        (lambda: batches(X, Y, 2, seed="a"), "a seed is a whole number"),
        (lambda: nn.softmax_cross_entropy(X, None), "a loss compares arrays of numbers, got None"),
    ],
)
def test_batches_and_losses_of_what_is_no_array_are_refused(call, told):
    with pytest.raises((TypeError, TrainingError)) as caught:
        call()
    assert told in str(caught.value)
