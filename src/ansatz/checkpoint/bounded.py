"""Reading the fields of a binary file, each only after it is known to be there."""

from __future__ import annotations

import struct
from typing import BinaryIO

from ansatz.core.errors import CheckpointError


class Cursor:
    """Little-endian fields of a file, one after the other.

    Args:
        file: the file, at its beginning.
        size: how many bytes it has.
        path: the file, for messages.
        base: where the first field stands, if not at the beginning.
    """

    def __init__(self, file: BinaryIO, size: int, path: str, base: int = 0) -> None:
        self._file = file
        self._size = size
        self._path = path
        self.offset = base
        file.seek(base)

    @property
    def remaining(self) -> int:
        """How many bytes follow."""
        return self._size - self.offset

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes.

        Raises:
            CheckpointError: there are not so many.
        """
        self.require(count, what)
        taken = self._file.read(count)
        if len(taken) != count:
            raise self.fault(f"{what} could not be read")
        self.offset += count
        return taken

    def skip(self, count: int, what: str) -> int:
        """Pass over `count` bytes, which have to be there; returns where they begin."""
        self.require(count, what)
        start = self.offset
        self.offset += count
        self._file.seek(self.offset)
        return start

    def jump(self, offset: int) -> None:
        """Go on at another place, which is known to be in the file."""
        self.offset = offset
        self._file.seek(offset)

    def require(self, count: int, what: str) -> None:
        """Refuse a count that goes beyond the end of the file."""
        if count > self.remaining:
            raise self.fault(
                f"{what} should take {count} bytes, but only {self.remaining} follow; the file is "
                "cut off or damaged"
            )

    def uint8(self, what: str) -> int:
        """The next byte."""
        return self.take(1, what)[0]

    def uint16(self, what: str) -> int:
        """The next 16-bit number."""
        return int.from_bytes(self.take(2, what), "little")

    def uint32(self, what: str) -> int:
        """The next 32-bit number."""
        return int.from_bytes(self.take(4, what), "little")

    def int32(self, what: str) -> int:
        """The next 32-bit number with a sign."""
        return int.from_bytes(self.take(4, what), "little", signed=True)

    def uint64(self, what: str) -> int:
        """The next 64-bit number."""
        return int.from_bytes(self.take(8, what), "little")

    def int64s(self, count: int, what: str) -> tuple[int, ...]:
        """The next `count` 64-bit numbers with signs."""
        return struct.unpack(f"<{count}q", self.take(8 * count, what))

    def uint64s(self, count: int, what: str) -> tuple[int, ...]:
        """The next `count` 64-bit numbers."""
        return struct.unpack(f"<{count}Q", self.take(8 * count, what))

    def text(self, what: str) -> str:
        """The next text: its length in 64 bits, then UTF-8."""
        length = self.uint64(f"the length of {what}")
        raw = self.take(length, what)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.fault(f"{what} is no valid UTF-8 ({error})") from error

    def fault(self, message: str) -> CheckpointError:
        """An error that names the file and the place in it."""
        return CheckpointError(f"{self._path!r}, byte {self.offset}: {message}")
