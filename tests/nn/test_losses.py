import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from tests.nn.reference import COMPILED, Cases, close

CASES = Cases("losses")


def assert_loss_matches(loss, case, *names):
    """The loss and its gradients for the arrays of these names are those of the case."""
    given = [jnp.asarray(case[name]) for name in names]
    close(loss(*given), case["y"], rtol=2e-5, atol=1e-5)
    positions = [i for i, name in enumerate(names) if f"d.{name}" in case]
    grads = jax.grad(lambda *a: (loss(*a) * case["g"]).sum(), positions)(*given)
    for position, grad in zip(positions, grads, strict=True):
        close(grad, case[f"d.{names[position]}"], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES.names("cross entropy integers"))
def test_cross_entropy_with_integers_is_that_of_pytorch(case):
    *_, reduction, smoothing, _ = case.split()
    entries = CASES[case]
    assert_loss_matches(
        lambda z: nn.softmax_cross_entropy(
            z,
            entries["labels"],
            label_smoothing=float(smoothing),
            class_weights=entries.get("class_weights"),
            reduction=reduction,
        ),
        entries,
        "x",
    )


@pytest.mark.parametrize("case", CASES.names("cross entropy probabilities"))
def test_cross_entropy_with_probabilities_is_that_of_pytorch(case):
    *_, reduction, smoothing, _ = case.split()
    entries = CASES[case]
    assert_loss_matches(
        lambda z: nn.softmax_cross_entropy(
            z,
            entries["labels"],
            label_smoothing=float(smoothing),
            class_weights=entries.get("class_weights"),
            reduction=reduction,
        ),
        entries,
        "x",
    )


def test_classes_may_be_along_any_axis():
    case = CASES["cross entropy planes"]
    assert_loss_matches(lambda z: nn.softmax_cross_entropy(z, case["labels"], axis=1), case, "x")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("l1", nn.l1_loss),
        ("l2", nn.l2_loss),
        ("huber 1.0", nn.huber_loss),
        ("huber 0.3", lambda p, t, **options: nn.huber_loss(p, t, delta=0.3, **options)),
    ],
)
def test_regression_losses_are_those_of_pytorch(name, loss, reduction):
    case = CASES[f"{name} {reduction}"]
    assert_loss_matches(lambda p, t: loss(p, t, reduction=reduction), case, "x", "t")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["logits", "positive", "probabilities"])
def test_binary_losses_are_those_of_pytorch(name, reduction):
    case = CASES[f"binary {name} {reduction}"]
    assert_loss_matches(
        lambda p: nn.binary_cross_entropy(
            p,
            case["t"],
            from_logits=name != "probabilities",
            positive_weight=case.get("positive_weight"),
            reduction=reduction,
        ),
        case,
        "x",
    )


def test_probabilities_of_zero_and_one_have_the_finite_losses_of_pytorch():
    case = CASES["binary certain"]

    def loss(p):
        return nn.binary_cross_entropy(p, case["t"], from_logits=False, reduction="none")

    close(loss(case["x"]), case["y"])
    grad = jax.grad(lambda p: (loss(p) * case["g"]).sum())(jnp.asarray(case["x"]))
    close(grad[1:3], case["d.x"][1:3])
    # Where a prediction is right, PyTorch rounds the slope of one to zero.
    close(grad[::3], case["g"][::3] * [1, -1])


def test_huge_logits_neither_overflow_nor_lose_their_gradient():
    huge = jnp.array([1e4, -1e4])
    loss, grad = jax.value_and_grad(
        lambda z: nn.binary_cross_entropy(z, jnp.array([0.0, 1.0]), from_logits=True)
    )(huge)
    assert float(loss) == 1e4
    assert grad.tolist() == [0.5, -0.5]
    assert float(nn.softmax_cross_entropy(huge, jnp.array(1))) == 2e4


def test_an_impossible_class_costs_nothing_where_its_probability_is_zero():
    logits, labels = jnp.array([0.0, -jnp.inf]), jnp.array([1.0, 0.0])
    loss, grad = jax.value_and_grad(nn.softmax_cross_entropy)(logits, labels)
    assert float(loss) == 0
    assert not np.isnan(grad).any()


PAIRS = [((4,), (4, 1)), ((4, 1), (4,)), ((4,), ()), ((2, 3), (3,))]


@pytest.mark.parametrize(("predicted", "wanted"), PAIRS)
@pytest.mark.parametrize(
    "loss",
    [
        nn.l1_loss,
        nn.l2_loss,
        nn.huber_loss,
        lambda p, t: nn.binary_cross_entropy(p, t, from_logits=True),
    ],
)
def test_nothing_is_broadcast(loss, predicted, wanted):
    with pytest.raises(az.ShapeError, match="nothing is broadcast"):
        loss(jnp.ones(predicted), jnp.ones(wanted))


@pytest.mark.parametrize(
    "labels",
    [jnp.zeros((4, 1), int), jnp.zeros((4, 3), int), jnp.zeros(3, int), jnp.zeros(4), jnp.zeros(3)],
)
def test_labels_that_do_not_fit_are_refused_with_both_shapes(labels):
    with pytest.raises(az.ShapeError, match=r"labels of shape \(4,\).*of shape \(4, 3\)"):
        nn.softmax_cross_entropy(jnp.zeros((4, 3)), labels)


def test_labels_of_another_kind_are_refused():
    with pytest.raises(az.DTypeError, match="bool"):
        nn.softmax_cross_entropy(jnp.zeros((4, 3)), jnp.zeros(4, bool))


def test_weights_of_another_shape_are_refused():
    zeros = jnp.zeros((4, 3))
    with pytest.raises(az.ShapeError, match=r"weights has shape \(3,\), expected \(4,\)"):
        nn.l2_loss(zeros, zeros, weights=jnp.ones(3))
    with pytest.raises(az.ShapeError, match=r"class_weights has shape \(4,\), expected \(3,\)"):
        nn.softmax_cross_entropy(zeros, jnp.zeros(4, int), class_weights=jnp.ones(4))
    with pytest.raises(az.ShapeError, match=r"positive_weight has shape \(4,\)"):
        nn.binary_cross_entropy(zeros, zeros, from_logits=True, positive_weight=jnp.ones(4))


def test_options_out_of_range_are_refused():
    zeros = jnp.zeros((4, 3))
    with pytest.raises(ValueError, match="reduction is 'mean', 'sum' or 'none', got 'avg'"):
        nn.l2_loss(zeros, zeros, reduction="avg")
    with pytest.raises(ValueError, match="label_smoothing"):
        nn.softmax_cross_entropy(zeros, jnp.zeros(4, int), label_smoothing=2)
    with pytest.raises(ValueError, match="delta"):
        nn.huber_loss(zeros, zeros, delta=0)
    with pytest.raises(az.ShapeError, match="no axis 2"):
        nn.softmax_cross_entropy(zeros, jnp.zeros(4, int), axis=2)


def test_binary_cross_entropy_has_to_be_told_what_the_predictions_are():
    with pytest.raises(TypeError, match="from_logits"):
        nn.binary_cross_entropy(jnp.zeros(2), jnp.zeros(2))


@settings(max_examples=25, deadline=None)
@given(weights=st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(any))
@pytest.mark.parametrize("name", ["integers", "probabilities", "l2", "weighted classes"])
def test_a_whole_weight_counts_an_example_that_often(name, weights):
    case = CASES["cross entropy integers mean 0.1 True"]
    soft = CASES["cross entropy probabilities mean 0.1 True"]["labels"]
    per_class = case["class_weights"]
    again = np.repeat(np.arange(6), weights)

    def loss(rows, **options):
        if name == "l2":
            return nn.l2_loss(case["x"][rows], soft[rows], **options)
        labels = soft if name == "probabilities" else case["labels"]
        if name == "weighted classes":
            options |= {"class_weights": per_class, "label_smoothing": 0.2}
        return nn.softmax_cross_entropy(case["x"][rows], labels[rows], **options)

    close(loss(np.arange(6), weights=jnp.asarray(weights)), loss(again), rtol=1e-4)


def test_an_example_of_weight_zero_may_have_any_label():
    logits, labels = jnp.zeros((2, 3)), jnp.array([1, -100])

    def loss(logits, class_weights=None):
        return nn.softmax_cross_entropy(
            logits, labels, class_weights=class_weights, weights=jnp.array([1.0, 0.0])
        )

    for class_weights in (None, jnp.ones(3)):
        value, grad = jax.value_and_grad(loss)(logits, class_weights)
        close(value, np.log(3))
        close(grad, [[1 / 3, -2 / 3, 1 / 3], [0, 0, 0]])


@pytest.mark.parametrize("loss", [nn.l1_loss, nn.l2_loss, nn.huber_loss])
def test_an_example_of_weight_zero_may_lack_its_target(loss):
    targets, weights = jnp.array([1.0, jnp.nan]), jnp.array([2.0, 0.0])
    value, grad = jax.value_and_grad(loss)(jnp.array([3.0, 3.0]), targets, weights=weights)
    assert float(value) == float(loss(3.0, 1.0))
    assert not np.isnan(grad).any()


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_out_of_range_gives_nan(label):
    labels = jnp.array([0, label])
    losses = nn.softmax_cross_entropy(jnp.zeros((2, 3)), labels, reduction="none")
    assert np.isnan(losses).tolist() == [False, True]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_summed_in_float32(dtype):
    p, t = jnp.full(70_000, 2, dtype), jnp.zeros(70_000, dtype)
    for loss in (nn.l1_loss, nn.l2_loss):
        total = loss(p, t, reduction="sum")
        assert total.dtype == "float32"
        assert float(total) == 70_000 * (2 if loss is nn.l1_loss else 4)


def test_lists_and_numbers_are_arrays():
    assert float(nn.l2_loss([1.0, 2.0], [1.0, 4.0])) == 2
    assert float(nn.l1_loss(3.0, 1.0)) == 2


def test_a_loss_outside_of_jit_is_one_dispatch():
    case = CASES["cross entropy integers mean 0.1 True"]
    jaxpr = jax.make_jaxpr(lambda z: nn.softmax_cross_entropy(z, case["labels"]))(case["x"])
    (equation,) = jaxpr.eqns
    assert equation.primitive.name in COMPILED
