"""What tests of layers compare with."""

import numpy as np

COMPILED = ("jit", "pjit")
"""What a compiled function is called in a jaxpr, in one version of JAX or another."""


def close(found, expected, *, rtol=1e-5, atol=1e-6, err_msg=""):
    np.testing.assert_allclose(
        np.asarray(found, np.float64),
        np.asarray(expected, np.float64),
        rtol=rtol,
        atol=atol,
        err_msg=err_msg,
    )
