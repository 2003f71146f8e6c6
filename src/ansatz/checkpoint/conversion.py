"""From one format to another: nothing is lost silently, and what was written is read back.

Arrays pass one at a time, so memory stays at one of them. What the other format cannot hold is
found out before anything is written: dtypes, shapes, ties, metadata. With `lossy=True` it goes
into what comes nearest: bfloat16 as float32 keeps every value, a tie becomes two copies, metadata
stay behind. What would change values is done only where `cast` says so.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from ansatz.checkpoint import values
from ansatz.checkpoint.contents import Contents, LazyArray, native
from ansatz.checkpoint.dtypes import dtype_called, exact_stand_in
from ansatz.checkpoint.formats import Format, format_for, open_file
from ansatz.checkpoint.numpy_files import ONE
from ansatz.checkpoint.rename import Rename
from ansatz.checkpoint.source import Source, source_of
from ansatz.checkpoint.ties import FORMAT, TIES, Alias, Ties, encode
from ansatz.core.errors import CheckpointError, did_you_mean, format_value
from ansatz.core.paths import name_matches
from ansatz.core.progress import ReadProgress

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


@dataclasses.dataclass(frozen=True, slots=True)
class Conversion:
    """What was converted.

    Attributes:
        source: the file that was read.
        target: the file that was written.
        arrays: how many arrays were written.
        nbytes: how many bytes they have.
        losses: what the other format could not hold, one sentence each.
    """

    source: str
    target: str
    arrays: int
    nbytes: int
    losses: tuple[str, ...]


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    select: str | None = None,
    rename: Rename | None = None,
    cast: DTypeLike | None = None,
    aliases: bool = False,
    lossy: bool = False,
    progress: ReadProgress | None = None,
) -> Conversion:
    """Write what one file holds to another, whole or not at all; the ending decides the format.

    Args:
        source: a file of any format that can be read.
        target: the new file; an older one is replaced in one step, or stays if anything fails.
        select: a glob over the names in the source, not over new ones; only these arrays are
            written. A tied array is picked by each of its names, and stored under the one picked.
        rename: new names and layouts, see `ansatz.checkpoint.rename`.
        cast: the dtype of all arrays of floating numbers in the new file.
        aliases: true to write a tied array under each of its names with bytes of its own.
        lossy: true to go on where the new format cannot hold everything.
        progress: told the name and the bytes of each array that was read, to be written and again
            to be compared; in the end these are `Prepared.nbytes` together.

    Returns:
        What was written, and what was lost.

    Raises:
        CheckpointError: the source cannot be read, or the target cannot hold what is in it; the
            message says what would be lost. Nothing was written.

    Example:
        >>> import numpy as np
        >>> from ansatz.checkpoint import convert, load_arrays, save_arrays
        >>> save_arrays("old.npz", {"model.w": np.ones((2, 3), "float32")})
        >>> done = convert("old.npz", "new.safetensors", rename={"model.*": "*"})
        >>> load_arrays("new.safetensors")["w"].shape
        (2, 3)
    """
    prepared = prepare(source, target, select=select, rename=rename, aliases=aliases)
    return prepared.carry_out(cast=cast, lossy=lossy, progress=progress)


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """A conversion of which it is known what will be written, and nothing is yet.

    Attributes:
        contents: the source.
        target: the new file.
        format: that of the new file.
        arrays: the arrays under their new names.
        ties: which of them are tied.
        names: those that will be written.
        aliases: whether tied arrays are written under each of their names.
    """

    contents: Contents
    target: str
    format: Format
    arrays: Source
    ties: Ties
    names: list[str]
    aliases: bool

    @property
    def nbytes(self) -> int:
        """How many bytes `carry_out` will tell of: each array twice."""
        return 2 * sum(self.arrays.entries[name].nbytes for name in self.names)

    def carry_out(
        self, *, cast: DTypeLike | None, lossy: bool, progress: ReadProgress | None
    ) -> Conversion:
        """Write the new file; see `convert`."""
        contents, row = self.contents, self.format
        row.check(self.names, self.target)  # First: that `lossy` would not help.
        job = _Job(self.arrays, row, cast, progress)
        made = {name: job.array(name) for name in self.names}
        arrays = {name: array for name, array in made.items() if array is not None}
        metadata = job.metadata(contents, self.ties, arrays)
        if contents.ties and not row.keeps_metadata and not self.aliases:
            job.losses.append(f"{row.name} cannot tell ties: tied arrays are written as copies")
        # As the reader will see them.
        meant = arrays if row.keeps_names else {ONE: next(iter(arrays.values()))}
        if meant.keys() != arrays.keys():
            lost = f"'{self.names[0]}' is read as '{ONE}'"
            job.losses.append(f"{row.name} has no place for names: {lost}")
        _check_no_loss(job.losses, contents.path, self.target, row, lossy=lossy)
        ties = self.ties if row.keeps_metadata else {}

        def verify(place: str) -> None:
            _check_read_back(place, self.target, meant, ties)

        row.save(self.target, arrays, metadata, verify=verify)
        job.tell_the_rest(self.nbytes)
        nbytes = sum(array.nbytes for array in arrays.values())
        return Conversion(contents.path, self.target, len(arrays), nbytes, tuple(job.losses))


def prepare(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    select: str | None = None,
    rename: Rename | None = None,
    aliases: bool = False,
) -> Prepared:
    """Find what a conversion will write; the arguments are those of `convert`.

    Raises:
        CheckpointError: the source cannot be read, the target is a part of it, or a selection or a
            rename does not fit.
    """
    row = format_for(target)
    contents = open_file(source)
    _check_place(contents, os.fspath(target))
    found = source_of(contents)
    known = found.names
    if not contents.format.startswith("torch"):  # Whose ties are one storage.
        found = _truly_tied(found)
    if aliases or not row.keeps_metadata:
        found = found.with_aliases()
    if select is not None:
        found = _selected(found, select)
    found = found.renamed(rename, known)
    ties = {kept: others for kept, others in found.ties.items() if others}
    told = {alias.name for others in ties.values() for alias in others}
    names = [name for name in found.entries if name not in told]
    return Prepared(contents, os.fspath(target), row, found, ties, names, aliases)


def _check_no_loss(
    losses: list[str], source: str, target: str, row: Format, *, lossy: bool
) -> None:
    if losses and not lossy:
        shown = "\n".join(f"  {loss}" for loss in losses[:20])
        more = f"\n  and {len(losses) - 20} more" if len(losses) > 20 else ""
        raise CheckpointError(
            f"{target!r} was not written: {row.name} cannot hold all of {source!r}. Pass "
            f"lossy=True (on the command line --lossy) to go on like this:\n{shown}{more}"
        )


class _Job:
    """The arrays of a conversion, and what is lost on the way."""

    def __init__(
        self, source: Source, row: Format, cast: DTypeLike | None, progress: ReadProgress | None
    ) -> None:
        self._source = source
        self._row = row
        # A cast to integers would lose values.
        self._cast = None if cast is None else dtype_called(cast, floating=True)
        self._progress = progress
        self._told = 0
        self.losses: list[str] = []

    def array(self, name: str) -> LazyArray | None:
        """The array as it is to be written; `None` if the format has no place for it."""
        stored = self._source.entries[name]
        shape, loss = self._row.fitted(name, stored.shape, stored.dtype)
        if loss:
            self.losses.append(loss)
        if shape is None:
            return None
        wanted = self._wanted(name, native(stored.dtype))
        made = LazyArray(shape, wanted, lambda: self._read(name, wanted).reshape(shape))
        why = self._row.refusal(name, made)
        if why:
            raise CheckpointError(
                f"nothing was written: '{name}' has {why}; leave it out: "
                f"rename={{{name!r}: None}} (on the command line --rename '{name}=')"
            )
        return made

    def _wanted(self, name: str, stored: np.dtype[Any]) -> np.dtype[Any]:
        wanted = stored
        if self._cast is not None and jnp.issubdtype(stored, jnp.floating):
            wanted = self._cast
        if wanted in self._row.holds:
            return wanted
        stand_in = exact_stand_in(wanted, self._row.holds)
        if stand_in is None:
            raise CheckpointError(
                f"nothing was written: {self._row.name} can hold neither {wanted} ('{name}') nor "
                "anything that its values fit in; choose another format or pass cast"
            )
        self.losses.append(f"'{name}' is {wanted}: it becomes {stand_in}, with the same values")
        return stand_in

    def _read(self, name: str, wanted: np.dtype[Any]) -> NDArray[Any]:
        raw = self._source.read(name)
        value: NDArray[Any] = values.converted(raw, wanted, transposed=False)
        lost = values.lost_by_conversion(raw, value)
        if lost:
            raise CheckpointError(f"nothing was written: in '{name}', {lost}")
        self._tell(name, raw.nbytes)
        return value

    def _tell(self, name: str, nbytes: int) -> None:
        self._told += nbytes
        if self._progress is not None:
            self._progress(name, nbytes)

    def tell_the_rest(self, nbytes: int) -> None:
        """What was left out, and arrays that are not read again where checksums are compared."""
        self._tell("", max(0, nbytes - self._told))

    def metadata(
        self, contents: Contents, ties: Ties, arrays: Mapping[str, LazyArray]
    ) -> dict[str, str]:
        """The metadata of the source, with the ties of what is written."""
        told = encode(ties, arrays)
        own = (*told, FORMAT, TIES, "ansatz.arrays")
        # A pair of PyTorch's, for names that may be others now.
        pairs = {alias.name for others in contents.ties.values() for alias in others}
        kept = {k: v for k, v in contents.metadata.items() if k not in own and k not in pairs}
        if kept and not self._row.keeps_metadata:
            self.losses.append(f"{self._row.name} has no place for metadata ({len(kept)} entries)")
        return {**kept, **told} if self._row.keeps_metadata else {}


def _check_place(contents: Contents, target: str) -> None:
    """Refuse to replace a part of the source, without which the rest could not be read."""
    place, whole = os.path.realpath(target), os.path.realpath(contents.path)
    inside = os.path.isdir(whole) and place.startswith(os.path.join(whole, ""))
    if inside or place in map(os.path.realpath, contents.parts):
        raise CheckpointError(
            f"{target!r} was not written: it is one of the files that {contents.path!r} is read "
            "from; choose another name"
        )


def _selected(source: Source, select: str) -> Source:
    """The arrays of a source that a glob picks, each under the first of its names that it picks.

    Raises:
        CheckpointError: it picks none.
    """
    found = source.under(lambda name: name_matches(select, name))
    if not found.entries:
        raise CheckpointError(
            f"{select!r} picks none of the {len(source.entries)} arrays in {source.label}, whose "
            f"own names it is compared with{did_you_mean(select, source.names)}"
        )
    return found


def _truly_tied(source: Source) -> Source:
    """The same without the names whose own bytes, if they have any, say something else."""
    ties = {
        kept: tuple(alias for alias in others if _says_the_same(source, kept, alias))
        for kept, others in source.ties.items()
    }
    return dataclasses.replace(source, ties=ties)


def _says_the_same(source: Source, kept: str, alias: Alias) -> bool:
    if alias.name not in source.entries:
        return True
    one, other = source.read(kept), source.read(alias.name)
    one = one.T if alias.transposed else one
    same = (one.shape, one.dtype) == (other.shape, other.dtype)
    return same and values.largest_difference(one, other) is None


def _check_read_back(place: str, target: str, arrays: Mapping[str, LazyArray], ties: Ties) -> None:
    """Names, shapes, dtypes and ties as the reader sees them, before an older file is replaced.

    The bytes have been compared already.
    """
    contents = open_file(place)

    def described(arrays: Mapping[str, Any]) -> dict[str, str]:
        return {name: format_value(array) for name, array in arrays.items()}

    def joined(ties: Ties) -> dict[str, str]:
        groups = [sorted((kept, *(a.name for a in others))) for kept, others in ties.items()]
        return {", ".join(group): "tied" for group in groups}

    meant = described(arrays) | joined(ties)
    found = described(contents.entries) | joined(contents.ties)
    wrong = [
        f"'{name}' is {found.get(name, 'not there')}, meant was {meant.get(name, 'none')}"
        for name in sorted(meant.keys() | found.keys())
        if meant.get(name) != found.get(name)
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(
            f"{target!r} was not written, because it would not read back as what was meant: "
            f"{'; '.join(wrong[:3])}{more}. An older file is left as it was."
        )
