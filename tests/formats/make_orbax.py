"""Write the Orbax checkpoint of this folder with Orbax itself (0.12.8).

JAX_PLATFORMS=cpu python tests/formats/make_orbax.py
"""

import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

FOLDER = Path(__file__).parent.resolve()
tree = {
    "params": {
        "Dense_0": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3, jnp.bfloat16)},
        "layers": [np.arange(4), np.array(True)],
    },
    "step": np.array(7),
    "empty": {},
}
shutil.rmtree(FOLDER / "orbax", ignore_errors=True)
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(FOLDER / "orbax", tree)
(FOLDER / "orbax" / "commit_success.txt").unlink()  # It tells where the folder was made.
expected = {
    "params.Dense_0.kernel": tree["params"]["Dense_0"]["kernel"],
    "params.Dense_0.bias": tree["params"]["Dense_0"]["bias"].astype("f4"),
    "params.layers.0": tree["params"]["layers"][0],
    "params.layers.1": tree["params"]["layers"][1],
    "step": tree["step"],
}
np.savez(FOLDER / "orbax.expected.npz", **{key: np.asarray(v) for key, v in expected.items()})
