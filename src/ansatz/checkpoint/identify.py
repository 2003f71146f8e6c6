"""What a file that is not safetensors looks like, and how to get at what it holds.

Files are told apart by their first bytes, never by their suffix, and nothing in them is run.
"""

from __future__ import annotations

_PICKLE = (
    "Reading a pickle can run code, so it is not done here; convert the file once, where it was "
    "made: safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)"
)
_SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them"),
    (b"\x93NUMPY", "a NumPy array file (.npy); pass numpy.load(path) to load_state_dict"),
    (b"GGUF", "a GGUF file"),
    (b"\x12\x01\x00\x00\x00\x00\x00\x00", "a parameter file of MXNet"),
    (b"\x1f\x8b", "compressed by gzip; decompress it first"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, which only names the file that was meant; fetch it: git lfs pull",
    ),
)
_LOCAL_NAME = 30  # where the name of the first member stands in a ZIP archive


def describe(head: bytes) -> str | None:
    r"""What a file that begins with `head` is, for an error message; `None` if nobody knows.

    Args:
        head: the first bytes of the file; 512 are enough.

    Example:
        >>> from ansatz.checkpoint.identify import describe
        >>> describe(b"GGUF\x03\x00")
        'a GGUF file'
    """
    for signature, meaning in _SIGNATURES:
        if head.startswith(signature):
            return meaning
    if head.startswith(b"PK\x03\x04"):
        return _describe_zip(head)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"a pickle. {_PICKLE}"
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, perhaps an error message that was saved by a download"
    if start.startswith(b"{") and b"weight_map" in head:
        return "the index of a checkpoint in several files; load each of these"
    if start.startswith((b"{", b"[")):
        return "a JSON text"
    return None


def _describe_zip(head: bytes) -> str:
    length = int.from_bytes(head[26:28], "little")
    first = head[_LOCAL_NAME : _LOCAL_NAME + length]
    if first.endswith((b"data.pkl", b".data/serialization_id", b".format_version", b"byteorder")):
        return f"a PyTorch file, which is a ZIP archive around a pickle. {_PICKLE}"
    if first.endswith(b".npy"):
        return (
            "a NumPy archive (.npz); pass dict(numpy.load(path, allow_pickle=False)) to "
            "load_state_dict"
        )
    if first in (b"metadata.json", b"config.json"):
        return "a ZIP archive, perhaps a Keras model"
    return f"a ZIP archive that begins with {first.decode('utf-8', 'replace')!r}"
