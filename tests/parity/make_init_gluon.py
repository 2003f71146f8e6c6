"""Makes `fixtures/init_gluon.safetensors` with MXNet: `python -m tests.parity.make_init_gluon`.

Needs mxnet 1.9.1 (with numpy 1.23 and Python 3.11) and safetensors, but not PyTorch.
"""

import pathlib

import mxnet as mx
import numpy as np
from mxnet import init, nd
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "fixtures"
DRAWN = {
    "uniform": init.Uniform(0.3),
    "normal": init.Normal(0.3),
    "xavier": init.Xavier(),
    "xavier gaussian out": init.Xavier("gaussian", "out", 2.5),
    "msraprelu": init.MSRAPrelu(),
    "msraprelu in": init.MSRAPrelu("in", 0.1),
    "orthogonal": init.Orthogonal(),
}


def filled(initializer: init.Initializer, shape: tuple[int, ...]) -> np.ndarray:
    array = nd.zeros(shape)
    # Gluon's own way to have an initialiser write, whatever the parameter is called.
    initializer(init.InitDesc("weight", {"__init__": initializer.dumps()}), array)
    return array.asnumpy()


if __name__ == "__main__":
    mx.random.seed(0)
    np.random.seed(0)
    arrays = {}
    for size in range(1, 8):
        arrays[f"bilinear/{size}"] = filled(init.Bilinear(), (2, 3, size, size))
    for forget_bias in (1.0, 2.5):
        arrays[f"lstmbias/{forget_bias}"] = filled(init.LSTMBias(forget_bias), (12,))
    for name, initializer in DRAWN.items():
        arrays[f"drawn/{name}"] = filled(initializer, (20, 40))
    save_file(
        arrays, FOLDER / "init_gluon.safetensors", metadata={"made_with": f"mxnet {mx.__version__}"}
    )
