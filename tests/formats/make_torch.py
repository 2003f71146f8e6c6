"""Write the PyTorch files of this folder, and what their tensors are, with PyTorch itself.

    python tests/formats/make_torch.py            # make the files
    python tests/formats/make_torch.py --check    # read back what Ansatz wrote for PyTorch users

Run where torch (2.13) and safetensors are installed. For every file the values as PyTorch sees them
are stored next to it, in a safetensors file of the same name.
"""

import argparse
import json
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

FOLDER = Path(__file__).parent


def counted(*shape: int) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def keep(name: str, saved: object, seen: dict[str, torch.Tensor], **options: object) -> None:
    torch.save(saved, FOLDER / f"{name}.pt", **options)
    # One copy each: safetensors shares nothing, and knows neither complex128 nor views.
    plain = {
        key: torch.view_as_real(value.resolve_conj()).clone()
        if value.dtype == torch.complex128
        else value.resolve_conj().resolve_neg().clone().contiguous()
        for key, value in seen.items()
    }
    save_file(plain, FOLDER / f"{name}.expected.safetensors")


def main() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4))
    net(torch.randn(5, 2, 4, 4))
    state = net.state_dict()
    keep("torch_state_dict", state, dict(state))

    base = counted(4, 6)
    views = {
        "whole": base,
        "transposed": base.T,
        "rows": base[1:3],
        "column": base[:, 2],
        "every_other": base[::2, 1::2],
        "expanded": counted(3).reshape(3, 1).expand(3, 5),
        "scalar": base[2, 3],
        "empty": base[:0],
        "same_again": base,
        "reshaped": base.reshape(24),
        # Kept as a view with a bit that says "read it negated".
        "negated": torch.complex(counted(2, 3), counted(2, 3)).conj().imag,
    }
    keep("torch_views", views, views)

    conjugated = torch.complex(counted(2, 3), -counted(2, 3))
    dtypes = {
        str(dtype).removeprefix("torch."): (counted(2, 3) / 2).to(dtype)
        for dtype in (
            *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8),
            *(torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.complex64),
            *(torch.complex128, torch.uint16, torch.uint32, torch.uint64),
            *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz),
            torch.float8_e5m2fnuz,
        )
    }
    dtypes["conjugated"] = conjugated.conj()
    keep("torch_dtypes", dtypes, dtypes)

    tied = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    tied[1].weight = tied[0].weight
    optimizer = torch.optim.Adam(tied.parameters(), lr=0.125)
    tied[1](tied[0](torch.tensor([1, 2]))).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 7,
        "arguments": {"lr": 0.125, "name": "größe", "layers": [1, 2], "none": None},
        "model": OrderedDict((f"module.{k}", v) for k, v in tied.state_dict().items()),
        "optimizer": optimizer.state_dict(),
        "size": torch.Size([2, 3]),
        "dtype": torch.bfloat16,
        "parameter": nn.Parameter(counted(2)),
        "list": [counted(1), (counted(2), 3.5)],
    }
    seen = {f"model.{key}": value for key, value in checkpoint["model"].items()}
    for key, value in checkpoint["optimizer"]["state"][0].items():
        seen[f"optimizer.state.0.{key}"] = value
    seen["parameter"] = checkpoint["parameter"].detach()
    seen |= {"list.0": counted(1), "list.1.0": counted(2)}
    keep("torch_checkpoint", checkpoint, seen)
    keep("torch_protocol_4", checkpoint, seen, pickle_protocol=4)

    keep_composed()

    first, second = {"a.weight": counted(3, 2)}, {"b.weight": counted(2, 3).half()}
    torch.save(first, FOLDER / "sharded" / "pytorch_model-00001-of-00002.bin")
    torch.save(second, FOLDER / "sharded" / "pytorch_model-00002-of-00002.bin")
    index = {
        "metadata": {"total_size": 36},
        "weight_map": {
            "a.weight": "pytorch_model-00001-of-00002.bin",
            "b.weight": "pytorch_model-00002-of-00002.bin",
        },
    }
    text = json.dumps(index, indent=2)
    (FOLDER / "sharded" / "pytorch_model.bin.index.json").write_text(text)

    torch.save(first, FOLDER / "torch_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(nn.Linear(1, 1), FOLDER / "torch_module.pt")


def keep_composed() -> None:
    """Tensors that are made of others; what is expected is what PyTorch makes of them."""
    numbers = counted(4, 6) / 8 - 1
    scales, zeros = torch.tensor([0.5, 0.25, 0.125, 0.1]), torch.tensor([1, 2, 3, 4])
    holes = counted(4, 6) * (counted(4, 6) % 3 == 0)
    twice = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 0]], [1.0, 2.0, 3.0], (2, 3))
    planes = torch.sparse_coo_tensor([[1, 3]], counted(2, 5).to(torch.bfloat16), (4, 5))
    vectors = torch.sparse_coo_tensor(torch.zeros(0, 2, dtype=torch.int64), counted(2, 3), (3,))
    composed = {
        "qint8": torch.quantize_per_tensor(numbers, 0.05, 3, torch.qint8),
        "quint8": torch.quantize_per_tensor(numbers, 0.05, 30, torch.quint8).T,
        "qint32": torch.quantize_per_tensor(numbers, 0.001, -7, torch.qint32),
        "channels": torch.quantize_per_channel(numbers, scales, zeros, 0, torch.quint8),
        "columns": torch.quantize_per_channel(numbers.T, scales, zeros, 1, torch.qint8),
        "fractions": torch.quantize_per_channel(numbers, scales, zeros / 8, 0, torch.quint8),
        "coo": holes.to_sparse(),
        "coo_twice": twice,
        "coo_scalar": torch.tensor(3.0).to_sparse(),
        "coo_vectors": vectors,
        "coo_planes": planes,
        "csr": holes.to_sparse_csr(),
        "csc": holes.to_sparse_csc().to(torch.float64),
        "empty": torch.zeros(2, 3).to_sparse(),
        "buffer": nn.Buffer(counted(2)),
        "parameter": nn.Parameter(holes.to_sparse(), requires_grad=False),
    }
    seen = {
        name: (value.dequantize() if value.is_quantized else value.detach().to_dense())
        for name, value in composed.items()
    }
    keep("torch_composed", composed, seen)
    for name, value in (
        ("torch_meta", torch.empty(2, device="meta")),
        ("torch_blocks", torch.ones(4, 4).to_sparse_bsr((2, 2))),
    ):
        torch.save({"layer": {"weight": value}}, FOLDER / f"{name}.pt")


def check(written: Path) -> None:
    """Read what `tests/formats/write_for_others.py` wrote."""
    found = load_file(written / "ours.safetensors")
    expected = json.loads((written / "ours.json").read_text())
    for name, (dtype, values) in expected.items():
        assert str(found[name].dtype) == f"torch.{dtype}", name
        assert (
            found[name]
            .to(torch.complex64 if "complex" in dtype else torch.float64)
            .abs()
            .flatten()
            .tolist()
            == values
        ), name
    print(f"PyTorch {torch.__version__} reads all {len(expected)} tensors of ours.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", type=Path, help="the folder that write_for_others.py filled")
    arguments = parser.parse_args()
    (FOLDER / "sharded").mkdir(exist_ok=True)
    check(arguments.check) if arguments.check else main()
