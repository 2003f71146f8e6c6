"""Padding layers in PyTorch's spelling: `nn.ReflectionPad2d(1)`.

They are the layer of `padding.py` with a number of spatial axes, with channels as the first axis of
inputs and outputs unless `layout` says otherwise, and with PyTorch's order of numbers: before and
after the *last* axis first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ansatz.core.spelling import shared_init
from ansatz.nn.padding import Pad
from ansatz.nn.spatial import checked_layout

_CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
_ORDER = {
    1: "(left, right)",
    2: "(left, right, top, bottom)",
    3: "(left, right, top, bottom, front, back)",
}


class _Spelled(Pad):
    """What the layers have in common.

    Args:
        padding: how many cells are added on all sides, or PyTorch's tuple: `(left, right)`, `(left,
            right, top, bottom)`, `(left, right, top, bottom, front, back)`. A negative number cuts
            cells off.
        layout: where the channels are, if not on the first axis.
    """

    axes: ClassVar[int]
    made_of: ClassVar[str]

    @shared_init
    def __init__(self, padding: int | Sequence[int], *, layout: str | None = None) -> None:
        self._build(padding, 0.0, layout)

    def _build(self, padding: Any, value: float, layout: str | None) -> None:
        axes = self.axes
        if isinstance(padding, Sequence) and not isinstance(padding, str):
            if len(padding) != 2 * axes:
                raise ValueError(
                    f"padding of {type(self).__name__} is one number, or {_ORDER[axes]}; got "
                    f"{padding!r}"
                )
            padding = tuple(zip(padding[::2], padding[1::2], strict=True))[::-1]
        layout = checked_layout(layout or _CHANNELS_FIRST[axes], axes)
        Pad.__init__(self, padding, self.made_of, value=value, layout=layout)

    def extra_repr(self) -> str:
        """The arguments, in PyTorch's order."""
        pads: Any = self.padding
        if not isinstance(pads, int):
            pads = tuple(number for pair in pads[::-1] for number in pair)
        parts = [f"padding={pads}"]
        if isinstance(self, _SpelledConstant):
            parts.append(f"value={self.value}")
        if self.layout != _CHANNELS_FIRST[self.axes]:
            parts.append(f"layout={self.layout!r}")
        return ", ".join(parts)


class _SpelledConstant(_Spelled):
    """What the layers have in common that add a value.

    Args:
        padding: as of the others.
        value: what the added cells hold.
        layout: where the channels are, if not on the first axis.
    """

    made_of = "zeros"

    @shared_init
    def __init__(
        self, padding: int | Sequence[int], value: float, *, layout: str | None = None
    ) -> None:
        self._build(padding, value, layout)


class ZeroPad1d(_Spelled):
    """Zeros around sequences: `Pad`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ZeroPad1d(1)(jnp.ones((2, 3, 8))).shape
        (2, 3, 10)
    """

    axes = 1
    made_of = "zeros"


class ZeroPad2d(_Spelled):
    """Zeros around images: `Pad`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ZeroPad2d(1)(jnp.ones((2, 3, 8, 8))).shape
        (2, 3, 10, 10)
    """

    axes = 2
    made_of = "zeros"


class ZeroPad3d(_Spelled):
    """Zeros around volumes: `Pad`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ZeroPad3d(1)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 3, 10, 10, 10)
    """

    axes = 3
    made_of = "zeros"


class ConstantPad1d(_SpelledConstant):
    """A value around sequences: `Pad` with a value, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ConstantPad1d(1, -1.0)(jnp.ones((2, 3, 8))).shape
        (2, 3, 10)
    """

    axes = 1


class ConstantPad2d(_SpelledConstant):
    """A value around images: `Pad` with a value, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ConstantPad2d(1, -1.0)(jnp.ones((2, 3, 8, 8))).shape
        (2, 3, 10, 10)
    """

    axes = 2


class ConstantPad3d(_SpelledConstant):
    """A value around volumes: `Pad` with a value, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ConstantPad3d(1, -1.0)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 3, 10, 10, 10)
    """

    axes = 3


class ReflectionPad1d(_Spelled):
    """Mirrored cells around sequences: `Pad`, mode `"reflect"`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ReflectionPad1d(1)(jnp.ones((2, 3, 8))).shape
        (2, 3, 10)
    """

    axes = 1
    made_of = "reflect"


class ReflectionPad2d(_Spelled):
    """Mirrored cells around images: `Pad`, mode `"reflect"`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ReflectionPad2d(1)(jnp.ones((2, 3, 8, 8))).shape
        (2, 3, 10, 10)
    """

    axes = 2
    made_of = "reflect"


class ReflectionPad3d(_Spelled):
    """Mirrored cells around volumes: `Pad`, mode `"reflect"`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ReflectionPad3d(1)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 3, 10, 10, 10)
    """

    axes = 3
    made_of = "reflect"


class ReplicationPad1d(_Spelled):
    """The outermost cells again around sequences: `Pad`, mode `"replicate"`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ReplicationPad1d(1)(jnp.ones((2, 3, 8))).shape
        (2, 3, 10)
    """

    axes = 1
    made_of = "replicate"


class ReplicationPad2d(_Spelled):
    """The outermost cells again around images: `Pad`, mode `"replicate"`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ReplicationPad2d(1)(jnp.ones((2, 3, 8, 8))).shape
        (2, 3, 10, 10)
    """

    axes = 2
    made_of = "replicate"


class ReplicationPad3d(_Spelled):
    """The outermost cells again around volumes: `Pad`, mode `"replicate"`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ReplicationPad3d(1)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 3, 10, 10, 10)
    """

    axes = 3
    made_of = "replicate"


class CircularPad1d(_Spelled):
    """The cells of the other end around sequences: `Pad`, mode `"circular"`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.CircularPad1d(1)(jnp.ones((2, 3, 8))).shape
        (2, 3, 10)
    """

    axes = 1
    made_of = "circular"


class CircularPad2d(_Spelled):
    """The cells of the other end around images: `Pad`, mode `"circular"`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.CircularPad2d(1)(jnp.ones((2, 3, 8, 8))).shape
        (2, 3, 10, 10)
    """

    axes = 2
    made_of = "circular"


class CircularPad3d(_Spelled):
    """The cells of the other end around volumes: `Pad`, mode `"circular"`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.CircularPad3d(1)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 3, 10, 10, 10)
    """

    axes = 3
    made_of = "circular"
