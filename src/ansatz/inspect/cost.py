"""What one call of a network costs, as the compiler counts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from ansatz.core.declared import Declared
from ansatz.core.deferral import flatten, is_array
from ansatz.core.functional import functional_call
from ansatz.core.module import Module
from ansatz.core.node import cells_of


class Cost(NamedTuple):
    """What one call costs, on the default device.

    Attributes:
        flops: floating-point operations.
        temporary: bytes of memory beside inputs, parameters and outputs.
        outputs: bytes of the output, and of the states that come back with it.
    """

    flops: float
    temporary: int
    outputs: int

    def __str__(self) -> str:
        return (
            f"{self.flops:.3g} floating-point operations, {self.temporary:,} bytes temporary, "
            f"{self.outputs:,} bytes of output and states"
        )


def cost_of(module: Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Cost:
    """Compile one call, without running it and without drawing any value.

    Args:
        module: the network; its shapes have to be settled.
        args: what `forward` takes, as arrays or `jax.ShapeDtypeStruct`.
        kwargs: likewise.
    """
    # What these inputs do not reach is still unknown, and no part of the program.
    state = {
        path: jax.ShapeDtypeStruct(tuple(size or 0 for size in cell.shape), cell.dtype)
        for cell, path in cells_of(module).items()
        if isinstance(cell, Declared)
    }
    leaves, treedef = flatten((tuple(args), dict(kwargs)))
    arrays = {str(i): leaf for i, leaf in enumerate(leaves) if is_array(leaf)}

    def run(state: Any, arrays: Any) -> Any:
        filled = [arrays.get(str(i), leaf) for i, leaf in enumerate(leaves)]
        run_args, run_kwargs = jax.tree.unflatten(treedef, filled)
        return functional_call(module, state, *run_args, return_state=True, **run_kwargs)

    compiled = jax.jit(run).lower(state, arrays).compile()
    counted, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    return Cost(
        float(counted.get("flops", 0.0)),
        int(getattr(memory, "temp_size_in_bytes", 0)),
        int(getattr(memory, "output_size_in_bytes", 0)),
    )
