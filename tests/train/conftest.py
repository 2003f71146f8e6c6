"""What the tests of training share."""

import signal

import pytest


@pytest.fixture
def heeds_interrupts():
    """Python's own handler of Ctrl-C, which a shell takes away from what it runs in the background.

    Such a process is started with interrupts ignored: `make test &` would fail without this.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
