"""One HTML page that shows what is in one file of arrays, or in two side by side.

The page opens from disk: nothing in it is fetched, and its content security policy forbids to. Its
front end is in `page.css` and `page.js`, plain and small, because every page carries it; a table
library would be many times larger than what most files have to tell. The data stand in the page as
JSON. Names in files are not trusted: in the JSON no `<` is left, and the script writes text only.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any, Protocol

from ansatz.core.progress import ReadProgress
from ansatz.inspect.arrays import ArrayRow, Readable, described, duplicates, looked_into
from ansatz.inspect.difference import change_of
from ansatz.inspect.file_tables import faults_of
from ansatz.inspect.picture import picture_of

_IMAGES = 6_000_000  # Bytes of all images together; with many arrays, each is smaller.
_LISTED = 20  # Of equal arrays, so many are named.
_DISTANCES = ("largest", "relative", "cosine")
_SMALLEST, _LARGEST = 16, 96  # Pixels along a side.


class Tied(Protocol):
    """Another name of an array."""

    @property
    def name(self) -> str:
        """The other name."""

    @property
    def transposed(self) -> bool:
        """Whether the array is seen transposed under it."""


class Shown(Readable, Protocol):
    """What a page shows, such as the contents of a file."""

    @property
    def path(self) -> str:
        """Where it stands."""

    @property
    def format(self) -> str:
        """The name of its format."""

    @property
    def ties(self) -> Mapping[str, Sequence[Tied]]:
        """The other names of tied arrays."""

    @property
    def notes(self) -> Sequence[str]:
        """What is worth knowing of it."""


def page_of(
    first: Shown,
    second: Shown | None = None,
    *,
    progress: ReadProgress | None = None,
) -> str:
    """The page, as one self-contained HTML document.

    One array of each file is in memory at a time.

    Args:
        first: the file.
        second: another one to compare it with.
        progress: told the name and the bytes of each array of the first that was read.
    """
    files = [first] if second is None else [first, second]
    names = _by_module(dict.fromkeys(name for file in files for name in file.entries))
    count = sum(len(file.entries) for file in files)
    side = min(_LARGEST, max(_SMALLEST, math.isqrt(_IMAGES // max(1, count))))
    tensors: list[dict[str, Any]] = []
    rows: list[list[ArrayRow]] = [[] for _ in files]
    for name in names:
        tensor = _tensor(name, files, side, rows)
        tensors.append(tensor)
        if progress is not None and name in first.entries:
            progress(name, first.entries[name].nbytes)
    _mark_equal(tensors, rows)
    told = [
        {
            "path": file.path,
            "format": file.format,
            "notes": list(file.notes),
            "size": sum(entry.nbytes for entry in file.entries.values()),
            "ties": _ties(file),
        }
        for file in files
    ]
    title = " ↔ ".join(file.path for file in files)
    return _document(title, {"files": told, "tensors": tensors})


def _by_module(names: Iterable[str]) -> list[str]:
    """The names in their order, but those of one module together: a tied name comes in last."""
    owners = {name: name.rpartition(".")[0] for name in names}
    places = {owner: i for i, owner in reversed(list(enumerate(owners.values())))}
    return sorted(owners, key=lambda name: places[owners[name]])


def _tensor(
    name: str, files: Sequence[Shown], side: int, rows: Sequence[list[ArrayRow]]
) -> dict[str, Any]:
    """What the page knows of the arrays of one name."""
    sides: list[dict[str, Any] | None] = []
    arrays = []
    for file, seen in zip(files, rows, strict=True):
        if name not in file.entries:
            sides.append(None)
            continue
        array = file.read(name)
        row = looked_into(described(name, file.entries[name]), array)
        seen.append(row)
        arrays.append(array)
        sides.append(_side(row, array, side))
    tensor: dict[str, Any] = {"name": name, "sides": sides}
    if len(files) == 2:
        tensor["status"] = "removed" if sides[1] is None else "added"
        if len(arrays) == 2:
            change = change_of(name, *arrays)
            tensor["status"] = "changed" if change else "same"
            if change:
                numbers = (change.largest, change.relative, change.cosine)
                tensor["change"] = {
                    "what": change.what,
                    **dict(zip(_DISTANCES, map(_number, numbers), strict=True)),
                }
    return tensor


def _side(row: ArrayRow, array: Any, side: int) -> dict[str, Any]:
    kept = {
        key: value
        for key, value in dataclasses.asdict(row).items()
        if key not in ("name", "digest", "constant", "dead_rows")
    }
    kept |= {key: _number(kept[key]) for key in ("mean", "std", "min", "max")}
    kept["faults"] = faults_of(row)
    picture = picture_of(array, row.min, row.max, side)
    kept["picture"] = None if picture is None else picture._asdict()
    return kept


def _number(value: float | None) -> float | str | None:
    """A number as JSON can hold it."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"


def _mark_equal(tensors: Sequence[dict[str, Any]], rows: Sequence[Iterable[ArrayRow]]) -> None:
    """Say of each array which others of the same file are equal; between files, what moved."""
    by_name = {tensor["name"]: tensor for tensor in tensors}
    for index, seen in enumerate(rows):
        for same in duplicates(seen):
            for name in same:
                others = [other for other in same if other != name]
                by_name[name]["sides"][index]["equal"] = others[:_LISTED]
    if len(rows) == 2:
        digests = {r.digest: r.name for r in rows[1] if by_name[r.name]["status"] == "added"}
        for row in rows[0]:
            if by_name[row.name]["status"] == "removed" and row.digest in digests:
                new = digests.pop(row.digest)
                by_name[row.name] |= {"status": "renamed", "other": new}
                by_name[new] |= {"status": "renamed", "other": row.name}


def _ties(file: Shown) -> dict[str, list[dict[str, Any]]]:
    return {
        kept: [{"name": other.name, "transposed": other.transposed} for other in others]
        for kept, others in file.ties.items()
    }


def _document(title: str, data: Any) -> str:
    front = resources.files(__package__)
    style = front.joinpath("page.css").read_text("utf-8")
    script = front.joinpath("page.js").read_text("utf-8")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    # No sign that could end the element or begin another is left; JSON reads the same.
    told = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        told = told.replace(sign, f"\\u{ord(sign):04x}")
    told = told.encode("utf-8", "replace").decode("utf-8")
    body = front.joinpath("page.html").read_text("utf-8")
    parts = {
        "title": escape(title.encode("utf-8", "replace").decode("utf-8")),
        "policy": escape(policy),
        "style": style,
        "script": script,
        "data": told,
    }
    pieces = body.split("%%")
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
