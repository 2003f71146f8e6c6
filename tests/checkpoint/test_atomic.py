"""Files are replaced whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from ansatz.checkpoint import atomic
from ansatz.checkpoint.atomic import replacing, replacing_folder


def only_file_in(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_the_new_bytes_take_the_place_of_the_old_ones(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with replacing(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert only_file_in(tmp_path).read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), SystemExit()])
def test_whatever_fails_while_writing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def write_half() -> None:
        with replacing(target) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert only_file_in(tmp_path).read_bytes() == b"old"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_of_the_last_steps_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"), replacing(target) as file:
        file.write(b"new")
    assert only_file_in(tmp_path).read_bytes() == b"old"


def test_a_failure_leaves_no_file_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replacing(tmp_path / "file"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_permissions_of_an_existing_file_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with replacing(target) as file:
        file.write(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_bytes(b"")
    with replacing(tmp_path / "file"):
        pass
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_name_as_long_as_names_can_be_works(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    with replacing(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), replacing(tmp_path / "absent" / "f"):
        pass


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), replacing(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match="a device or a pipe"), replacing(pipe) as file:
        file.write(b"new")
    with pytest.raises(NotADirectoryError), replacing_folder(pipe, lambda folder: None):
        pass
    assert stat.S_ISFIFO(only_file_in(tmp_path).stat().st_mode)
    late = tmp_path / "late"
    with pytest.raises(FileExistsError), replacing(late) as file:
        os.mkfifo(late)
    assert stat.S_ISFIFO(late.stat().st_mode)


def test_where_nothing_can_be_written_the_error_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who runs the tests may be allowed everything.
    def refuse(name: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr(atomic, "open", refuse, raising=False)
    target = tmp_path / "net.safetensors"
    found = pytest.raises(PermissionError, match=f"in the folder .*{tmp_path.name}")
    with found as e, replacing(target):
        pass
    assert e.value.filename == str(target)
    assert ".tmp" not in str(e.value)
