"""How a file says that one array stands under several names.

The format holds each name once and shares no bytes, so a tie is written down in the metadata:

* `ansatz.ties`, in JSON: `{stored name: [{"name": other name, "transposed": false}, …]}`;
* for other readers, the pair `other name: stored name` that PyTorch's `save_model` writes. Such
  pairs are also read, from files that Ansatz did not write.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ansatz.core.errors import CheckpointError

FORMAT = "ansatz.format"
"""The metadata key of the version of these conventions."""

VERSION = 1
"""The version written, and the newest that can be read."""

TIES = "ansatz.ties"
"""The metadata key of the ties."""


class Alias(NamedTuple):
    """Another name of a stored array.

    Attributes:
        name: the other name.
        transposed: true if the array is seen transposed under it.
    """

    name: str
    transposed: bool = False


Ties = dict[str, tuple[Alias, ...]]
"""The other names of stored arrays, by the names under which they are stored."""


def encode(ties: Ties, stored: Collection[str]) -> dict[str, str]:
    """The metadata that says which names are tied.

    Args:
        ties: the other names of each tied array.
        stored: the names that have bytes of their own in the file.

    Example:
        >>> from ansatz.checkpoint.ties import Alias, encode
        >>> encode({"embed.weight": (Alias("head.weight"),)}, {"embed.weight"})["head.weight"]
        'embed.weight'
    """
    metadata = {FORMAT: str(VERSION)}
    if ties:
        metadata[TIES] = json.dumps(
            {name: [alias._asdict() for alias in aliases] for name, aliases in ties.items()},
            sort_keys=True,
        )
    for name, aliases in ties.items():
        for alias in aliases:
            if not alias.transposed and alias.name not in stored:
                metadata[alias.name] = name
    return metadata


def decode(metadata: Mapping[str, str], stored: Collection[str], label: str) -> Ties:
    """The ties of a file, from what Ansatz or PyTorch wrote.

    Args:
        metadata: the text metadata of the file.
        stored: the names of its arrays.
        label: the file, for messages.

    Raises:
        CheckpointError: the metadata contradict the file, or a newer Ansatz wrote them.
    """
    version = metadata.get(FORMAT)
    if version is None:
        return _from_pairs(metadata, stored)
    if not version.isdecimal() or int(version) > VERSION:
        raise CheckpointError(
            f"{label} was written in version {version!r} of the format of Ansatz; this one reads "
            f"versions up to {VERSION}. Upgrade Ansatz."
        )
    try:
        ties = {
            str(name): tuple(Alias(str(a["name"]), a["transposed"] is True) for a in aliases)
            for name, aliases in json.loads(metadata.get(TIES, "{}")).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{label} is damaged: its metadata {TIES!r} are not what Ansatz writes ({error!r})"
        ) from error
    names = [name for kept, aliases in ties.items() for name in (kept, *(a.name for a in aliases))]
    absent = [name for name in ties if name not in stored]
    if absent or len(set(names)) < len(names):
        what = f"tie '{absent[0]}', which it does not hold" if absent else "tie a name twice"
        raise CheckpointError(f"{label} is damaged: its metadata {what}")
    return ties


def _from_pairs(metadata: Mapping[str, str], stored: Collection[str]) -> Ties:
    ties: Ties = {}
    for dropped, kept in sorted(metadata.items()):
        if kept in stored and dropped not in stored:
            ties[kept] = (*ties.get(kept, ()), Alias(dropped))
    return ties
