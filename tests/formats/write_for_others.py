"""Have Ansatz write files, which the programs that own the formats then read back.

    python tests/formats/write_for_others.py FOLDER
    python tests/formats/make_torch.py --check FOLDER
    python tests/formats/make_mxnet.py --check FOLDER      (MXNet 1.9.1, and again 2.0.0b1)
    python tests/formats/write_for_others.py FOLDER --check  (the others)

What came of it is written down in tests/formats/README.md.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import convert, save_arrays

DTYPES = ("bfloat16", "float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool")


def arrays() -> dict[str, Any]:
    held: dict[str, Any] = {
        name: np.arange(6).reshape(2, 3).T.astype(jnp.dtype(name)) for name in DTYPES
    }
    held["größe.权重"] = np.array([[1.5]], "float32")
    return held


def write(folder: Path) -> None:
    held = arrays()
    more = {
        **held,
        "complex64": np.array([3 + 4j], "complex64"),
        "float8_e4m3fn": np.arange(3).astype(jnp.float8_e4m3fn),
        "float8_e5m2": np.arange(3).astype(jnp.float8_e5m2),
    }
    for ending in (".safetensors", ".npz", ".msgpack", ".orbax"):
        save_arrays(folder / f"ours{ending}", more)
    told = {
        name: (str(array.dtype), np.abs(array).astype("f8").ravel().tolist())
        for name, array in more.items()
    }
    (folder / "ours.json").write_text(json.dumps(told))
    save_arrays(folder / "ours.params", {k: v for k, v in held.items() if k != "bfloat16"})
    np.savez(folder / "ours.expected.npz", **{k: v for k, v in held.items() if k != "bfloat16"})

    net = nn.Sequential(nn.Identity(), nn.Identity(), nn.Linear(18, 3))
    net.save(folder / "dense.params")
    gluon = {
        "0.weight": np.zeros((2, 1, 3, 3), "f4"),
        "0.bias": np.zeros(2, "f4"),
        **{
            f"1.{name}": np.ones(2, "f4")
            for name in ("gamma", "beta", "running_mean", "running_var")
        },
        **{name: np.asarray(value) for name, value in net.state_dict().items()},
    }
    save_arrays(folder / "net.params", gluon)

    keras = {"layers.dense.0": np.arange(6.0).reshape(2, 3), "layers.dense.1": np.ones(3)}
    save_arrays(folder / "ours.weights.h5", {k: v.astype("f4") for k, v in keras.items()})

    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    az.tie(tied, "0.weight", "1.weight")
    tied.save(folder / "tied.safetensors")
    for ending in (".npz", ".orbax"):
        convert(folder / "tied.safetensors", folder / f"tied{ending}")


def check(folder: Path) -> None:
    import keras
    import orbax.checkpoint as ocp
    from flax import serialization
    from safetensors import safe_open

    expected = json.loads((folder / "ours.json").read_text())
    with safe_open(folder / "ours.safetensors", "numpy") as file:
        # Its NumPy side does not know float8; PyTorch's does, see make_torch.py.
        plain = {name: file.get_tensor(name) for name in expected if "float8" not in name}
    with np.load(folder / "ours.npz") as archive:
        sources = {
            "safetensors": plain,
            "NumPy": {name: archive[name] for name in expected},
        }
    restored = serialization.msgpack_restore((folder / "ours.msgpack").read_bytes())
    restored["größe.权重"] = restored.pop("größe")["权重"]
    sources["Flax"] = restored
    orbax = ocp.StandardCheckpointer().restore((folder / "ours.orbax").absolute())
    orbax["größe.权重"] = orbax.pop("größe")["权重"]
    sources["Orbax"] = orbax
    for reader, found in sources.items():
        for name, array in found.items():
            dtype, values = expected[name]
            if array.dtype.kind == "V" and reader == "NumPy":
                array = array.view(jnp.dtype(dtype))  # NumPy knows only how many bytes it has.
            assert str(array.dtype) == dtype, (reader, name, array.dtype)
            assert np.abs(array).astype("f8").ravel().tolist() == values, (reader, name)
        print(f"{reader} reads {len(found)} of {len(expected)} arrays")
    check_orbax(folder)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)])
    model.load_weights(folder / "ours.weights.h5")
    assert np.asarray(model(np.array([[1.0, 2]]))).tolist() == [[7, 10, 13]]
    print(f"Keras {keras.__version__} loads ours.weights.h5 and computes with it")


def check_orbax(folder: Path) -> None:
    """Into a target of JAX arrays, by the older interface, and as a step of a manager."""
    import jax
    import orbax.checkpoint as ocp

    made = (folder / "tied.orbax").absolute()
    plain = ocp.PyTreeCheckpointer().restore(made)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = jax.tree.map(
        lambda held: jax.ShapeDtypeStruct(held.shape, held.dtype, sharding=device), plain
    )
    with ocp.StandardCheckpointer() as checkpointer:
        placed = checkpointer.restore(made, target)
        told = checkpointer.metadata(made).custom_metadata
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(placed))
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), plain, placed))
    assert told["1.weight"] == "0.weight"
    shutil.copytree(made, folder / "steps" / "3" / "default", dirs_exist_ok=True)
    with ocp.CheckpointManager((folder / "steps").absolute()) as manager:
        step = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(target))
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), plain, step))
    print("Orbax restores tied.orbax into a target and as a step, and sees its metadata")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(exist_ok=True)
    check(arguments.folder) if arguments.check else write(arguments.folder)
