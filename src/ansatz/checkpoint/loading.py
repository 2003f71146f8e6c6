"""Loading into a network: planned, checked, and only then committed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansatz.checkpoint.plan import OnShape, plan_load
from ansatz.checkpoint.rename import Rename
from ansatz.checkpoint.report import LoadReport
from ansatz.core import verbs
from ansatz.core.module import Module
from ansatz.core.paths import Selector
from ansatz.core.spelling import hinted

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@verbs.provide("load")
@hinted()
def load(
    module: Module,
    path: str | os.PathLike[str],
    *,
    select: Selector | None = None,
    strict: bool = True,
    cast: bool | DTypeLike = False,
    finite: bool = False,
    rename: Rename | None = None,
    on_shape: OnShape = "error",
) -> LoadReport:
    """Load a file of any format into a network, all or nothing; its content decides which.

    Entries are found by any name of a parameter. Unknown dimensions take their sizes from the file,
    and a network that was never initialised draws nothing. Values go where those that they replace
    were placed. Use `plan_load` to see what would happen.

    Args:
        module: the network.
        path: the file, its index if it is in several, or the folder of a Hugging Face model.
        select: load only the parameters and states that this picks: a glob over paths, a compiled
            regular expression, a module type or a predicate `f(path, cell)`.
        strict: false to leave what is missing as it is and to skip what is unexpected. A wrong
            shape or dtype is refused all the same; see `on_shape`.
        cast: true to convert to the dtype of each parameter; a dtype to convert to that one only.
            Complex numbers are never cut to real ones, nor fractions to integers.
        finite: true to refuse NaN and infinity, which are otherwise loaded and reported.
        rename: the names, and where a `Rule` says so the layouts, that the network has for those of
            the file: a mapping (globs or names; names that it leaves out stay), a `Rule`, a
            function, or a list of these; `None` in place of a name leaves that entry out. There are
            ready-made ones in `ansatz.checkpoint.rename_tables`.
        on_shape: what becomes of a parameter that has another shape in the file: `"error"`,
            `"skip"` to leave it as it is, or `"reinitialise"` to draw it anew, as for a new head.

    Returns:
        What happened to each parameter and to each entry of the file.

    Raises:
        CheckpointError: with what would help, and the missing, unexpected and unfitting entries, of
            many of one kind the first ten; nothing changed.
        FileNotFoundError: there is no such file.
        TraceError: called inside a JAX transformation.

    Example:
        >>> import numpy as np
        >>> from ansatz import nn
        >>> from ansatz.checkpoint import load, save_arrays
        >>> save_arrays("old.safetensors", {"model.weight": np.ones((2, 3), "float16")})
        >>> layer = nn.Dense(2, use_bias=False)
        >>> load(
        ...     layer,
        ...     "old.safetensors",
        ...     cast=True,
        ...     rename=lambda name: name.removeprefix("model."),
        ... )
        loaded 1 of 1 from 'old.safetensors' into Dense: 1 cast
          cast  weight  (2, None)  float32  now (2, 3); float16 in the file (as 'model.weight'),
                                            float32 in the network
    """
    return plan_load(
        module,
        path,
        select=select,
        strict=strict,
        cast=cast,
        finite=finite,
        rename=rename,
        on_shape=on_shape,
    ).commit()


@verbs.provide("load_state_dict")
@hinted()
def load_state_dict(
    module: Module,
    mapping: Mapping[str, Any],
    *,
    select: Selector | None = None,
    strict: bool = True,
    cast: bool | DTypeLike = False,
    finite: bool = False,
    rename: Rename | None = None,
    on_shape: OnShape = "error",
) -> LoadReport:
    """Load arrays by name into a network, all or nothing; see `load` for the options.

    Args:
        module: the network.
        mapping: `{name: array}`, such as `net.state_dict()`. NumPy arrays are copied; Python
            numbers take the dtype of their parameter.
        select: load only what this picks.
        strict: false to allow missing and unexpected names.
        cast: whether, or to what, dtypes may be converted.
        finite: true to refuse NaN and infinity.
        rename: the names that the network has for those of the mapping.
        on_shape: what becomes of a parameter that has another shape in the mapping.

    Raises:
        CheckpointError: with what would help, and the missing, unexpected and unfitting entries, of
            many of one kind the first ten; nothing changed.
        TraceError: called inside a JAX transformation.

    Example:
        >>> from ansatz import nn
        >>> from ansatz.checkpoint import load_state_dict
        >>> source, target = nn.Linear(2, 3), nn.Linear(2, 3)
        >>> load_state_dict(target, source.state_dict())
        loaded 2 of 2 from the state dict into Linear: 2 match
    """
    return plan_load(
        module,
        mapping,
        select=select,
        strict=strict,
        cast=cast,
        finite=finite,
        rename=rename,
        on_shape=on_shape,
    ).commit()
