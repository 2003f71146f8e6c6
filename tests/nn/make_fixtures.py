"""Makes the reference numbers in `fixtures/` with PyTorch.

Run `python tests/nn/make_fixtures.py` where torch is installed; the tests need only the files.
Each case stores what went in (`x`, parameters), what came out (`y`), the cotangent `g` of the
output, and the gradients of `(y * g).sum()` for every input and parameter (`d.…`).
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

FIXTURES = Path(__file__).parent / "fixtures"


def main():
    torch.manual_seed(0)
    FIXTURES.mkdir(exist_ok=True)
    for name, cases in {
        "linear": linear(),
        "activations": activations(),
        "normalization": normalization(),
        "embedding": embedding(),
        "losses": losses(),
    }.items():
        tensors = {
            f"{case}/{key}": tensor.detach().clone().contiguous()
            for case, entries in cases.items()
            for key, tensor in entries.items()
        }
        save_file(
            tensors, FIXTURES / f"{name}.safetensors", {"made with": f"PyTorch {torch.__version__}"}
        )


def run(function, parameters, **inputs):
    """Output, cotangent and gradients of one call."""
    given = {k: v.detach().clone() for k, v in (*inputs.items(), *parameters.items())}
    leaves = {
        name: tensor.requires_grad_(True)
        for name, tensor in (*inputs.items(), *parameters.items())
        if tensor.is_floating_point()
    }
    y = function(*inputs.values())
    g = torch.randn_like(y)
    gradients = torch.autograd.grad((y * g).sum(), list(leaves.values()))
    found = {f"d.{name}": grad for name, grad in zip(leaves, gradients, strict=True)}
    return {**given, "y": y, "g": g, **found}


def run_layer(layer, **inputs):
    return run(layer, dict(layer.named_parameters()), **inputs)


def linear():
    return {
        "plain": run_layer(nn.Linear(5, 3), x=torch.randn(4, 5)),
        "no bias": run_layer(nn.Linear(5, 3, bias=False), x=torch.randn(4, 5)),
        "three axes": run_layer(nn.Linear(5, 3), x=torch.randn(2, 4, 5)),
        "one axis": run_layer(nn.Linear(5, 3), x=torch.randn(5)),
    }


def activations():
    layers = {
        "CELU": nn.CELU(),
        "CELU 2": nn.CELU(2.0),
        "ELU": nn.ELU(),
        "ELU 0.5": nn.ELU(0.5),
        "GELU": nn.GELU(),
        "GELU tanh": nn.GELU("tanh"),
        "HardSigmoid": nn.Hardsigmoid(),
        "HardSwish": nn.Hardswish(),
        "HardTanh": nn.Hardtanh(),
        "HardTanh -2 0.5": nn.Hardtanh(-2.0, 0.5),
        "LeakyReLU": nn.LeakyReLU(),
        "LeakyReLU 0.2": nn.LeakyReLU(0.2),
        "LogSigmoid": nn.LogSigmoid(),
        "LogSoftmax": nn.LogSoftmax(-1),
        "LogSoftmax 0": nn.LogSoftmax(0),
        "Mish": nn.Mish(),
        "PReLU": nn.PReLU(),
        "ReLU": nn.ReLU(),
        "ReLU6": nn.ReLU6(),
        "SELU": nn.SELU(),
        "SiLU": nn.SiLU(),
        "Sigmoid": nn.Sigmoid(),
        "Softmax": nn.Softmax(-1),
        "Softmax 0": nn.Softmax(0),
        "Softplus": nn.Softplus(),
        "Softplus 2": nn.Softplus(2.0),
        "Softsign": nn.Softsign(),
        "Tanh": nn.Tanh(),
    }
    cases = {name: run_layer(layer, x=3 * torch.randn(4, 8)) for name, layer in layers.items()}
    # The kinks: PyTorch's choice of a derivative where there are two.
    for name in ("ReLU", "ReLU6", "LeakyReLU", "ELU", "HardTanh"):
        cases[f"{name} at kinks"] = run(layers[name], {}, x=torch.tensor([-1.0, 0.0, 1.0, 6.0]))
    channels = nn.PReLU(8)
    with torch.no_grad():
        channels.weight.copy_(torch.rand(8))
    cases["PReLU 8"] = run_layer(channels, x=torch.randn(4, 8))
    return cases


def scrambled(layer):
    """Weights and biases that are neither one nor zero."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return layer


def batches(layer, *inputs):
    """Several batches in training, the statistics after each, and one in evaluation."""
    cases = {}
    for step, x in enumerate(inputs):
        case = run_layer(layer, x=x.clone())
        case.update({name: buffer.clone() for name, buffer in layer.named_buffers()})
        cases[f"step {step}"] = case
        layer.zero_grad()
    layer.eval()
    cases["eval"] = run_layer(layer, x=inputs[0].clone())
    return cases


def normalization():
    found = {}
    for name, layer, shape in (
        ("vectors", nn.BatchNorm1d(4), (6, 4)),
        ("images", nn.BatchNorm2d(4), (3, 4, 5, 2)),
        ("average", nn.BatchNorm1d(4, momentum=None), (6, 4)),
        ("not affine", nn.BatchNorm1d(4, affine=False), (6, 4)),
        ("options", nn.BatchNorm1d(4, eps=1e-2, momentum=0.3), (6, 4)),
    ):
        inputs = [2 * torch.randn(shape) + 1 for _ in range(3)]
        for step, case in batches(scrambled(layer), *inputs).items():
            found[f"BatchNorm {name} {step}"] = case
    for name, layer in {
        "last": nn.LayerNorm(5),
        "two": nn.LayerNorm((3, 5)),
        "not affine": nn.LayerNorm(5, elementwise_affine=False),
        "no bias": nn.LayerNorm(5, bias=False),
        "eps": nn.LayerNorm(5, eps=1e-1),
    }.items():
        found[f"LayerNorm {name}"] = run_layer(scrambled(layer), x=2 * torch.randn(4, 3, 5) + 1)
    # A mean far from zero: what statistics in half precision would lose.
    x = (8 * torch.randn(16, 32) + 200).half()
    found["LayerNorm half"] = {"x": x, "y": F.layer_norm(x, (32,))}
    norm = nn.BatchNorm1d(32)
    found["BatchNorm half"] = {"x": x, "y": norm(x), **dict(norm.named_buffers())}
    return found


def embedding():
    layer = nn.Embedding(7, 4)
    return {"look up": run_layer(layer, x=torch.tensor([[1, 0, 6], [1, 1, 3]]))}


def losses():
    found = {}
    logits, labels = 3 * torch.randn(6, 5), torch.tensor([0, 4, 2, 2, 1, 3])
    soft, per_class = torch.softmax(torch.randn(6, 5), -1), torch.rand(5) + 0.5
    for reduction in ("mean", "sum", "none"):
        for smoothing in (0.0, 0.1):
            for weight in (None, per_class):
                for name, target in (("integers", labels), ("probabilities", soft)):
                    key = f"cross entropy {name} {reduction} {smoothing} {weight is not None}"
                    extra = {} if weight is None else {"class_weights": weight}
                    found[key] = {
                        **run(
                            lambda z, t=target, w=weight, r=reduction, s=smoothing: F.cross_entropy(
                                z, t, weight=w, reduction=r, label_smoothing=s
                            ),
                            {},
                            x=logits.clone(),
                        ),
                        "labels": target,
                        **extra,
                    }
        p, t = torch.randn(4, 3), torch.randn(4, 3)
        for name, function in {
            "l1": F.l1_loss,
            "l2": F.mse_loss,
            "huber 1.0": F.huber_loss,
            "huber 0.3": lambda p, t, reduction: F.huber_loss(p, t, reduction=reduction, delta=0.3),
        }.items():
            found[f"{name} {reduction}"] = run(
                lambda p, t, f=function, r=reduction: f(p, t, reduction=r),
                {},
                x=p.clone(),
                t=t.clone(),
            )
        z, yes, positive = 4 * torch.randn(4, 3), torch.rand(4, 3).round(), torch.rand(3) + 0.5
        found[f"binary logits {reduction}"] = {
            **run(
                lambda z, t=yes, r=reduction: F.binary_cross_entropy_with_logits(z, t, reduction=r),
                {},
                x=z.clone(),
            ),
            "t": yes,
        }
        found[f"binary positive {reduction}"] = {
            **run(
                lambda z, t=yes, w=positive, r=reduction: F.binary_cross_entropy_with_logits(
                    z, t, pos_weight=w, reduction=r
                ),
                {},
                x=z.clone(),
            ),
            "t": yes,
            "positive_weight": positive,
        }
        found[f"binary probabilities {reduction}"] = {
            **run(
                lambda p, t=yes, r=reduction: F.binary_cross_entropy(p, t, reduction=r),
                {},
                x=torch.sigmoid(z).clone(),
            ),
            "t": yes,
        }
    certain, yes = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    found["binary certain"] = {
        **run(lambda p: F.binary_cross_entropy(p, yes, reduction="none"), {}, x=certain),
        "t": yes,
    }
    planes, pixels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    found["cross entropy planes"] = {
        **run(lambda z: F.cross_entropy(z, pixels), {}, x=planes),
        "labels": pixels,
    }
    return found


if __name__ == "__main__":
    main()
