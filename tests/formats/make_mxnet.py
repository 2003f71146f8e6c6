"""Write the MXNet files of this folder with MXNet itself, or read back what Ansatz wrote.

    python tests/formats/make_mxnet.py                  # make the files
    python tests/formats/make_mxnet.py --check FOLDER   # read those of write_for_others.py

Run it once where MXNet 1.9.1 is installed and once with 2.0.0b1 (both want Python 3.11 or older and
numpy 1.23.5); each writes the files of its own version. What the arrays are is stored next to each
file in a `.npz` archive.
"""

import argparse
from pathlib import Path

import numpy as np

np.bool = bool  # MXNet 1.9.1 asks for names that NumPy has given up.
import mxnet as mx  # noqa: E402
from mxnet import gluon, nd  # noqa: E402

FOLDER = Path(__file__).parent
NEW = mx.__version__.startswith("2")


def keep(name: str, arrays: dict[str, np.ndarray]) -> None:
    np.savez(FOLDER / f"{name}.expected.npz", **arrays)


def values_of(path: Path) -> dict[str, np.ndarray]:
    return {key: value.asnumpy() for key, value in nd.load(str(path)).items()}


def small_net() -> gluon.HybridBlock:
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(2, 3), gluon.nn.BatchNorm(), gluon.nn.Dense(3))
    mx.random.seed(0)
    net.initialize(mx.init.Xavier())
    return net


def recurrent() -> None:
    """One of each kind, with both directions, and a cell."""
    net = gluon.nn.Sequential()
    net.add(
        gluon.rnn.LSTM(3, 2, bidirectional=True, input_size=2),
        gluon.rnn.GRU(2, input_size=6),
        gluon.rnn.RNN(2, activation="tanh", input_size=2),
        gluon.rnn.LSTMCell(3, input_size=2),
    )
    mx.random.seed(0)
    net.initialize(mx.init.Uniform(1))
    x = mx.nd.random.normal(shape=(4, 2, 2))
    y = net[2](net[1](net[0](x)))
    cell, _ = net[3](y[-1], net[3].begin_state(2))
    net.save_parameters(str(FOLDER / "mxnet1_recurrent.params"))
    keep("mxnet1_recurrent", {"input": x.asnumpy(), "output": y.asnumpy(), "cell": cell.asnumpy()})


def main_1() -> None:
    recurrent()
    dtypes = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")
    path = FOLDER / "mxnet1_dtypes.params"
    held = {
        d: nd.array(np.arange(6).reshape(2, 3) - (0 if d[0] == "u" else 2), dtype=d) for d in dtypes
    }
    held |= {"": nd.ones((1,)), "权重.ä": nd.zeros((2, 1))}
    nd.save(str(path), held)
    keep("mxnet1_dtypes", {f"_{key}": value.asnumpy() for key, value in held.items()})

    dense = np.zeros((5, 3), "float32")
    dense[1], dense[4] = [1, 2, 3], [4, 0, -5]
    sparse = {
        "row_sparse": nd.array(dense).tostype("row_sparse"),
        "csr": nd.array(dense).tostype("csr"),
        "empty_rows": nd.sparse.zeros("row_sparse", (4, 2)),
        "empty_csr": nd.sparse.zeros("csr", (4, 2)),
        "half_rows": nd.array(dense, dtype="float16").tostype("row_sparse"),
        "dense": nd.array(dense),
    }
    nd.save(str(FOLDER / "mxnet1_sparse.params"), sparse)
    keep("mxnet1_sparse", {key: value.asnumpy() for key, value in sparse.items()})

    nd.save(str(FOLDER / "mxnet1_list.params"), [nd.ones((2,)), nd.zeros((1, 2))])

    net = small_net()
    net.hybridize()
    x = mx.nd.random.normal(shape=(2, 1, 5, 5))
    with mx.autograd.record():
        net(x)  # Moves the running statistics.
    y = net(x)
    net.save_parameters(str(FOLDER / "mxnet1_net.params"))
    keep(
        "mxnet1_net",
        values_of(FOLDER / "mxnet1_net.params") | {"input": x.asnumpy(), "output": y.asnumpy()},
    )
    net.export(str(FOLDER / "mxnet1_export"))
    (FOLDER / "mxnet1_export-symbol.json").unlink()
    (FOLDER / "mxnet1_export-0000.params").rename(FOLDER / "mxnet1_export.params")
    keep("mxnet1_export", values_of(FOLDER / "mxnet1_export.params"))

    with mx.util.np_shape(True):
        scalar = {"scalar": nd.array([2.5]).reshape(()), "none": nd.zeros((0, 3))}
        nd.save(str(FOLDER / "mxnet1_v3.params"), scalar)
        keep("mxnet1_v3", {key: value.asnumpy() for key, value in scalar.items()})


def main_2() -> None:
    mx.npx.set_np()
    net = small_net()
    y = net(mx.np.ones((2, 1, 5, 5)))
    net.save_parameters(str(FOLDER / "mxnet2_net.params"))
    values = {key: p.data().asnumpy() for key, p in net.collect_params().items()}
    keep("mxnet2_net", values | {"output": y.asnumpy()})
    arrays = {
        "a": mx.np.arange(3, dtype="int64"),
        "s": mx.np.array(1.5),
        "b": mx.np.ones((2,), "bool"),
        "i": mx.np.array([-3, 4], "int16"),
        "w": mx.np.array([1.5, -2.0], "float32").astype("bfloat16"),
    }
    old = {key: value.as_nd_ndarray() for key, value in arrays.items()}
    mx.nd.save(str(FOLDER / "mxnet2_list.params"), old)
    arrays["w"] = arrays["w"].astype("float32")  # NumPy has no bfloat16.
    keep("mxnet2_list", {key: value.asnumpy() for key, value in arrays.items()})
    mx.npx.save(str(FOLDER / "mxnet2_one.params"), arrays["a"])


def check(written: Path) -> None:
    """Read what `tests/formats/write_for_others.py` wrote."""
    if NEW:
        mx.npx.reset_np()  # Its arrays of NumPy's kind are not those of this file.
    found = values_of(written / "ours.params")
    with np.load(written / "ours.expected.npz") as expected:
        for key in expected.files:
            assert found[key].dtype == expected[key].dtype, key
            np.testing.assert_array_equal(found[key], expected[key])
        print(f"MXNet {mx.__version__} reads all {len(expected.files)} arrays of ours.params")
    net = small_net()
    net.load_parameters(str(written / "net.params"))
    print(f"MXNet {mx.__version__} loads net.params into a Gluon network")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", type=Path, help="the folder that write_for_others.py filled")
    arguments = parser.parse_args()
    if arguments.check:
        check(arguments.check)
    elif NEW:
        main_2()
    else:
        main_1()
