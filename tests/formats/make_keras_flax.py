"""Write the Keras and Flax files of this folder with Keras 3 and Flax themselves.

    KERAS_BACKEND=jax python tests/formats/make_keras_flax.py

What a Keras model computes from a given input is stored next to its weights, in `.npz` archives.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import flax.linen as nn
import jax
import jax.numpy as jnp
import keras
import numpy as np
from flax import serialization

FOLDER = Path(__file__).parent

keras.utils.set_random_seed(0)
layers = keras.layers
model = keras.Sequential(
    [
        layers.Input((5,)),
        layers.Dense(4, activation="relu"),
        layers.BatchNormalization(),
        layers.Dense(3, name="head"),
    ]
)
x = np.random.default_rng(0).normal(size=(6, 5)).astype("f4")
model.compile("sgd", "mse")
model.fit(x, np.ones((6, 3), "f4"), epochs=2, verbose=0)
model.save_weights(FOLDER / "keras.weights.h5")
model.save(FOLDER / "keras.keras")
weights = {w.path: np.asarray(w.value) for w in model.weights}
np.savez(FOLDER / "keras.expected.npz", input=x, output=np.asarray(model(x)), **weights)
low = keras.Sequential([layers.Input((2,)), layers.Dense(1, dtype="bfloat16")])
low.save_weights(FOLDER / "keras_bfloat16.weights.h5")
values = [np.asarray(w.value).astype("f4") for w in low.weights]
np.savez(FOLDER / "keras_bfloat16.expected.npz", kernel=values[0], bias=values[1])


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(3)(x)
        return nn.BatchNorm(use_running_average=False)(x)


variables = Net().init(jax.random.key(0), jnp.ones((2, 4)))
held = {
    **variables,
    "step": 7,
    "scalar": np.float32(2.5),
    "low": jnp.arange(3, dtype=jnp.bfloat16),
    "complex": np.array([1 + 2j], "complex64"),
    "list": {"0": np.arange(3), "1": np.zeros((0, 2), "int8")},
}
serialization.MAX_CHUNK_SIZE = 64  # So that an array of 400 bytes is split.
held["long"] = np.arange(100, dtype="f4").reshape(5, 20)
(FOLDER / "flax.msgpack").write_bytes(serialization.msgpack_serialize(held))
flat = {
    ".".join(str(part.key) for part in path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(held)
}
flat["low"] = flat["low"].astype("f4")
del flat["step"]
np.savez(FOLDER / "flax.expected.npz", **flat)
