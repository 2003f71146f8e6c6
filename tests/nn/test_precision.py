import jax.numpy as jnp
import pytest

from ansatz.nn.precision import at_least_float32, floating_dtype_of


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int8"])
def test_everything_is_widened_to_float32(dtype):
    assert at_least_float32(jnp.ones(2, dtype)).dtype == "float32"


def test_the_precision_of_the_input_is_kept_for_results():
    assert floating_dtype_of(jnp.ones(2, "bfloat16")) == "bfloat16"
    assert floating_dtype_of(jnp.ones(2, "int32")) == "float32"
