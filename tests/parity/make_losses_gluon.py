"""Makes `fixtures/losses_gluon.safetensors` with MXNet: `python -m tests.parity.make_losses_gluon`.

Needs mxnet 1.9.1 (with numpy 1.23 and Python 3.11) and safetensors, but not PyTorch.
"""

import pathlib

import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import loss
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "fixtures"
RNG = np.random.RandomState(0)


def drawn(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


SCORES, VALUES = drawn(4, 3), drawn(4, 3)
YES = np.array([[0, 1, 1], [1, 0, 1], [0, 0, 0], [1, 1, 0]], np.float32)
SHARES = np.exp(VALUES) / np.exp(VALUES).sum(1, keepdims=True)
LABELS = np.array([0, 2, 1, 1], np.float32)
PROBABILITIES = 1 / (1 + np.exp(-SCORES))
LOGARITHMS = np.log(np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True))
WEIGHTS = np.array([[0.5], [2.0], [0.0], [1.0]], np.float32)
COUNTS = np.array([[0, 2, 1], [3, 0, 4], [1, 1, 7], [2, 5, 0]], np.float32)

# Name -> loss, inputs. Gradients are those of the first input, of the sum of what is returned.
CASES = {
    "l2": (loss.L2Loss(), [SCORES, VALUES]),
    "l2 weighted": (loss.L2Loss(), [SCORES, VALUES, WEIGHTS]),
    "l1": (loss.L1Loss(), [SCORES, VALUES]),
    "huber": (loss.HuberLoss(rho=0.5), [SCORES, VALUES]),
    "binary": (loss.SigmoidBinaryCrossEntropyLoss(), [SCORES, YES]),
    "binary of probabilities": (
        loss.SigmoidBinaryCrossEntropyLoss(from_sigmoid=True),
        [PROBABILITIES, YES],
    ),
    "softmax": (loss.SoftmaxCrossEntropyLoss(), [SCORES, LABELS]),
    "softmax weighted": (loss.SoftmaxCrossEntropyLoss(), [SCORES, LABELS, WEIGHTS]),
    "softmax of shares": (loss.SoftmaxCrossEntropyLoss(sparse_label=False), [SCORES, SHARES]),
    "softmax of logarithms": (
        loss.SoftmaxCrossEntropyLoss(from_logits=True),
        [LOGARITHMS, LABELS],
    ),
    "kl": (loss.KLDivLoss(), [LOGARITHMS, SHARES]),
    "kl of logits": (loss.KLDivLoss(from_logits=False), [SCORES, SHARES]),
    "hinge": (loss.HingeLoss(margin=0.7), [SCORES, 2 * YES - 1]),
    "squared hinge": (loss.SquaredHingeLoss(margin=0.7), [SCORES, 2 * YES - 1]),
    "logistic": (loss.LogisticLoss(), [SCORES, 2 * YES - 1]),
    "poisson": (loss.PoissonNLLLoss(), [SCORES, COUNTS]),
    "cosine": (
        loss.CosineEmbeddingLoss(margin=0.1),
        [SCORES, VALUES, np.array([1, -1, -1, 1], np.float32)],
    ),
    "triplet": (loss.TripletLoss(margin=0.5), [SCORES, VALUES, drawn(4, 3)]),
    "ctc": (
        loss.CTCLoss(layout="NTC"),
        [drawn(2, 6, 5), np.array([[1, 2, 2], [3, -1, -1]], np.float32)],
    ),
}


def recorded(function: loss.Loss, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    first, *others = (nd.array(array) for array in inputs)
    first.attach_grad()
    with autograd.record():
        output = function(first, *others)
    output.backward()
    arrays = {f"inputs/{i}": array for i, array in enumerate(inputs)}
    arrays["outputs/0"] = output.asnumpy()
    arrays["cotangents/0"] = np.ones_like(arrays["outputs/0"])
    arrays["input_grads/0"] = first.grad.asnumpy()
    return arrays


if __name__ == "__main__":
    arrays = {
        f"{name}/{key}": array
        for name, case in CASES.items()
        for key, array in recorded(*case).items()
    }
    save_file(
        arrays,
        FOLDER / "losses_gluon.safetensors",
        metadata={"made_with": f"mxnet {mx.__version__}"},
    )
    for name in CASES:
        print(name, arrays[f"{name}/outputs/0"].shape)
