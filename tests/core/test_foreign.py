"""Arrays of other libraries, by stand-ins: tests need no other library than JAX and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from ansatz.core.foreign import to_numpy


class Tensor:
    """Behaves as a tensor of PyTorch: NumPy cannot read bfloat16, nor what has gradients."""

    def __init__(self, array: jax.Array, requires_grad: bool = False) -> None:
        self.array, self.requires_grad = array, requires_grad
        self.dtype = f"torch.{array.dtype}"  # No dtype that NumPy knows.

    def detach(self) -> "Tensor":
        return Tensor(self.array)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.array.dtype == jnp.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.array(self.array)

    def __dlpack__(self, **options):
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tensors_of_other_libraries_are_read(dtype, requires_grad):
    held = jnp.array([1.5, -2.0], dtype)
    read = to_numpy(Tensor(held, requires_grad))
    assert read.dtype == held.dtype
    assert read.tolist() == [1.5, -2.0]
    read[0] = 7  # A copy, which leaves the other one as it is.
    assert held.tolist() == [1.5, -2.0]


def test_what_nothing_can_read_fails_with_the_words_of_numpy():
    class Sparse:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("can't convert Sparse layout")

    with pytest.raises(TypeError, match="Sparse layout"):
        to_numpy(Sparse())


def test_a_state_dict_of_bfloat16_tensors_is_loaded():
    net = nn.Linear(2, 1)
    state = {"weight": Tensor(jnp.full((1, 2), 0.5, "bfloat16"))}
    state["bias"] = Tensor(jnp.ones(1, "bfloat16"), requires_grad=True)
    net.load_state_dict(state, cast=True)
    assert net.weight.value.tolist() == [[0.5, 0.5]]
    with pytest.raises(az.CheckpointError, match="cast=True"):
        net.load_state_dict(state)


def test_values_and_edits_take_what_is_no_array_alike():
    p = az.Parameter((2, 2), init="zeros")
    tensor = Tensor(jnp.full((2, 2), 2.0, "bfloat16"))
    for new in (tensor, [[1, 2], [3, 4]], [[True, False], [False, True]]):
        p.value = new
        whole = p.value.tolist()
        p.data[:] = 0
        p.data[:] = new
        assert p.value.tolist() == whole != [[0, 0], [0, 0]]
    p.data[0] = [0.5, 0.25]
    assert p.value[0].tolist() == [0.5, 0.25]


@pytest.mark.parametrize("wrong", ["a", None, [object()], [[1], [1, 2]]])
def test_values_and_edits_refuse_what_is_no_number_alike(wrong):
    p = az.Parameter((1,), init="zeros")
    with pytest.raises(TypeError, match=r"is an array of numbers, (got|which cannot)"):
        p.value = wrong
    with pytest.raises(TypeError, match=r"is an array of numbers, (got|which cannot)"):
        p.data[:] = wrong


def test_a_whole_number_that_does_not_fit_is_refused_and_not_wrapped():
    state = az.State(0)
    with pytest.raises(az.DTypeError, match="int32, which cannot hold"):
        state.value = 2**40
    with pytest.raises(az.DTypeError, match="int32, which cannot hold"):
        state.data[...] = 2**40
