"""Text that is attached to an object of an HDF5 file, read with every length checked.

The HDF5 library takes memory for as many bytes as an attribute of variable length claims, up to
4 GiB, before it looks whether they are there. So these attributes are read here, and by nothing
else. What is not as h5py writes it by default (object headers of version 1) has no text.

Source: the HDF5 file format specification 3.0, sections III.E, IV.A.1.a, IV.A.2.m and IV.A.2.q.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10
_SHARED = 2
_FIXED_TEXT, _VARIABLE = 3, 9
_LONGEST = 4096
_MAX_BLOCKS = 16
_MAX_HEADER = 1 << 20
_MAX_HEAP = 1 << 20


def text_of(file: Any, address: int, name: str) -> str | None:
    """The text of the attribute called `name`; `None` if there is none, or nothing sound.

    Args:
        file: the HDF5 file, open for reading.
        address: where the header of the object stands.
        name: the attribute.
    """
    place = file.tell()
    try:
        for message in _attributes(file, address):
            found, kind, value = _split(message)
            if found != name.encode():
                continue
            raw = _variable(file, value) if kind[0] & 15 == _VARIABLE else value
            if kind[0] & 15 not in (_FIXED_TEXT, _VARIABLE) or raw is None:
                return None
            return raw.rstrip(b"\0").decode()
    except (struct.error, IndexError, ValueError, OverflowError):
        pass  # Something ends too early, or is no text.
    finally:
        file.seek(place)
    return None


def _at(file: Any, offset: int, count: int) -> bytes:
    file.seek(offset)
    return bytes(file.read(count))


def _attributes(file: Any, address: int) -> Iterator[bytes]:
    version, _, _, _, length = struct.unpack("<BBHII", _at(file, address, 12))
    blocks = [(address + 16, length)] if version == 1 else []
    for _ in range(_MAX_BLOCKS):
        if not blocks:
            return
        offset, length = blocks.pop()
        block = _at(file, offset, min(length, _MAX_HEADER))
        at = 0
        while at + 8 <= len(block):
            kind, size, flags = struct.unpack_from("<HHB", block, at)
            message = block[at + 8 : at + 8 + size]
            at += 8 + size
            if kind == _CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", message))
            elif kind == _ATTRIBUTE and not flags & _SHARED:
                yield message


def _split(message: bytes) -> tuple[bytes, bytes, bytes]:
    """The name, the datatype and the value of an attribute."""
    version, _, name, kind, space = struct.unpack_from("<BBHHH", message)
    at = 9 if version == 3 else 8
    parts = []
    for size in (name, kind, space):
        parts.append(message[at : at + size])
        at += -(-size // 8) * 8 if version == 1 else size
    return parts[0].rstrip(b"\0"), parts[1], message[at:]


def _variable(file: Any, value: bytes) -> bytes | None:
    """The bytes in the global heap that a length, an address and an index point to."""
    length, address, wanted = struct.unpack_from("<IQI", value)
    signature, size = struct.unpack("<4s4xQ", _at(file, address, 16))
    if signature != b"GCOL" or length > _LONGEST:
        return None
    heap = _at(file, address, min(size, _MAX_HEAP))
    at = 16
    while at + 16 <= len(heap):
        index, size = struct.unpack_from("<H6xQ", heap, at)
        if index == wanted:
            return heap[at + 16 : at + 16 + length] if size == length else None
        at += 16 + -(-size // 8) * 8
        if index == 0:
            return None
    return None
