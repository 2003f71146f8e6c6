"""Makes `fixtures/losses.safetensors` with PyTorch: `python -m tests.parity.make_losses`."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.parity.recording import Recorder

CLASS_WEIGHTS = torch.tensor([0.5, 1.0, 1.5, 2.0, 0.75])
POSITIVE_WEIGHT = torch.tensor([0.5, 2.0, 3.0])
REDUCTIONS = ("mean", "sum", "none")


def classification(recorder):
    logits, labels = 3 * torch.randn(6, 5), torch.tensor([0, 4, 2, 2, 1, 3])
    soft = torch.softmax(torch.randn(6, 5), -1)
    for reduction in REDUCTIONS:
        for smoothing in (0.0, 0.1):
            for kind, weight in (("", None), (" weighted", CLASS_WEIGHTS)):
                options = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
                for name, target in (("integers", labels), ("probabilities", soft)):
                    case = f"cross entropy {name} {reduction} {smoothing}{kind}"
                    recorder.record(
                        case, lambda z, t, o=options: F.cross_entropy(z, t, **o), logits, target
                    )
        ignored = torch.tensor([0, -100, 2, -100, 1, 3])
        recorder.record(
            f"cross entropy ignored {reduction}",
            lambda z, t, r=reduction: F.cross_entropy(
                z, t, weight=CLASS_WEIGHTS, reduction=r, label_smoothing=0.1
            ),
            logits,
            ignored,
        )
        recorder.record(
            f"negative log likelihood {reduction}",
            lambda z, t, r=reduction: F.nll_loss(z, t, weight=CLASS_WEIGHTS, reduction=r),
            torch.log_softmax(logits, -1),
            ignored,
        )
    planes, pixels = torch.randn(2, 3, 2, 2), torch.randint(0, 3, (2, 2, 2))
    recorder.record("cross entropy planes", F.cross_entropy, planes, pixels)


def binary(recorder):
    logits, yes = 4 * torch.randn(4, 3), torch.rand(4, 3).round()
    for reduction in REDUCTIONS:
        options = {"reduction": reduction}
        for name, function, x in (
            ("logits", F.binary_cross_entropy_with_logits, logits),
            ("positive", F.binary_cross_entropy_with_logits, logits),
            ("probabilities", F.binary_cross_entropy, torch.sigmoid(logits)),
        ):
            extra = options | ({"pos_weight": POSITIVE_WEIGHT} if name == "positive" else {})
            recorder.record(
                f"binary {name} {reduction}", lambda x, t, f=function, o=extra: f(x, t, **o), x, yes
            )
    yes = torch.tensor([0.0, 1.0, 0.0, 1.0])
    recorder.record("focal", lambda z: focal(z, yes, 2.0, 0.25), torch.randn(4))
    recorder.record("focal without alpha", lambda z: focal(z, yes, 1.5, None), torch.randn(4))


def focal(logits, targets, gamma, alpha):
    """Lin et al. 2017, "Focal loss for dense object detection", equation 5."""
    p = torch.sigmoid(logits)
    right = p * targets + (1 - p) * (1 - targets)
    share = 1.0 if alpha is None else alpha * targets + (1 - alpha) * (1 - targets)
    return (-share * (1 - right) ** gamma * torch.log(right)).mean()


def regression(recorder):
    p, t = torch.randn(4, 3), torch.randn(4, 3)
    for reduction in REDUCTIONS:
        for name, loss in {
            "l1": nn.L1Loss(reduction=reduction),
            "l2": nn.MSELoss(reduction=reduction),
            "huber 1.0": nn.HuberLoss(reduction=reduction),
            "huber 0.3": nn.HuberLoss(reduction=reduction, delta=0.3),
            "smooth l1 1.0": nn.SmoothL1Loss(reduction=reduction),
            "smooth l1 0.3": nn.SmoothL1Loss(reduction=reduction, beta=0.3),
            "smooth l1 0": nn.SmoothL1Loss(reduction=reduction, beta=0.0),
        }.items():
            recorder.record(f"{name} {reduction}", loss, p, t)


def distributions(recorder):
    # Whole numbers, so that PyTorch is not asked for a gradient that it takes to be zero.
    counts, raw = torch.tensor([0, 1, 2, 5]), torch.randn(4)
    for full in (False, True):
        recorder.record(
            f"poisson logits {full}",
            lambda z, t, f=full: F.poisson_nll_loss(z, t, full=f),
            raw,
            counts,
        )
        recorder.record(
            f"poisson rates {full}",
            lambda r, t, f=full: F.poisson_nll_loss(r, t, log_input=False, full=f),
            raw.exp(),
            counts,
        )
        recorder.record(
            f"gaussian {full}",
            lambda m, t, v, f=full: F.gaussian_nll_loss(m, t, v, full=f),
            raw,
            torch.randn(4),
            torch.rand(4) + 0.1,
        )
    p, q = torch.log_softmax(torch.randn(4, 5), -1), torch.softmax(torch.randn(4, 5), -1)
    recorder.record("kl mean", lambda p, q: F.kl_div(p, q, reduction="batchmean"), p, q)
    recorder.record("kl sum", lambda p, q: F.kl_div(p, q, reduction="sum"), p, q)
    recorder.record("kl none", lambda p, q: F.kl_div(p, q, reduction="none").sum(-1), p, q)
    recorder.record(
        "kl of logarithms",
        lambda p, q: F.kl_div(p, q, reduction="batchmean", log_target=True),
        p,
        torch.log_softmax(torch.randn(4, 5), -1),
    )


def margins(recorder):
    a, b, c = torch.randn(6, 4), torch.randn(6, 4), torch.randn(6, 4)
    signs = torch.tensor([1, -1, 1, -1, 1, -1])
    for reduction in REDUCTIONS:
        recorder.record(
            f"cosine embedding {reduction}",
            lambda a, b, s, r=reduction: F.cosine_embedding_loss(a, b, s, 0.1, reduction=r),
            a,
            b,
            signs,
        )
        recorder.record(f"triplet {reduction}", nn.TripletMarginLoss(reduction=reduction), a, b, c)
    recorder.record("triplet options", nn.TripletMarginLoss(margin=2.0, p=1.0, swap=True), a, b, c)
    recorder.record(
        "hinge",
        lambda x, s: F.margin_ranking_loss(x, torch.zeros(6), s, margin=0.7),
        torch.randn(6),
        signs,
    )


def connectionist(recorder):
    frames = torch.randn(7, 3, 5)  # time, batch, classes
    for name, labels, times, sizes, blank in (
        ("ctc", [[1, 2, 2], [3, 4, 0], [1, 0, 0]], [7, 5, 6], [3, 2, 1], 0),
        ("ctc blank last", [[1, 2, 2], [3, 1, 0], [0, 1, 3]], [7, 7, 7], [3, 3, 3], 4),
    ):
        recorder.record(
            name,
            lambda z, t, n, m, b=blank: F.ctc_loss(
                torch.log_softmax(z, -1), t, n, m, blank=b, reduction="none"
            ),
            frames,
            torch.tensor(labels),
            torch.tensor(times),
            torch.tensor(sizes),
        )


def more_margins(recorder):
    x, labels = torch.randn(4, 5), torch.tensor([0, 4, 2, 2])
    signs = torch.tensor([1, -1, -1, 1])
    applies = torch.tensor([[0, 3, -1, 1, 2], [4, -1, 0, 0, 0], [2, 1, 0, 4, 3], [-1, 0, 0, 0, 0]])
    for reduction in REDUCTIONS:
        options = {"reduction": reduction}
        recorder.record(
            f"hinge embedding {reduction}",
            lambda x, s, o=options: F.hinge_embedding_loss(x, s, margin=0.7, **o),
            torch.rand(4),
            signs,
        )
        recorder.record(
            f"multi margin {reduction}",
            lambda x, t, o=options: F.multi_margin_loss(
                x, t, p=2, margin=0.8, weight=CLASS_WEIGHTS, **o
            ),
            x,
            labels,
        )
        recorder.record(
            f"multi-label margin {reduction}",
            lambda x, t, o=options: F.multilabel_margin_loss(x, t, **o),
            x,
            applies,
        )
    recorder.record("multi margin", F.multi_margin_loss, x, labels)
    recorder.record(
        "triplet distance",
        nn.TripletMarginWithDistanceLoss(
            distance_function=lambda x, y: (x - y).abs().amax(-1), margin=0.4, swap=True
        ),
        *torch.randn(3, 4, 3),
    )


def kinks(recorder):
    """Errors of zero, and margins that are just kept."""
    hit, signs = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([1, -1, 1])
    recorder.record("l1 kink", F.l1_loss, hit, hit)
    recorder.record("smooth l1 kink", lambda p, t: F.smooth_l1_loss(p, t, beta=0.0), hit, hit)
    recorder.record(
        "hinge kink",
        lambda x, s: F.margin_ranking_loss(x, torch.zeros(3), s, margin=0.0),
        torch.zeros(3),
        signs,
    )
    recorder.record(
        "hinge embedding kink",
        lambda x, s: F.hinge_embedding_loss(x, s, margin=1.0),
        torch.tensor([1.0, 1.0, 2.0]),
        -signs,
    )
    one, other = torch.eye(2), torch.eye(2).flip(0)
    recorder.record("cosine embedding kink", F.cosine_embedding_loss, one, other, -torch.ones(2))


if __name__ == "__main__":
    recorder = Recorder("losses")
    for family in (
        classification,
        binary,
        regression,
        distributions,
        margins,
        connectionist,
        more_margins,
        kinks,
    ):
        family(recorder)
    recorder.save()
