"""Write the GGUF file of this folder with the format's own library (gguf 0.19).

    python tests/formats/make_gguf.py

What the library itself makes of each quantised tensor is stored next to it.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

FOLDER = Path(__file__).parent
TYPES = gguf.GGMLQuantizationType

rng = np.random.default_rng(0)
writer = gguf.GGUFWriter(FOLDER / "gguf.gguf", "llama")
writer.add_name("a small one")
writer.add_uint32("some.number", 7)
writer.add_array("some.list", ["a", "b"])
writer.add_array("some.floats", [0.5, -1.0])
expected = {}
plain = {
    "f32": rng.normal(size=(2, 3)).astype("f4"),
    "f16": rng.normal(size=(3,)).astype("f2"),
    "f64": rng.normal(size=(2, 1, 2)),
    "i8": np.arange(-3, 3, dtype="i1"),
    "i16": np.arange(3, dtype="i2"),
    "i32": np.arange(3, dtype="i4"),
    "i64": np.arange(3, dtype="i8"),
}
for name, array in plain.items():
    writer.add_tensor(name, array)
    expected[name] = array
# Where the library only reads a format, any bytes are blocks, with scales that are kept small.
HALVES = {
    "Q2_K": (80, 84),
    "Q3_K": (108, 110),
    "Q4_K": (0, 4),
    "Q5_K": (0, 4),
    "Q6_K": (208, 210),
    "IQ4_NL": (0, 2),
    "IQ4_XS": (0, 2),
}
KINDS = (
    *("BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "Q2_K", "Q3_K"),
    *("IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"),
)
for kind in KINDS:
    numbers, nbytes = gguf.GGML_QUANT_SIZES[TYPES[kind]]
    shape = (2, 256) if numbers == 256 else (3, 64)
    try:
        raw = quantize(rng.normal(size=shape).astype("f4"), TYPES[kind])
    except NotImplementedError:
        raw = rng.integers(0, 256, (2, nbytes), dtype=np.uint8)
        if kind == "NVFP4":
            raw[:, :4] = rng.integers(0, 100, (2, 4))  # Scales of a byte each, no sign and no NaN.
        else:
            begin, end = HALVES[kind]
            halves = rng.normal(size=(2, (end - begin) // 2)).astype("f2")
            raw[:, begin:end] = halves.view(np.uint8)
    writer.add_tensor(kind.lower(), raw, raw_dtype=TYPES[kind])
    expected[kind.lower()] = dequantize(raw, TYPES[kind]).astype("f4")
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
np.savez_compressed(FOLDER / "gguf.expected.npz", **expected)
