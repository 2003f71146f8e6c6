import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from tests.nn.reference import COMPILED, close

LOGITS = 3 * np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
LABELS = np.array([0, 4, 2, 2, 1, 3])
SOFT = np.random.default_rng(1).dirichlet(np.ones(5), 6).astype("float32")
CLASS_WEIGHTS = np.array([0.5, 1.0, 1.5, 2.0, 0.75], np.float32)
SIGNS = np.array([1.0, -1.0, 1.0, -1.0], np.float32)


def test_probabilities_of_zero_and_one_have_finite_losses_and_slopes():
    p, t = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([0.0, 1.0, 0.0, 1.0])

    def loss(p):
        return nn.binary_cross_entropy(p, t, from_logits=False, reduction="none")

    # The logarithm is cut at -100, and the slope at 1e12, as in PyTorch.
    close(loss(p), [0, 100, 100, 0])
    close(jax.grad(lambda p: loss(p).sum())(p), [1, -1e12, 1e12, -1])


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


def test_labels_that_are_integers_in_floating_point_are_to_be_cast():
    with pytest.raises(az.ShapeError, match=r"cast them: labels\.astype\('int32'\)"):
        nn.softmax_cross_entropy(jnp.zeros((4, 3)), jnp.zeros(4))


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
    with pytest.raises(ValueError, match="'none' or 'sample', got 'avg'"):
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
    again = np.repeat(np.arange(6), weights)

    def loss(rows, **options):
        if name == "l2":
            return nn.l2_loss(LOGITS[rows], SOFT[rows], **options)
        labels = SOFT if name == "probabilities" else LABELS
        if name == "weighted classes":
            options |= {"class_weights": CLASS_WEIGHTS, "label_smoothing": 0.2}
        return nn.softmax_cross_entropy(LOGITS[rows], labels[rows], **options)

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


PAIRS_OF_NUMBERS = {
    "l1": nn.l1_loss,
    "l2": nn.l2_loss,
    "huber": nn.huber_loss,
    "smooth l1": nn.smooth_l1_loss,
    "poisson": functools.partial(nn.poisson_loss, from_logits=True, full=True),
    "gaussian": lambda p, t, **options: nn.gaussian_loss(p, t, jnp.abs(t), **options),
    "binary": functools.partial(nn.binary_cross_entropy, from_logits=True),
    "binary of probabilities": functools.partial(nn.binary_cross_entropy, from_logits=False),
    "focal": nn.focal_loss,
    "hinge": nn.hinge_loss,
    "squared hinge": nn.squared_hinge_loss,
    "hinge embedding": nn.hinge_embedding_loss,
}


@jax.jit  # All losses in one program, which compiles faster than many.
def of_each_reduction(p, t, weights):
    return {
        name: {
            "single": loss(p, t, reduction="none"),
            "mean": loss(p, t),
            "sum": loss(p, t, reduction="sum"),
            "sample": loss(p, t, reduction="sample"),
            "weighed": loss(p, t, reduction="none", weights=weights),
            "weighed sample": loss(p, t, reduction="sample", weights=weights),
            "weighed mean": loss(p, t, weights=weights),
            "masked mean": loss(p, t, weights=weights > 0),
        }
        for name, loss in PAIRS_OF_NUMBERS.items()
    }


def test_every_reduction_follows_from_the_single_losses():
    p, t = np.random.default_rng(0).uniform(0.1, 0.9, (2, 4, 3)).astype("float32")
    weights = np.array([1.0, 2.0, 0.0, 0.5], np.float32)
    for name, found in of_each_reduction(p, t, weights).items():
        single = np.asarray(found["single"])
        assert single.shape == (4, 3), name
        weighed = single * weights[:, None]
        expected = {
            "mean": single.mean(),
            "sum": single.sum(),
            "sample": single.mean(1),
            "weighed": weighed,
            "weighed sample": weighed.mean(1),
            "weighed mean": weighed.sum() / (3 * weights.sum()),
            "masked mean": single[[0, 1, 3]].mean(),
        }
        for reduction, value in expected.items():
            close(found[reduction], value, rtol=1e-4, err_msg=f"{name}, {reduction}")


def test_nan_that_does_not_count_reaches_no_gradient():
    p, t = np.full((2, 2), 0.5, np.float32), np.full((2, 2), 0.25, np.float32)
    p[1], t[1] = np.nan, np.nan

    @jax.jit
    def values_and_gradients(p, t, weights):
        return {
            name: jax.value_and_grad(functools.partial(loss, weights=weights))(p, t)
            for name, loss in PAIRS_OF_NUMBERS.items()
        }

    for name, (value, grad) in values_and_gradients(p, t, np.array([True, False])).items():
        assert np.isfinite(value), name
        assert np.isfinite(grad).all(), name
        assert not grad[1].any(), name


def test_gluons_losses_are_means_over_all_axes_but_the_first():
    # Gluon's SoftmaxCrossEntropyLoss, by its formula.
    pixels = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    labels = np.array([[0, 3, 1], [2, 2, 0]])
    logs = pixels - np.log(np.exp(pixels).sum(-1, keepdims=True))
    picked = -np.take_along_axis(logs, labels[..., None], -1)[..., 0]
    close(nn.softmax_cross_entropy(pixels, labels, reduction="sample"), picked.mean(1), rtol=1e-4)
    with pytest.raises(az.ShapeError, match="sample"):
        nn.softmax_cross_entropy(pixels[0, 0], 1, reduction="sample")


def test_an_ignored_label_is_as_if_it_were_not_there():
    kept = LABELS != 2
    for options in ({}, {"class_weights": CLASS_WEIGHTS, "label_smoothing": 0.2}):
        ignored = nn.softmax_cross_entropy(LOGITS, LABELS, ignore_index=2, **options)
        close(ignored, nn.softmax_cross_entropy(LOGITS[kept], LABELS[kept], **options), rtol=1e-5)
    spoilt = np.where(kept[:, None], LOGITS, np.nan)
    grad = jax.grad(lambda z: nn.softmax_cross_entropy(z, LABELS, ignore_index=2))(spoilt)
    assert np.isfinite(grad).all()
    with pytest.raises(ValueError, match="weight 0"):
        nn.softmax_cross_entropy(LOGITS, SOFT, ignore_index=2)


def test_negative_log_likelihood_of_log_softmax_is_the_cross_entropy():
    close(
        nn.nll_loss(jax.nn.log_softmax(LOGITS), LABELS),
        nn.softmax_cross_entropy(LOGITS, LABELS),
        rtol=1e-5,
    )
    with pytest.raises(az.DTypeError, match="softmax_cross_entropy takes"):
        nn.nll_loss(LOGITS, SOFT)


def test_the_divergence_of_a_distribution_from_itself_is_zero_along_any_axis():
    logs = np.log(SOFT)
    assert abs(float(nn.kl_divergence(logs, SOFT))) < 1e-6
    close(nn.kl_divergence(logs.T, SOFT.T, axis=0, reduction="none"), np.zeros(6), atol=1e-6)
    # A class that cannot be costs nothing where its target is zero, and everything elsewhere.
    never = jnp.array([0.0, -jnp.inf])
    assert float(nn.kl_divergence(never, jnp.array([1.0, 0.0]))) == 0
    assert float(nn.kl_divergence(never, never, log_targets=True)) == 0
    assert float(nn.kl_divergence(never, jnp.array([0.5, 0.5]))) == np.inf


def test_the_square_of_a_hinge_loss():
    p = np.array([0.25, -0.5, 2.0, 3.0], np.float32)
    close(nn.hinge_loss(p, SIGNS, reduction="none"), [0.75, 0.5, 0, 4])
    close(nn.squared_hinge_loss(p, SIGNS, reduction="none"), [0.5625, 0.25, 0, 16])


def test_a_label_that_does_not_exist_gives_nan_and_no_other_loss_is_touched():
    losses = nn.multi_margin_loss(LOGITS[:2], np.array([5, 1]), reduction="none")
    assert np.isnan(losses).tolist() == [True, False]


def test_classes_of_margin_losses_may_be_any_axis():
    applies = np.array([[1, 0, 0, 1, 0]] * 6)
    for loss, targets in ((nn.multi_margin_loss, LABELS), (nn.multilabel_margin_loss, applies)):
        along_last = loss(LOGITS, targets, reduction="none")
        close(loss(LOGITS.T, targets.T, axis=0, reduction="none"), along_last)


def test_labels_of_a_margin_loss_are_integers():
    with pytest.raises(az.DTypeError, match="labels of multi_margin_loss are integers"):
        nn.multi_margin_loss(LOGITS, SOFT)
    with pytest.raises(az.ShapeError, match=r"targets has shape \(6,\), expected \(6, 5\)"):
        nn.multilabel_margin_loss(LOGITS, LABELS)


def test_a_distance_has_to_give_one_number_for_each_pair():
    a = jnp.ones((4, 2))
    with pytest.raises(az.ShapeError, match=r"the distance has shape \(4, 2\), expected \(4,\)"):
        nn.triplet_loss(a, a, a, distance=lambda x, y: x - y)

    with pytest.raises(az.ShapeError, match=r"the distance has shape \(\), expected \(4,\)"):
        nn.triplet_loss(a, a, a, distance=lambda x, y: 0.5)


def test_a_distance_may_be_learnt():
    metric = nn.Dense(1, in_units=2, weight_init="ones")
    metric.initialize(seed=0)
    a, p, n = jnp.array([[0.0, 0.0]] * 2), jnp.array([[1.0, 1.0]] * 2), jnp.array([[3.0, 0.0]] * 2)

    def distance(x, y):
        return jnp.abs(metric(x) - metric(y))[:, 0]

    def loss(metric, weights):
        options = {"margin": 2.0, "swap": True, "weights": weights, "distance": distance}
        return nn.triplet_loss(a, p.at[1].set(jnp.nan), n, **options)

    # By hand: near 2, far 3 and, from positive to negative, 1; the loss is near - 1 + margin.
    only_first = jnp.array([1.0, 0.0])
    value_and_grad = az.value_and_grad(loss)
    for scale in (1.0, 2.0):  # Values of the first call must not stay.
        metric.weight.value = jnp.full((1, 2), scale)
        for run in (value_and_grad, az.jit(value_and_grad)):
            value, grads = run(metric, only_first)
            assert float(value) == scale + 2
            close(grads["weight"], [[-1.0, 2.0]])


def test_vectors_that_do_not_fit_are_refused():
    with pytest.raises(az.ShapeError, match=r"targets has shape \(3,\), expected \(4,\)"):
        nn.cosine_embedding_loss(jnp.ones((4, 2)), jnp.ones((4, 2)), jnp.ones(3))
    with pytest.raises(az.ShapeError, match="what is compared"):
        nn.triplet_loss(jnp.ones((4, 2)), jnp.ones((4, 2)), jnp.ones((4, 3)))
    with pytest.raises(az.ShapeError, match="no axis -1"):
        nn.kl_divergence(jnp.ones(()), jnp.ones(()))


def test_equal_vectors_have_finite_gradients():
    same = jnp.ones((2, 3))
    assert np.isfinite(jax.grad(nn.triplet_loss)(same, same, same)).all()
    zero = jnp.zeros((2, 3))
    grad = jax.grad(nn.cosine_embedding_loss)(zero, same, jnp.array([1, -1]))
    assert np.isfinite(grad).all()


def all_alignments(probabilities, labels, blank=0):
    """The probability of a sequence of labels, by going through all paths."""
    times, classes = probabilities.shape
    total = 0.0
    for path in np.ndindex(*[classes] * times):
        merged = [c for i, c in enumerate(path) if i == 0 or c != path[i - 1]]
        if [c for c in merged if c != blank] == list(labels):
            total += np.prod([probabilities[t, c] for t, c in enumerate(path)])
    return total


@pytest.mark.parametrize(("labels", "blank"), [([1, 2], 0), ([1, 1], 0), ([0, 1], -1), ([2], 0)])
def test_ctc_is_the_probability_of_all_alignments(labels, blank):
    logits = np.random.default_rng(0).normal(size=(1, 4, 3)).astype("float32")
    padded = np.array([labels + [-1] * (2 - len(labels))])
    found = nn.ctc_loss(logits, padded, blank=blank)
    exact = all_alignments(np.asarray(jax.nn.softmax(logits))[0], labels, blank % 3)
    close(found, -np.log(exact), rtol=1e-5)


def test_ctc_of_a_sequence_that_is_too_short_is_infinite_and_has_no_gradient():
    labels, lengths = jnp.array([[1, 1], [1, 2]]), jnp.array([2, 2])

    def loss(logits, **options):
        return nn.ctc_loss(logits, labels, logit_lengths=lengths, **options)

    logits = jnp.zeros((2, 4, 3))
    assert np.isinf(loss(logits, reduction="none")).tolist() == [True, False]
    grad = jax.grad(lambda z: loss(z, reduction="sum"))(logits)
    assert not grad[0].any()
    assert grad[1].any()
    assert np.isfinite(loss(logits, weights=jnp.array([0, 1])))


def test_ctc_refuses_what_does_not_fit():
    with pytest.raises(az.ShapeError, match="batch, time, classes"):
        nn.ctc_loss(jnp.ones((4, 3)), jnp.ones((4, 2), int))
    with pytest.raises(az.DTypeError, match="integers"):
        nn.ctc_loss(jnp.ones((4, 3, 2)), jnp.ones((4, 2)))
    with pytest.raises(az.ShapeError, match="label_lengths has shape"):
        nn.ctc_loss(jnp.ones((4, 3, 2)), jnp.ones((4, 2), int), label_lengths=jnp.ones(3, int))
    with pytest.raises(ValueError, match="one of 2 classes"):
        nn.ctc_loss(jnp.ones((4, 3, 2)), jnp.ones((4, 2), int), blank=2)


@pytest.mark.parametrize(
    ("loss", "option"),
    [
        (nn.smooth_l1_loss, {"beta": -1}),
        (nn.focal_loss, {"gamma": -1}),
        (nn.focal_loss, {"alpha": 2}),
        (functools.partial(nn.gaussian_loss, variances=np.ones(2)), {"eps": 0}),
        (functools.partial(nn.triplet_loss, negatives=np.ones(2)), {"power": 0}),
        (nn.multi_margin_loss, {"power": 3}),
    ],
)
def test_an_option_out_of_its_range_is_named(loss, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        loss(np.ones(2), np.ones(2), **option)


@pytest.mark.parametrize("name", PAIRS_OF_NUMBERS)
def test_a_loss_outside_of_jit_is_one_dispatch(name):
    loss = PAIRS_OF_NUMBERS[name]
    if name == "gaussian":  # The wrapper above takes an absolute value of its own.
        loss = functools.partial(nn.gaussian_loss, variances=SIGNS)
    (equation,) = jax.make_jaxpr(loss)(SIGNS, SIGNS).eqns
    assert equation.primitive.name in COMPILED


def test_cross_entropy_outside_of_jit_is_one_dispatch():
    jaxpr = jax.make_jaxpr(lambda z: nn.softmax_cross_entropy(z, LABELS, ignore_index=2))(LOGITS)
    (equation,) = jaxpr.eqns
    assert equation.primitive.name in COMPILED
