"""PyTorch's cases have channels first; ours are replayed with channels last as well."""

import numpy as np

from tests.parity import replay

CHANNELS = {3: "NCW", 4: "NCHW", 5: "NCDHW"}
"""The layout with channels first, by the number of axes."""


def check_channels_last(case, module):
    """`replay.check` with inputs, outputs and their gradients moved to channels-last."""
    replay.check(
        case,
        module,
        to_ours=lambda array: np.moveaxis(array, 1, -1),
        to_theirs=lambda array: array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1)),
    )
