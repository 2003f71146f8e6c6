"""How ties are written into metadata, and read from them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ansatz as az
from ansatz.checkpoint.ties import Alias, Ties, decode, encode

TIES: Ties = {"a": (Alias("b"), Alias("c", transposed=True))}


def test_the_metadata_tell_names_and_transposition() -> None:
    assert json.loads(encode(TIES, {"a"})["ansatz.ties"]) == {
        "a": [{"name": "b", "transposed": False}, {"name": "c", "transposed": True}]
    }


def test_other_readers_are_told_only_what_is_true_for_them() -> None:
    assert {k: v for k, v in encode(TIES, {"a"}).items() if v == "a"} == {"b": "a"}


def test_a_name_with_bytes_of_its_own_is_not_said_to_be_dropped() -> None:
    assert "b" not in encode(TIES, {"a", "b", "c"})


@given(
    groups=st.lists(
        st.lists(st.tuples(st.text(max_size=3), st.booleans()), min_size=2, max_size=4), max_size=3
    )
)
def test_what_is_written_is_read(groups: list[list[tuple[str, bool]]]) -> None:
    # Numbered, so that no name is in two groups.
    ties = {
        f"{i}.0.{group[0][0]}": tuple(
            Alias(f"{i}.{j}.{name}", flag) for j, (name, flag) in enumerate(group[1:], 1)
        )
        for i, group in enumerate(groups)
    }
    assert decode(encode(ties, ties.keys()), ties.keys(), "the file") == ties


def test_the_pairs_of_pytorch_are_ties() -> None:
    metadata = {"format": "pt", "head": "embed", "other": "embed", "author": "nobody"}
    assert decode(metadata, {"embed", "bias"}, "f") == {"embed": (Alias("head"), Alias("other"))}


def test_a_note_of_the_users_is_not_mistaken_for_a_pair() -> None:
    metadata = {**encode({}, {"a"}), "best": "a"}
    assert decode(metadata, {"a"}, "f") == {}


@pytest.mark.parametrize(
    ("ties", "message"),
    [
        ("no json", "is damaged"),
        ("[1]", "is damaged"),
        ('{"a": [{"name": "b"}]}', "is damaged"),
        ('{"zzz": []}', "tie 'zzz', which it does not hold"),
        ('{"a": [{"name": "a", "transposed": false}]}', "tie a name twice"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_damaged_metadata_are_refused(ties: str, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        decode({"ansatz.format": "1", "ansatz.ties": ties}, {"a"}, "'f.safetensors'")


@pytest.mark.parametrize("version", ["2", "1.5", ""])
def test_a_newer_version_is_refused(version: str) -> None:
    with pytest.raises(az.CheckpointError, match=r"'f\.safetensors' was written in version"):
        decode({"ansatz.format": version}, {"a"}, "'f.safetensors'")
