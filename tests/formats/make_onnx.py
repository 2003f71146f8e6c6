"""Write the ONNX files of this folder with onnx itself.

python tests/formats/make_onnx.py
"""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent
rng = np.random.default_rng(0)
plain = {
    "0.weight": rng.normal(size=(3, 2)).astype("f4"),
    "double": rng.normal(size=(2,)),
    "half": rng.normal(size=(2,)).astype("f2"),
    "int64": np.array([-(2**40), 5]),
    "uint8": np.arange(3, dtype="u1"),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j], "c8"),
    "scalar": np.array(2.5, "f4"),
    "empty": np.zeros((0, 2), "f4"),
    "bfloat16": np.array([1.5, -2], ml_dtypes.bfloat16),
}
tensors = [numpy_helper.from_array(array, name) for name, array in plain.items()]
typed = {
    "typed_float": (TensorProto.FLOAT, [0.5, -1.5]),
    "typed_double": (TensorProto.DOUBLE, [0.5, -1.5]),
    "typed_int32": (TensorProto.INT32, [-1, 300, -(2**31)]),
    "typed_int8": (TensorProto.INT8, [-1, 100]),
    "typed_int64": (TensorProto.INT64, [-1, 2**40]),
    "typed_uint64": (TensorProto.UINT64, [2**63, 1]),
    "typed_bool": (TensorProto.BOOL, [1, 0]),
    "typed_half": (TensorProto.FLOAT16, [0.5, -1.5]),
    "typed_complex": (TensorProto.COMPLEX64, [1 + 2j, -1j]),
}
for name, (kind, values) in typed.items():
    tensors.append(helper.make_tensor(name, kind, [len(values)], values))
graph = helper.make_graph([helper.make_node("Identity", ["0.weight"], ["y"])], "g", [], [], tensors)
model = helper.make_model(graph)
onnx.save(model, FOLDER / "onnx.onnx")
expected = {t.name: numpy_helper.to_array(t) for t in tensors}
expected["bfloat16"] = expected["bfloat16"].astype("f4")
np.savez(FOLDER / "onnx.expected.npz", **expected)
(FOLDER / "external").mkdir(exist_ok=True)
onnx.save(
    model,
    FOLDER / "external" / "external.onnx",
    save_as_external_data=True,
    all_tensors_to_one_file=True,
    location="external.data",
    size_threshold=0,
)
