"""HDF5 files that lead elsewhere, or claim what they do not hold."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FORMATS = Path(__file__).parent


def hdf5(folder: Path) -> Iterator[tuple[str, bytes | Callable[[Path], Any]]]:
    """The names and the contents of the files."""

    def made(change: Callable[[Any], Any]) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            with h5py.File(path, "w") as file:
                change(file.create_group("a/vars"))

        return write

    def dataset(shape: Any = (4,), dtype: Any = "f4", **options: Any) -> Callable[[Path], None]:
        return made(lambda group: group.create_dataset("0", shape, dtype, **options))

    def virtual(group: Any) -> None:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
        group.create_virtual_dataset("0", layout)

    def nested(group: Any) -> None:
        for _ in range(200):
            group = group.create_group("g")
        group["0"] = np.ones(2)

    def link(target: Any) -> Callable[[Path], None]:
        return made(lambda group: group.__setitem__("0", target))

    bomb = np.zeros(12_500_000)
    bad = {
        "external": dataset(external=[("/etc/passwd", 0, 16)]),
        "virtual": made(virtual),
        "soft-link": link(h5py.SoftLink("/b")),
        "external-link": link(h5py.ExternalLink("/etc/passwd", "/")),
        "cycle": made(lambda group: group.__setitem__("again", group.parent)),
        "twice": made(lambda group: group.__setitem__("1", group.create_dataset("0", data=[1.0]))),
        "nested": made(nested),
        "terabytes": dataset((2**40,), chunks=(2**20,)),
        "overflow": dataset((2**31, 2**31), chunks=(1024, 1024)),
        "not-stored": dataset((1000,), chunks=(100,)),
        "large-chunk": dataset((2**28,), chunks=(2**28,)),
        "bomb": made(lambda group: group.create_dataset("0", data=bomb, compression="gzip")),
        "other-filter": made(lambda g: g.create_dataset("0", data=np.ones(99), compression="lzf")),
        "references": dataset(dtype=h5py.ref_dtype),
        "regions": dataset(dtype=h5py.regionref_dtype),
        "texts": dataset(dtype=h5py.string_dtype()),
        "lists": dataset(dtype=h5py.vlen_dtype("f4")),
        "record": dataset(dtype=[("x", "f4"), ("y", "i4")]),
        "opaque": dataset((1,), dtype="V65536"),
        "type": made(lambda group: group.__setitem__("0", np.dtype("f4"))),
        "no-shape": made(lambda group: group.__setitem__("0", h5py.Empty("f4"))),
    }
    for name, content in bad.items():
        yield f"hdf5-{name}.h5", content
    whole = (FORMATS / "keras_bfloat16.weights.h5").read_bytes()
    yield "hdf5-garbage.h5", whole[:8] + b"\xff" * 500
    yield "hdf5-header-only.h5", whole[:96]
    # The library takes memory for as long a text as an attribute claims to be.
    place = struct.pack("<IQ", len("bfloat16"), whole.index(b"GCOL"))
    assert place in whole
    long = struct.pack("<I", 2**31 - 1) + place[4:]
    yield "hdf5-long-text.h5", whole.replace(place, long)
    yield "hdf5-text-elsewhere.h5", whole.replace(place, place[:4] + b"\xff" * 8)
