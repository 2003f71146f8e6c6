"""What the cases of `make_resampling.py` ask for, in our words, by the number of spatial axes."""

NEAREST = [
    {"mode": mode, **to} for mode in ("nearest", "nearest-exact") for to in ({"scale": 1.7},)
]

RESIZINGS = {
    1: [
        *NEAREST,
        {"mode": "nearest", "size": 3},
        {"mode": "linear", "scale": 2},
        {"mode": "linear", "size": 40},
        {"mode": "linear", "size": 3, "align_corners": True},
        {"mode": "linear", "size": 1, "align_corners": True},
    ],
    2: [
        *NEAREST,
        {"mode": "nearest", "scale": (2, 3)},
        {"mode": "nearest", "size": (3, 8)},
        {"mode": "bilinear", "scale": 2},
        {"mode": "bilinear", "scale": (0.6, 2.3)},
        {"mode": "bilinear", "size": (4, 9), "align_corners": True},
        {"mode": "bilinear", "size": (3, 8), "antialias": True},
        {"mode": "bicubic", "scale": 2},
        {"mode": "bicubic", "size": (3, 9), "align_corners": True},
        {"mode": "bicubic", "scale": (0.4, 1.5), "antialias": True},
    ],
    3: [
        *NEAREST,
        {"mode": "trilinear", "scale": (2, 0.5, 1.5)},
        {"mode": "trilinear", "size": (4, 1, 5), "align_corners": True},
    ],
}

PADDINGS = {1: [2, (1, 0), (-1, 2)], 2: [(1, 0, 2, -1)], 3: [(1, 0, 2, 1, -1, 1)]}
"""How much is added, in PyTorch's order, by the number of spatial axes."""

PADS = ("ZeroPad", "ConstantPad", "ReflectionPad", "ReplicationPad", "CircularPad")
"""The layers that add it, without their number."""


def pads_of(library, axes):
    """Those layers of `torch.nn` or of ours, for each amount."""
    return [
        getattr(library, f"{name}{axes}d")(padding, *([-1.5] if name == "ConstantPad" else []))
        for name in PADS
        for padding in PADDINGS[axes]
    ]
