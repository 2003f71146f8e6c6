import numpy as np
import pytest

import ansatz as az
from ansatz import init


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_second_quarter_is_the_forget_gate(dtype):
    bias = np.asarray(az.Parameter((12,), init=init.LSTMBias(2.5), dtype=dtype).value)
    np.testing.assert_array_equal(bias, [0] * 3 + [2.5] * 3 + [0] * 6)


def test_a_rule_opens_the_forget_gate_of_one_of_the_two_biases():
    class Cell(az.Module):
        def __init__(self):
            super().__init__()
            self.bias_ih_l0 = az.Parameter((8,))
            self.bias_hh_l0 = az.Parameter((8,), init="ones")

    cell = Cell()
    cell.initialize({"*bias_ih_l*": init.LSTMBias(), "*bias_hh_l*": "zeros"})
    total = cell.bias_ih_l0.value + cell.bias_hh_l0.value
    np.testing.assert_array_equal(total, [0, 0, 1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize("shape", [(6,), (4, 4), ()])
def test_what_is_no_bias_of_four_gates_is_refused_by_path(shape):
    module = az.Module()
    module.bias = az.Parameter(shape)
    with pytest.raises(az.InitializationError, match=r"parameter 'bias' has shape .*four gates"):
        module.initialize(init.LSTMBias())


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(az.InitializationError, match="forget_bias of LSTMBias"):
        init.LSTMBias(float("inf"))
    with pytest.raises(az.InitializationError, match="dtype float16, which cannot hold"):
        az.Parameter((4,), dtype="float16").initialize(init.LSTMBias(1e6))
