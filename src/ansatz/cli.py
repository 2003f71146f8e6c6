"""The command line: `ansatz inspect`, `diff`, `convert`, `verify` and `view`, for all formats.

It only reads arguments and shows results. Exit status: 0 for yes (the same, sound, done), 1 for no
(different, not sound), 2 for a file or argument that cannot be used.
"""

from __future__ import annotations

import contextlib
import json
import sys
import webbrowser
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ansatz.checkpoint import conversion, formats
from ansatz.checkpoint.atomic import replacing
from ansatz.checkpoint.contents import Contents
from ansatz.checkpoint.rename import Step, strip_prefix
from ansatz.checkpoint.verification import bytes_to_verify, verify_file
from ansatz.core.errors import AnsatzError, did_you_mean
from ansatz.core.paths import name_matches
from ansatz.core.progress import ReadProgress
from ansatz.inspect.arrays import ArrayRow, duplicates, rows_of
from ansatz.inspect.difference import difference
from ansatz.inspect.file_tables import as_json, difference_table, faults_of, table_of
from ansatz.inspect.page import page_of
from ansatz.inspect.text import printable

_LARGE = 1 << 27  # From so many bytes on, a progress bar is shown.

app = App(
    name="ansatz",
    help="Look into checkpoints of any format, compare and convert them. Nothing in them is run.",
    version=lambda: f"ansatz {metadata.version('ansatz-nn')}",
    version_flags=["--version"],
)
app.help_epilogue = (
    "Exit status: 0 for yes (the same, sound, done), 1 for no (diff: different; verify: not "
    "sound), 2 for a file or an argument that cannot be used; then nothing was written."
)
_PIPED_WIDTH = 200  # Who reads from a pipe wants whole lines, but rich has to fill some width.

Sort = Literal["file", "name", "size", "mean", "std", "min", "max", "zeros", "nans"]


@app.command
def inspect(
    file: str,
    *,
    sort: Sort = "file",
    select: str | None = None,
    values: bool = True,
    as_text: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show what a file holds: names, shapes, dtypes, statistics, and what is odd.

    Args:
        file: The file, an index of several, or the folder of a Hugging Face model.
        sort: The column to sort by; numbers from large to small.
        select: A glob over names, such as "*.weight".
        values: --no-values to read descriptions only.
        as_text: Print JSON for other programs.
    """
    contents = formats.open_file(file)
    names = [n for n in contents.entries if select is None or name_matches(select, n)]
    if select is not None and not names:
        raise ValueError(
            f"{select!r} picks none of the {len(contents.entries)} arrays in {file!r}"
            f"{did_you_mean(select, contents.entries)}"
        )
    with _progress(_bytes_of(contents, names) if values else 0) as told:
        rows = list(rows_of(contents, names, values=values, progress=told))
    remarks = _remarks(contents, rows)
    rows = _sorted(rows, sort)
    if as_text:
        held = [as_json(row, remarks.get(row.name, "")) for row in rows]
        totals = {"format": contents.format, "metadata": dict(contents.metadata), "arrays": held}
        print(json.dumps(totals, indent=2))
        return 0
    _out().print(table_of(rows, remarks, values=values))
    _out().print(_total(contents, rows))
    for note in contents.notes:
        _out().print(f"[yellow]{escape(printable(note))}[/yellow]")
    return 0


@app.command
def diff(a: str, b: str) -> int:
    """Compare two files, also of different formats. Exit status 1 if they differ.

    Args:
        a: The first file.
        b: The second file.
    """
    # One file may hold twice what the other only tells to be tied.
    one, two = formats.open_file(a).with_aliases(), formats.open_file(b).with_aliases()
    only_b = [name for name in two.entries if name not in one.entries]
    with _progress(_bytes_of(one) + _bytes_of(two, only_b)) as told:
        found = difference(one, two, told)
    if found:
        _out().print(difference_table(found))
    _out().print(
        f"{found.same} same, {len(found.changed)} changed, {len(found.renamed)} renamed, "
        f"{len(found.added)} added, {len(found.removed)} removed"
    )
    return 1 if found else 0


@app.command
def convert(
    source: str,
    target: str,
    *,
    select: str | None = None,
    rename: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    strip: str | None = None,
    cast: str | None = None,
    aliases: Annotated[bool, Parameter(negative="")] = False,
    lossy: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write what one file holds to another; the ending of its name decides the format.

    Args:
        source: The file to read.
        target: The file to write, whole or not at all: .safetensors, .npz, .params, ….
        select: A glob over the names in the source; only these arrays are written.
        rename: OLD=NEW, where * stands for anything; an empty NEW leaves arrays out. May be given
            several times, one after the other.
        strip: A prefix to take from names.
        cast: The dtype of all floating numbers in the new file, such as bfloat16.
        aliases: Write a tied array under each of its names.
        lossy: Go on where the new format cannot hold everything; what is lost is printed.
    """
    steps: list[Step] = [strip_prefix(strip)] if strip else []
    for each in rename:
        old, equals, new = each.partition("=")
        if not equals:
            raise ValueError(f"--rename takes OLD=NEW, got {each!r}")
        steps.append({old: new or None})
    prepared = conversion.prepare(
        source, target, select=select, rename=steps or None, aliases=aliases
    )
    with _progress(prepared.nbytes) as told:
        done = prepared.carry_out(cast=cast, lossy=lossy, progress=told)
    for loss in done.losses:
        _out().print(f"[yellow]{escape(printable(loss))}[/yellow]")
    kind = prepared.format.name
    wrote = f"wrote {done.arrays} arrays, {done.nbytes:,} bytes, to {done.target} ({kind})"
    _out().print(escape(printable(wrote)))
    return 0


@app.command
def verify(file: str) -> int:
    """Check that a file is sound; nothing in it is run. Exit status 1 if it is not.

    Args:
        file: The file.
    """
    contents = formats.open_file(file)
    with _progress(bytes_to_verify(contents)) as told:
        warnings = verify_file(contents, told)
    for warning in warnings:
        _out().print(f"[yellow]{escape(printable(warning))}[/yellow]")
    count, nbytes = len(contents.entries), sum(e.nbytes for e in contents.entries.values())
    _out().print(escape(f"{file} is sound: {contents.format}, {count} arrays, {nbytes:,} bytes"))
    return 0


@app.command
def view(
    file: str,
    other: str | None = None,
    *,
    output: Annotated[str | None, Parameter(name=["--output", "-o"])] = None,
    browser: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write a page that shows every array of a file, or of two side by side. It needs no network.

    Args:
        file: The file.
        other: Another one to compare it with.
        output: The page to write; FILE.html in this folder without it.
        browser: Open it as well.
    """
    target = Path(output or f"{Path(file).resolve().name}.html")
    # One file may hold twice what the other only tells to be tied.
    one = formats.open_file(file).with_aliases()
    two = None if other is None else formats.open_file(other).with_aliases()
    for each in filter(None, (file, other)):
        if target.exists() and target.samefile(each):
            raise ValueError(f"the page would replace {each!r}; name another --output")
    with _progress(_bytes_of(one)) as told:
        page = page_of(one, two, progress=told)
    with replacing(target) as written:
        written.write(page.encode("utf-8"))
    _out().print(escape(f"wrote {target}; it opens in any browser"))
    if browser:
        webbrowser.open(target.resolve().as_uri())
    return 0


# -- helpers --------------------------------------------------------------------------------------


def _out() -> Console:
    # Made when it is needed, for whoever has put something else in the place of stdout.
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def _err() -> Console:
    return Console(stderr=True)


def _bytes_of(contents: Contents, names: Iterable[str] | None = None) -> int:
    chosen = contents.entries if names is None else names
    return sum(contents.entries[name].nbytes for name in chosen)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[ReadProgress | None]:
    """Shows how much of so many bytes is done, where that may take a while."""
    if total < _LARGE or not _err().is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=_err(), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda name, nbytes: bar.update(task, description=escape(name), advance=nbytes)


def _remarks(contents: Contents, rows: list[ArrayRow]) -> dict[str, str]:
    told: dict[str, list[str]] = {}
    for kept, others in contents.ties.items():
        told.setdefault(kept, []).append("tied to " + ", ".join(other.name for other in others))
    tied = {other.name for others in contents.ties.values() for other in others}
    for same in duplicates(rows):
        for name in same[1:]:
            if name not in tied:
                told.setdefault(name, []).append(f"equal to {same[0]}")
    for row in rows:
        if contents.entries[row.name].held:
            told.setdefault(row.name, []).append(contents.entries[row.name].held)
    return {name: "; ".join(remarks) for name, remarks in told.items()}


def _sorted(rows: list[ArrayRow], key: Sort) -> list[ArrayRow]:
    if key == "file":
        return rows
    if key == "name":
        return sorted(rows, key=lambda row: row.name)
    known = [row for row in rows if getattr(row, key) is not None]
    unknown = [row for row in rows if getattr(row, key) is None]
    return sorted(known, key=lambda row: -getattr(row, key)) + unknown


def _total(contents: Contents, rows: list[ArrayRow]) -> str:
    odd = sum(1 for row in rows if faults_of(row))
    tied = sum(len(others) for others in contents.ties.values())
    parts = [
        f"{len(rows)} arrays",
        f"{sum(row.size for row in rows):,} numbers",
        f"{sum(row.nbytes for row in rows):,} bytes",
        contents.format,
    ]
    parts += [f"{tied} tied names"] if tied else []
    parts += [f"{odd} with remarks on their values"] if odd else []
    return f"\n[bold]total[/bold]  {escape(', '.join(parts))}"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line; errors about files are shown without a trace.

    Args:
        words: what was typed after `ansatz`; what the shell passed, without it.
    """
    words = sys.argv[1:] if words is None else words
    try:
        status = app(words, result_action="return_value")
    except (AnsatzError, OSError, ValueError, TypeError) as error:
        message = printable(str(error), lines=True)
        _err().print(f"[red]{escape(message)}[/red]", soft_wrap=True)
        sys.exit(1 if words[:1] == ["verify"] and isinstance(error, AnsatzError) else 2)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
