"""ZIP archives, as NumPy and PyTorch use them: where each member stands, checked before it is used.

Refused are members that occur twice, overlap or go beyond the end of the file, encryption, unknown
compression, names that would leave a folder, and archives that would unpack to far more bytes than
they have.
"""

from __future__ import annotations

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ansatz.checkpoint.contents import check_expansion
from ansatz.core.errors import CheckpointError

_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
_ENCRYPTED = 1
_MAX_MEMBERS = 1_000_000
_CHUNK = 1 << 20


class Member(NamedTuple):
    """One member of an archive.

    Attributes:
        name: its name.
        offset: where its bytes begin in the file.
        stored: how many bytes it takes in the file.
        size: how many bytes it has once unpacked.
        deflated: whether it is compressed.
        crc: the checksum of its unpacked bytes.
    """

    name: str
    offset: int
    stored: int
    size: int
    deflated: bool
    crc: int


def members(file: BinaryIO, file_size: int, path: str) -> dict[str, Member]:
    """The members of an archive by name, folders left out.

    Raises:
        CheckpointError: it is no sound archive, or one that is not to be trusted.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError) as error:
        raise CheckpointError(
            f"{path!r} is not a sound ZIP archive ({error}). Copy or download it again."
        ) from error
    except (struct.error, OverflowError, IndexError) as error:
        raise CheckpointError(f"{path!r} is a damaged ZIP archive ({error})") from error
    if len(infos) > _MAX_MEMBERS:
        raise CheckpointError(f"{path!r} has {len(infos)} members; {_MAX_MEMBERS} are allowed")
    found: dict[str, Member] = {}
    for info in infos:
        if info.is_dir():
            continue
        member = _located(file, info, file_size, path)
        if member.name in found:
            raise CheckpointError(f"{path!r} holds the member '{member.name}' twice; it is damaged")
        found[member.name] = member
    _check_apart(found, path)
    check_expansion(sum(m.size for m in found.values() if m.deflated), file_size, f"{path!r}")
    return found


def is_safe(name: str) -> bool:
    """Whether a member of this name would stay in the folder that it is unpacked to."""
    parts = name.replace("\\", "/").split("/")
    return ".." not in parts and "\0" not in name and parts[0] != "" and ":" not in parts[0]


def _located(file: BinaryIO, info: zipfile.ZipInfo, file_size: int, path: str) -> Member:
    what = f"the member '{info.filename}' of {path!r}"
    # zipfile cuts names at NUL; what it cut is still in orig_filename.
    if not is_safe(info.orig_filename):
        raise CheckpointError(f"{what} has a name that leaves the archive's folder; refused")
    if info.flag_bits & _ENCRYPTED:
        raise CheckpointError(f"{what} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CheckpointError(f"{what} is compressed by an unknown method ({info.compress_type})")
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    if not deflated and info.file_size != info.compress_size:
        raise CheckpointError(f"{what} is said to have two different sizes; it is damaged")
    if not 0 <= info.header_offset <= file_size - _LOCAL_HEADER.size:
        raise CheckpointError(f"{what} is said to stand outside of the file; it is damaged")
    file.seek(info.header_offset)
    fields = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    name_length, extra_length = fields[-2:]
    raw_name = file.read(name_length)
    if fields[0] != b"PK\x03\x04" or raw_name not in _encodings(info.orig_filename):
        raise CheckpointError(f"{what} does not stand where the directory says; it is damaged")
    start = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if start + info.compress_size > file_size:
        raise CheckpointError(f"{what} goes beyond the end of the file; it is cut off or damaged")
    return Member(info.orig_filename, start, info.compress_size, info.file_size, deflated, info.CRC)


def _encodings(name: str) -> set[bytes]:
    found = {name.encode("utf-8", "surrogatepass")}
    with contextlib.suppress(UnicodeEncodeError):
        found.add(name.encode("cp437"))
    return found


def _check_apart(found: dict[str, Member], path: str) -> None:
    end = 0
    for member in sorted(found.values(), key=lambda member: (member.offset, member.stored)):
        if member.offset < end:
            raise CheckpointError(f"the members of {path!r} overlap; it is not to be trusted")
        end = member.offset + member.stored


def unpacked(file: BinaryIO, member: Member, path: str) -> Iterator[bytes]:
    """The bytes of a member, piece by piece, no more than it is said to have.

    Raises:
        CheckpointError: there are more or fewer, or they do not unpack.
    """
    what = f"the member '{member.name}' of {path!r}"
    file.seek(member.offset)
    left, given = member.stored, 0
    inflate = zlib.decompressobj(-zlib.MAX_WBITS) if member.deflated else None
    while left > 0:
        piece = file.read(min(_CHUNK, left))
        if not piece:
            raise CheckpointError(f"{what} is cut off")
        left -= len(piece)
        while piece:
            if inflate is None:
                out, piece = piece, b""
            else:
                try:
                    out = inflate.decompress(piece, _CHUNK)
                except zlib.error as error:
                    raise CheckpointError(f"{what} does not unpack ({error})") from error
                piece = inflate.unconsumed_tail
            given += len(out)
            if given > member.size:
                raise CheckpointError(f"{what} unpacks to more than the {member.size} bytes stated")
            if out:
                yield out
    if given != member.size:
        raise CheckpointError(f"{what} unpacks to {given} bytes, not the {member.size} stated")


def read_member(file: BinaryIO, member: Member, path: str, limit: int) -> bytes:
    """All bytes of a small member, such as a description.

    Raises:
        CheckpointError: it has more than `limit` bytes, or does not unpack.
    """
    if member.size > limit:
        raise CheckpointError(
            f"the member '{member.name}' of {path!r} has {member.size} bytes; {limit} are allowed"
        )
    return b"".join(unpacked(file, member, path))


def check_crc(file: BinaryIO, member: Member, path: str) -> None:
    """Compare a member with its checksum.

    Raises:
        CheckpointError: they differ.
    """
    crc = 0
    for piece in unpacked(file, member, path):
        crc = zlib.crc32(piece, crc)
    if crc != member.crc:
        raise CheckpointError(
            f"the member '{member.name}' of {path!r} does not have the checksum that is written "
            "down for it; it is damaged"
        )
