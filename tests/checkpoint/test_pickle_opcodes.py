"""Pickles are interpreted as descriptions: what is plain comes out, nothing is ever run."""

import pickle
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ansatz as az
from ansatz.checkpoint.pickle_opcodes import Global, Meaning, interpret

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(-9, 9), inner, max_size=4)
    ),
    max_leaves=12,
)


def refuse(*_: Any) -> Any:
    raise az.CheckpointError("refused")


NOTHING = Meaning(refuse, refuse, refuse, refuse)
NAMES = Meaning(lambda name: name, lambda f, args: (f, args), lambda held, state: held, repr)


@given(value=plain, protocol=st.sampled_from([3, 4, 5]))
def test_plain_values_come_out_as_pickle_put_them_in(value: Any, protocol: int) -> None:
    assert interpret(pickle.dumps(value, protocol=protocol), NOTHING, "a pickle") == value


def test_names_and_calls_stay_what_they_are() -> None:
    name, arguments = interpret(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", NAMES, "p")
    assert name == Global("os", "system")
    assert arguments == ("ls",)


@given(noise=st.binary(max_size=60))
def test_noise_is_refused_or_plain(noise: bytes) -> None:
    try:
        interpret(b"\x80\x02" + noise, NOTHING, "noise")
    except az.CheckpointError as error:
        said = str(error)
    else:
        said = ""
    assert said == "" or "noise" in said or "refused" in said or "protocol" in said


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is damaged at byte 0"),
        (b"\x80\x02", "is damaged"),
        (b"\x80\x02.", "ends where it should not"),
        (b"\x80\x02NN.", "is damaged|ends where"),
        (b"\x80\x02N.N", "ends where it should not"),
        (b"\x80\x02(.", "takes a mark for a value"),
        (b"\x80\x01N.", "protocol 1 is not read"),
        (b"\x80\x02i__main__\nX\n.", "operation b'i'"),
        (b"\x80\x02\x82\x01.", "operation b'.x82'"),
        (b"\x80\x02X\xff\xff\xff\xffabc.", "is cut off: 4294967295 bytes"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "an integer of 2147483647 bytes"),
        (b"\x80\x02h\x05.", "is damaged"),
        (b"\x80\x02]N]s.", "puts items into what is no dict"),
        (b"\x80\x02}]Ns.", "neither text nor a number: list"),
        (b"\x80\x02}G" + struct.pack(">d", 1.5) + b"Ns.", "neither text nor a number: 1.5"),
        (b"\x80\x02}Na.", "appends to what is no list"),
        (b"\x80\x02t.", "is damaged|lacks a mark"),
        (b"\x80\x02(q\x00.", "takes a mark for a value"),
        (b"\x80\x02cos\n" + b"x" * 5000 + b"\n.", "a name should end"),
        (b"\x80\x02" + b"2" * 4_000_000, "is damaged"),
        (b"\x80\x02N" + b"20" * 1_000_000, "takes more than 1000000 operations"),
    ],
)
def test_a_damaged_or_hostile_pickle_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        interpret(raw, NOTHING, "the pickle")


def test_a_list_within_itself_is_read_as_what_it_is() -> None:
    held = interpret(b"\x80\x02]q\x00h\x00a.", NOTHING, "the pickle")
    assert held[0] is held
