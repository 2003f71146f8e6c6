"""Comparison with the numbers that `make_fixtures.py` stored."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

import ansatz as az

FIXTURES = Path(__file__).parent / "fixtures"

COMPILED = ("jit", "pjit")
"""What a compiled function is called in a jaxpr, in one version of JAX or another."""


class Cases:
    """The stored cases of one family, each a dict of arrays."""

    def __init__(self, family):
        self.entries = {}
        for key, array in load_file(FIXTURES / f"{family}.safetensors").items():
            case, _, name = key.partition("/")
            self.entries.setdefault(case, {})[name] = array

    def __getitem__(self, case):
        return self.entries[case]

    def names(self, prefix=""):
        return [name for name in self.entries if name.startswith(prefix)]


def close(found, expected, *, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(
        np.asarray(found, np.float64), np.asarray(expected, np.float64), rtol=rtol, atol=atol
    )


def assert_matches(layer, case, *, integer_input=False, rtol=1e-5, atol=2e-6):
    """Output and all gradients of `layer` are those of the case; its parameters are set first."""
    x, g = jnp.asarray(case["x"]), jnp.asarray(case["g"])
    layer.settle_shapes(x)
    for name, parameter in layer.collect_params().items():
        parameter.value = case[name]

    def loss(layer, x):
        y = layer(x)
        return (y * g).sum(), y

    wanted = 0 if integer_input else (0, 1)
    (_, y), grads = az.value_and_grad(loss, wanted, has_aux=True)(layer, x)
    close(y, case["y"], rtol=rtol, atol=atol)
    of_parameters = grads if integer_input else grads[0]
    assert {"d.x", *(f"d.{name}" for name in of_parameters)} >= {n for n in case if n[:2] == "d."}
    for name, grad in of_parameters.items():
        close(grad, case[f"d.{name}"], rtol=rtol, atol=atol)
    if not integer_input:
        close(grads[1], case["d.x"], rtol=rtol, atol=atol)
