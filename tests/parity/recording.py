"""How the fixtures of `tests/parity` are made: what PyTorch computes, written to a file.

The scripts `make_*.py` import this; they need torch, which the tests do not. Run one with
`python -m tests.parity.make_linear`, in an environment that has torch and safetensors.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "fixtures"


class Recorder:
    """Collects cases and writes them to `fixtures/<family>.safetensors`.

    Args:
        family: the name of the file, without its ending.
        seed: what the inputs, weights and cotangents are drawn from.
    """

    def __init__(self, family: str, seed: int = 0) -> None:
        self.family = family
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        torch.manual_seed(seed)

    def record(
        self,
        case: str,
        module: torch.nn.Module | Callable[..., Any],
        *inputs: torch.Tensor,
        call: Callable[..., Any] | None = None,
    ) -> None:
        """Store inputs, state, outputs, cotangents and gradients of one case.

        Args:
            case: the name of the case; the test of the same name builds our module.
            module: the PyTorch module; its `state_dict()` before the call is stored, and what of
                it the call changed (running statistics) as `updated`. Or a plain function of the
                inputs, such as a loss.
            inputs: its inputs; those of a floating dtype get gradients.
            call: what is called with the module and the inputs, if it is not `module(*inputs)`;
                it returns a tensor or a flat sequence of tensors.
        """
        if not isinstance(module, torch.nn.Module):
            module = _Function(module)
        before = {name: value.detach().clone() for name, value in module.state_dict().items()}
        inputs = tuple(x.detach().clone() for x in inputs)
        for x in inputs:
            x.requires_grad_(x.is_floating_point())
        module.zero_grad()
        outputs = module(*inputs) if call is None else call(module, *inputs)
        outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
        cotangents = [torch.randn_like(output) for output in outputs]
        if any(output.requires_grad for output in outputs):
            torch.autograd.backward(outputs, cotangents)
        self._store(case, "inputs", inputs)
        self._store(case, "outputs", outputs)
        self._store(case, "cotangents", cotangents)
        for i, x in enumerate(inputs):
            if x.grad is not None:
                self.arrays[f"{case}/input_grads/{i}"] = x.grad.numpy()
        for name, value in before.items():
            self.arrays[f"{case}/state/{name}"] = value.numpy()
            after = module.state_dict()[name]
            if not torch.equal(value, after):
                # A copy, because the next call of the module writes into the same memory.
                self.arrays[f"{case}/updated/{name}"] = after.numpy().copy()
        for name, parameter in module.named_parameters():
            if parameter.grad is not None:
                self.arrays[f"{case}/param_grads/{name}"] = parameter.grad.numpy()

    def _store(self, case: str, kind: str, tensors: Sequence[torch.Tensor]) -> None:
        for i, tensor in enumerate(tensors):
            self.arrays[f"{case}/{kind}/{i}"] = tensor.detach().numpy()

    def save(self) -> None:
        """Write everything that was recorded."""
        FOLDER.mkdir(exist_ok=True)
        # ascontiguousarray would give a scalar an axis.
        arrays = {name: np.asarray(array, order="C") for name, array in self.arrays.items()}
        save_file(
            arrays,
            FOLDER / f"{self.family}.safetensors",
            metadata={"made_with": f"torch {torch.__version__}"},
        )


class _Function(torch.nn.Module):
    """A function in the place of a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function
