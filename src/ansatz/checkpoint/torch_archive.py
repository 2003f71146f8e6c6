"""The archive of `torch.save`, and what the names in its pickle mean.

`pickle_opcodes` interprets the pickle, and only what a checkpoint needs is known here, which is
dicts, lists, tuples, numbers, text, and tensors upon storages, also quantised and sparse ones
(`torch_composed`). Every other name is refused.

A tensor is a view of a storage: an offset, a shape and strides, all checked against the size of the
storage before anything is read.
"""

from __future__ import annotations

from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ansatz.checkpoint import zip_files
from ansatz.checkpoint.contents import check_shape
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.checkpoint.pickle_opcodes import MAX_BYTES, Global, Meaning, interpret
from ansatz.checkpoint.torch_composed import SCHEMES, Composed, Unread, quantised, sparse
from ansatz.core.errors import CheckpointError

_DTYPES: dict[str, np.dtype[Any]] = {
    "half": NUMPY["float16"],
    "float": NUMPY["float32"],
    "double": NUMPY["float64"],
    **NUMPY,
    **{name: EXTENSIONS[name] for name in EXTENSIONS if name.startswith(("bfloat", "float8"))},
}
_STORAGES: dict[str, np.dtype[Any] | None] = {
    "HalfStorage": NUMPY["float16"],
    "FloatStorage": NUMPY["float32"],
    "DoubleStorage": NUMPY["float64"],
    "BFloat16Storage": EXTENSIONS["bfloat16"],
    "ByteStorage": NUMPY["uint8"],
    "CharStorage": NUMPY["int8"],
    "ShortStorage": NUMPY["int16"],
    "IntStorage": NUMPY["int32"],
    "LongStorage": NUMPY["int64"],
    "BoolStorage": NUMPY["bool"],
    "ComplexFloatStorage": NUMPY["complex64"],
    "ComplexDoubleStorage": NUMPY["complex128"],
    "UntypedStorage": None,
}
# Integers that only mean something with their scales.
_QUANTISED = {
    "QInt8Storage": NUMPY["int8"],
    "QUInt8Storage": NUMPY["uint8"],
    "QInt32Storage": NUMPY["int32"],
}
_PLAIN = ("complex", "dict", "float", "int", "list", "str")
# What stands for itself and holds no tensor: it is named, and left out.
_INERT = {
    "argparse.Namespace",
    "collections.Counter",
    "datetime.datetime",
    "datetime.timedelta",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",  # Of Python 3.13.
    "pathlib._local.WindowsPath",
    "torch.device",
    # Of the last ones, most stand there as the factory of a defaultdict.
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in _PLAIN),
}
_ORDERED = ("collections.OrderedDict", "collections.defaultdict")
_SETS = ("builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset")
_REBUILDS = (
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
)
_QTENSOR = "torch._utils._rebuild_qtensor"
_SPARSE = "torch._utils._rebuild_sparse_tensor"
_META = "torch._utils._rebuild_meta_tensor_no_storage"
_TYPED = "torch._tensor._rebuild_from_type_v2"
_LAYOUT = "torch.serialization._get_layout"
_TYPES = ("torch.Tensor", "torch.nn.parameter.Buffer", "torch.nn.parameter.Parameter")
_SIZE = "torch.Size"
_BYTES = "_codecs.encode"  # How protocol 2 writes bytes.
_CALLS = {*_ORDERED, *_SETS, *_REBUILDS, _QTENSOR, _SPARSE, _META, _TYPED, _LAYOUT, _SIZE, _BYTES}
MAX_LEAVES = 300_000
"""How many values a file may hold; one with more is not to be trusted."""


class _Storage(NamedTuple):
    """Some bytes of the archive; `dtype` is `None` where only their number is known."""

    key: str
    dtype: np.dtype[Any] | None
    offset: int
    nbytes: int
    quantised: bool = False


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count elements."""

    storage: _Storage
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conjugated: bool = False
    negated: bool = False

    @property
    def plain(self) -> bool:
        """Whether its elements stand in the file in C order."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != expected:
                return 0 in self.shape
            expected *= size
        return not (self.conjugated or self.negated)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two tensors have in common if they are one; strides that are not used left out."""
        strides = [0 if n == 1 else s for n, s in zip(self.shape, self.strides, strict=True)]
        return (self.storage.key, self.dtype, self.offset, *self.shape, *strides, *self[5:])

    @property
    def flipped(self) -> Tensor:
        """The same with its axes in reverse order."""
        return self._replace(shape=self.shape[::-1], strides=self.strides[::-1])


class Inert(NamedTuple):
    """Something that is no tensor, under its name."""

    name: str


class Archive:
    """The members of the archive, and what the names in its pickle mean.

    Attributes:
        big_endian: whether the bytes of its numbers are swapped.
    """

    def __init__(self, file: BinaryIO, size: int, path: str) -> None:
        self._path = path
        self._members = zip_files.members(file, size, path)
        found = [name for name in self._members if name.rpartition("/")[2] == "data.pkl"]
        if len(found) != 1:
            raise CheckpointError(f"{path!r} holds {len(found)} members called data.pkl, not one")
        self._pickle = found[0]
        self._prefix = found[0].removesuffix("data.pkl")
        self._check_no_program()
        self._storages: dict[str, _Storage] = {}
        self._budget = MAX_LEAVES
        order = self._members.get(f"{self._prefix}byteorder")
        told = b"little" if order is None else zip_files.read_member(file, order, path, 16)
        if told not in (b"little", b"big"):
            raise CheckpointError(f"{path!r} has the unknown byte order {told!r}")
        self.big_endian = told == b"big"

    def root(self, file: BinaryIO) -> Any:
        """What was saved."""
        raw = zip_files.read_member(file, self._members[self._pickle], self._path, MAX_BYTES)
        meaning = Meaning(self._name, self._call, self._state, self._stored)
        return interpret(raw, meaning, f"the pickle in {self._path!r}")

    def _check_no_program(self) -> None:
        program = [f"{self._prefix}constants.pkl", f"{self._prefix}code/"]
        if any(name.startswith(tuple(program)) for name in self._members):
            raise CheckpointError(
                f"{self._path!r} is a program of TorchScript, not a checkpoint; save its values "
                "where it was made: torch.save(torch.jit.load(path).state_dict(), new_path)"
            )

    def _refuse(self, name: object) -> CheckpointError:
        hint = "Save the state dict alone: torch.save(model.state_dict(), path)"
        return CheckpointError(
            f"{self._path!r} names '{name}', which a checkpoint of tensors does not need and which "
            f"could run code; nothing was run or loaded. {hint}"
        )

    def _name(self, name: Global) -> Any:
        text = str(name)
        module = name.module
        if text in _CALLS or text in _INERT:
            return name
        if module in ("torch", "torch.storage") and name.name in {*_STORAGES, *_QUANTISED}:
            return name
        if (module == "torch" and name.name in {*_DTYPES, *SCHEMES}) or text in _TYPES:
            return name
        raise self._refuse(name)

    def _call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        text = str(function) if isinstance(function, Global) else ""
        if text in _INERT:
            if text.endswith("._reconstruct"):
                text = str(arguments[0]) if len(arguments) == 3 else ""
                if text != "numpy.ndarray":
                    raise self._damaged("an array of NumPy with impossible arguments")
            return Inert(text)
        if text not in _CALLS:
            raise self._refuse(function if text else type(function).__name__)
        try:
            return self._meant(text, arguments)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise self._damaged(f"a call of {text} with impossible arguments") from error

    def _meant(self, text: str, arguments: tuple[Any, ...]) -> Any:
        if text in _ORDERED:
            pairs = arguments[0] if text == _ORDERED[0] and arguments else []
            made: dict[Any, Any] = {}
            self._spend(len(pairs))
            for key, value in pairs:
                if not isinstance(key, str | int):
                    raise TypeError("a key that is neither text nor a number")
                made[key] = value
            return made
        if text in _SETS or text == _BYTES:
            return Inert(text)
        if text == _SIZE:
            (sizes,) = arguments
            check_shape(sizes, f"a size in {self._path!r}")
            return tuple(sizes)
        if text in (_QTENSOR, _SPARSE, _META, _TYPED, _LAYOUT):
            return self._composed(text, arguments)
        if text == _REBUILDS[0]:
            return self._tensor(*arguments[:4], None, *arguments[6:])
        if text == _REBUILDS[1]:
            return self._tensor(*arguments[:4], *arguments[6:])
        if not isinstance(arguments[0], Tensor | Composed | Unread):
            raise TypeError("a parameter of what is no tensor")
        return arguments[0]

    def _composed(self, text: str, arguments: tuple[Any, ...]) -> Any:
        if text == _LAYOUT:
            return arguments[0] if isinstance(arguments[0], str) else None
        if text == _META:
            return Unread("is a meta tensor, which has no values; save it from another device")
        if text == _TYPED:
            function, kind, inner = arguments[:3]
            if str(kind) not in _TYPES or str(function) not in (*_REBUILDS, _QTENSOR, _SPARSE):
                raise self._refuse(function if str(kind) in _TYPES else kind)
            return self._meant(str(function), inner)
        if text == _QTENSOR:
            integers = self._tensor(*arguments[:4], integers=True)
            self._check_tensors(arguments[4][1:3] if len(arguments[4]) > 3 else ())
            return quantised(integers, arguments[4])
        layout, data = arguments
        self._check_tensors(data[: 2 if layout == "torch.sparse_coo" else 3])
        size = data[2 if layout == "torch.sparse_coo" else 3]
        check_shape(size, f"a sparse tensor in {self._path!r}")
        return sparse(layout, data)

    def _check_tensors(self, parts: tuple[Any, ...]) -> None:
        if not all(isinstance(part, Tensor) for part in parts):
            raise TypeError("a tensor that is made of what are no tensors")

    def _spend(self, count: int) -> None:
        """One list may be named, and copied, again and again."""
        self._budget -= count
        if self._budget < 0:
            raise self._damaged(f"dicts of more than {MAX_LEAVES} items")

    def _state(self, target: Any, state: Any) -> Any:
        """A state dict carries version numbers as an attribute; they are of no use here."""
        if isinstance(target, dict | Inert | Tensor | Composed | Unread):
            return target
        raise self._refuse(type(target).__name__)

    def _stored(self, identifier: Any) -> _Storage:
        if type(identifier) is not tuple or len(identifier) != 5:
            raise self._damaged("something stored elsewhere that is no storage")
        kind, storage, key, _, count = identifier
        text = storage.name if isinstance(storage, Global) else ""
        if kind != "storage" or text not in {*_STORAGES, *_QUANTISED} or not isinstance(key, str):
            raise self._damaged("something stored elsewhere that is no storage")
        if not (key.isascii() and key.isdigit()) or type(count) is not int or count < 0:
            raise self._damaged(f"an impossible storage, {key[:40]!r}")
        member = self._members.get(f"{self._prefix}data/{key}")
        dtype = _STORAGES.get(text) or _QUANTISED.get(text)
        nbytes = count * (dtype.itemsize if dtype else 1)
        if member is None or member.deflated or member.size != nbytes:
            there = "is not there" if member is None else f"has {member.size}"
            raise self._damaged(f"a storage of {nbytes} bytes, but 'data/{key}' {there}")
        made = _Storage(key, dtype, member.offset, nbytes, text in _QUANTISED)
        if self._storages.setdefault(key, made) != made:
            raise self._damaged(f"the storage '{key}' with two dtypes")
        return made

    def _tensor(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        dtype: Any = None,
        bits: Any = None,
        *_: Any,
        integers: bool = False,
    ) -> Tensor:
        if not isinstance(storage, _Storage) or storage.quantised is not integers:
            raise TypeError("a tensor upon no storage")
        chosen = storage.dtype if dtype is None else _DTYPES.get(getattr(dtype, "name", ""))
        if chosen is None:
            raise self._damaged("a tensor of an unknown dtype")
        numbers = (offset, *shape, *strides)
        whole = all(type(number) is int for number in numbers)
        if not whole or len(shape) != len(strides) or min(offset, *strides, 0) < 0:
            raise self._damaged("a tensor whose offset, shape and strides are no sizes")
        check_shape(tuple(shape), f"a tensor in {self._path!r}")
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        held = storage.nbytes // chosen.itemsize
        if last >= held if 0 not in shape else offset > held:
            raise self._damaged(
                f"a tensor that reaches to element {last} of a storage of {held} elements"
            )
        bits = bits if isinstance(bits, dict) else {}
        return Tensor(
            storage,
            chosen,
            offset,
            tuple(shape),
            tuple(strides),
            bits.get("conj") is True and chosen.kind == "c",
            bits.get("neg") is True and chosen.kind != "b",
        )

    def _damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self._path!r} is damaged: it describes {what}")
