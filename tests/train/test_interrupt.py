"""Interrupts wait for the end of a step, once."""

import os
import signal
import sys

import pytest

from ansatz.train.interrupt import PatientInterrupt

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals"),
    pytest.mark.usefixtures("heeds_interrupts"),
]


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def run_held(patient, *parts):
    with patient.held:
        for part in parts:
            part()


def test_an_interrupt_waits_for_the_end_of_what_is_held():
    reached = []
    with PatientInterrupt() as patient:
        with pytest.raises(KeyboardInterrupt):
            run_held(patient, interrupt, lambda: reached.append("the end"))
        reached.append("behind")
    assert reached == ["the end", "behind"]


def test_a_second_interrupt_does_not_wait():
    reached = []
    with PatientInterrupt() as patient:
        with pytest.raises(KeyboardInterrupt):
            run_held(patient, interrupt, interrupt, lambda: reached.append("the end"))
        run_held(patient, lambda: reached.append("the next"))
    assert reached == ["the next"]


def test_an_interrupt_between_steps_is_carried_out_at_once():
    with PatientInterrupt(), pytest.raises(KeyboardInterrupt):
        interrupt()


def test_an_error_in_what_is_held_is_not_hidden_by_an_interrupt():
    with PatientInterrupt() as patient, pytest.raises(ZeroDivisionError):
        run_held(patient, interrupt, lambda: 1 // 0)


def test_a_handler_of_the_program_is_left_alone():
    seen = []
    signal.signal(signal.SIGINT, lambda *_: seen.append("ours"))
    with PatientInterrupt() as patient, patient.held:
        interrupt()
    assert seen == ["ours"]


def test_interrupts_that_are_ignored_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with PatientInterrupt() as patient:
        run_held(patient, interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
