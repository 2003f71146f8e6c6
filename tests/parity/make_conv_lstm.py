"""Makes `fixtures/conv_lstm.safetensors` with Keras: `python -m tests.parity.make_conv_lstm`.

PyTorch has no convolutional LSTM. Weights are stored in our layout: a kernel of Keras has its
outputs last, `(*kernel, in, out)`.
"""

import os
import pathlib

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
from safetensors.numpy import save_file

# The class, the shape of the input, the kernel and further options.
CASES = {
    "images backwards": (keras.layers.ConvLSTM2D, (2, 3, 4, 5, 2), (3, 2), {"go_backwards": True}),
}
CHANNELS = 2


def ours(value):
    return np.moveaxis(value, (-1, -2), (0, 1)) if value.ndim > 1 else value


def record(arrays, case, make, shape, kernel, options):
    rng = np.random.default_rng(len(arrays))
    layer = make(
        CHANNELS, kernel, padding="same", return_sequences=True, return_state=True, **options
    )
    x = rng.normal(size=shape).astype("float32")
    layer.build(x.shape)
    weights = [rng.normal(size=w.shape).astype("float32") for w in layer.trainable_variables]

    others = [variable.value for variable in layer.non_trainable_variables]

    def call(weights, x):
        outputs, _ = layer.stateless_call(weights, others, x)
        return outputs

    outputs, pullback = jax.vjp(call, [jnp.asarray(w) for w in weights], jnp.asarray(x))
    cotangents = [rng.normal(size=y.shape).astype("float32") for y in outputs]
    grads, input_grad = pullback(tuple(jnp.asarray(c) for c in cotangents))
    for i, (y, cotangent) in enumerate(zip(outputs, cotangents, strict=True)):
        arrays[f"{case}/outputs/{i}"], arrays[f"{case}/cotangents/{i}"] = np.asarray(y), cotangent
    arrays[f"{case}/inputs/0"], arrays[f"{case}/input_grads/0"] = x, np.asarray(input_grad)
    names = ("cell.weight_ih", "cell.weight_hh", "cell.bias")
    for name, value, grad in zip(names, weights, grads, strict=False):
        arrays[f"{case}/state/{name}"] = ours(value)
        arrays[f"{case}/param_grads/{name}"] = ours(np.asarray(grad))


if __name__ == "__main__":
    arrays: dict[str, np.ndarray] = {}
    for case, options in CASES.items():
        record(arrays, case, *options)
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        pathlib.Path(__file__).parent / "fixtures" / "conv_lstm.safetensors",
        metadata={"made_with": f"keras {keras.__version__}"},
    )
