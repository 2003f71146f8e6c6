"""Text that is attached to an object of an HDF5 file, read with every length checked.

The HDF5 library takes memory for as many bytes as an attribute of variable length claims, up to
4 GiB, before it looks whether they are there. So these attributes are read here, and by nothing
else. Object headers of both versions are read; text that the library keeps apart from the header,
in a heap of attributes (many of them, in files with `libver="latest"`), is not.

Source: the HDF5 file format specification 3.0, sections III.E, IV.A.1, IV.A.2.m and IV.A.2.q.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10
_SHARED = 2
_ORDERED, _PHASES, _TIMES = 0x04, 0x10, 0x20  # What a header of version 2 holds besides.
_FIXED_TEXT, _VARIABLE = 3, 9
_LONGEST = 4096
_MAX_BLOCKS = 16
_MAX_HEADER = 1 << 20
_MAX_HEAP = 1 << 20


_Read = Callable[[int, int], bytes]  # An address and a number of bytes.


def text_of(file: Any, address: int, name: str, base: int = 0) -> str | None:
    """The text of the attribute called `name`; `None` if there is none, or nothing sound.

    Args:
        file: the HDF5 file, open for reading.
        address: where the header of the object stands.
        name: the attribute.
        base: what addresses are counted from: where the file begins after a block of the user's.
    """
    place = file.tell()

    def read(address: int, count: int) -> bytes:
        file.seek(base + address)
        return bytes(file.read(count))

    try:
        for message in _attributes(read, address):
            found, kind, value = _split(message)
            if found != name.encode():
                continue
            raw = _variable(read, value) if kind[0] & 15 == _VARIABLE else value
            if kind[0] & 15 not in (_FIXED_TEXT, _VARIABLE) or raw is None:
                return None
            return raw.rstrip(b"\0").decode()
    except (struct.error, IndexError, ValueError, OverflowError):
        pass  # Something ends too early, or is no text.
    finally:
        file.seek(place)
    return None


def _attributes(read: _Read, address: int) -> Iterator[bytes]:
    """The messages of an object header that are attributes."""
    signature = read(address, 4)
    modern = signature == b"OHDR"
    if not modern and signature[0] != 1:
        return
    first, head = _modern(read, address) if modern else _plain(read, address)
    blocks = [first]
    for _ in range(_MAX_BLOCKS):
        if not blocks:
            return
        offset, length = blocks.pop()
        block = read(offset, min(length, _MAX_HEADER))
        at = 0
        while at + head <= len(block):
            kind, size, flags = struct.unpack_from("<BHB" if modern else "<HHB", block, at)
            message = block[at + head : at + head + size]
            at += head + size
            if kind == _CONTINUATION:
                offset, length = struct.unpack_from("<QQ", message)
                # Those of version 2 stand between a signature and a checksum.
                blocks.append((offset + 4, max(0, length - 8)) if modern else (offset, length))
            elif kind == _ATTRIBUTE and not flags & _SHARED:
                yield message


def _plain(read: _Read, address: int) -> tuple[tuple[int, int], int]:
    """The first block of a header of version 1, and how long the head of a message is there."""
    (length,) = struct.unpack("<8xI", read(address, 12))
    return (address + 16, length), 8


def _modern(read: _Read, address: int) -> tuple[tuple[int, int], int]:
    """The same of version 2."""
    _, _, flags = struct.unpack("<4sBB", read(address, 6))
    at = address + 6 + (16 if flags & _TIMES else 0) + (4 if flags & _PHASES else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(read(at, width), "little")
    return (at + width, length), 6 if flags & _ORDERED else 4


def _split(message: bytes) -> tuple[bytes, bytes, bytes]:
    """The name, the datatype and the value of an attribute."""
    version, _, name, kind, space = struct.unpack_from("<BBHHH", message)
    at = 9 if version == 3 else 8
    parts = []
    for size in (name, kind, space):
        parts.append(message[at : at + size])
        at += -(-size // 8) * 8 if version == 1 else size
    return parts[0].rstrip(b"\0"), parts[1], message[at:]


def _variable(read: _Read, value: bytes) -> bytes | None:
    """The bytes in the global heap that a length, an address and an index point to."""
    length, address, wanted = struct.unpack_from("<IQI", value)
    signature, size = struct.unpack("<4s4xQ", read(address, 16))
    if signature != b"GCOL" or length > _LONGEST:
        return None
    heap = read(address, min(size, _MAX_HEAP))
    at = 16
    while at + 16 <= len(heap):
        index, size = struct.unpack_from("<H6xQ", heap, at)
        if index == wanted:
            return heap[at + 16 : at + 16 + length] if size == length else None
        at += 16 + -(-size // 8) * 8
        if index == 0:
            return None
    return None
