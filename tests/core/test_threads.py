import threading

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ansatz as az
from tests.core.layers import Affine, Centre, Chain, Mask, inputs, sgd

THREADS = 4
STEPS = 8


def in_threads(function):
    """The results of `function(0)`, `function(1)`, …, each in a thread of its own, all at once."""
    results, errors = [None] * THREADS, []
    barrier = threading.Barrier(THREADS)

    def work(index):
        try:
            barrier.wait()
            results[index] = function(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def network(index):
    net = Chain(Affine(7), Centre(), Affine(1))
    net.initialize(seed=index)
    return net


def train(step, index):
    net = network(index)
    for seed in range(STEPS):
        step(net, inputs(batch=1 + seed % 3, seed=seed))
    return jax.tree.map(np.asarray, net.state_dict())


@pytest.fixture(scope="module")
def alone():
    """What each thread has to reach: the same steps, one network after the other."""
    step = az.jit(sgd)
    return [train(step, index) for index in range(THREADS)]


def assert_trees_close(one, other):
    for path, value in one.items():
        assert_allclose(value, other[path], rtol=1e-5, atol=1e-7)


def test_threads_step_their_own_networks_with_one_shared_function(alone):
    step = az.jit(sgd)
    for result, expected in zip(in_threads(lambda index: train(step, index)), alone, strict=True):
        assert_trees_close(result, expected)


def test_threads_step_their_own_networks_with_functions_of_their_own(alone):
    results = in_threads(lambda index: train(az.jit(sgd), index))
    for result, expected in zip(results, alone, strict=True):
        assert_trees_close(result, expected)


@pytest.mark.parametrize(
    "call",
    [lambda net, x: net(x), az.jit(lambda net, x: net(x)), lambda net, x: az.remat(net)(x)],
    ids=["eager", "jit", "remat"],
)
def test_simultaneous_first_calls_draw_once(call):
    net = Chain(Affine(7), Affine(1))
    x = inputs()
    results = in_threads(lambda _: np.asarray(call(net, x)))
    for result in results:
        assert_allclose(result, net(x), rtol=1e-5)
    for result in results[1:]:
        assert_array_equal(result, results[0])


@pytest.mark.parametrize("how", ["positional", "keyword", "container"])
def test_threads_read_one_network_each_with_their_own_data(how):
    net = network(0).eval()
    net(inputs())
    if how == "container":
        call = az.jit(lambda held, x: held["net"](x))
        read = lambda x: call({"net": net}, x)  # noqa: E731
    else:
        call = az.jit(lambda net, x: net(x))
        read = lambda x: call(net, x) if how == "positional" else call(net=net, x=x)  # noqa: E731

    def work(index):
        return [np.asarray(read(inputs(seed=index))) for _ in range(50)]

    for index, results in enumerate(in_threads(work)):
        for result in results:
            assert_allclose(result, net(inputs(seed=index)), rtol=1e-4, atol=1e-6)


def test_a_trace_in_one_thread_is_not_seen_by_another():
    net = network(0).eval()
    net(inputs())
    inside, done = threading.Event(), threading.Event()
    seen = []

    def other():
        inside.wait()
        seen.append(isinstance(net.layers[0].weight.value, jax.core.Tracer))
        net.layers[0].bias.value = np.ones(7, np.float32)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()

    @az.jit
    def slow(net, x):
        inside.set()
        done.wait()
        return net(x)

    slow(net, inputs())
    thread.join()
    assert seen == [False]
    assert net.layers[0].bias.value.tolist() == [1] * 7


def test_random_streams_of_two_threads_are_those_of_one():
    def masks(index):
        net = Chain(Mask())
        net.initialize(seed=index)
        step = az.jit(lambda net, x: net(x))
        return [np.asarray(step(net, inputs())) for _ in range(5)]

    for index, result in enumerate(in_threads(masks)):
        for one, other in zip(result, masks(index), strict=True):
            assert_array_equal(one, other)


def test_networks_that_are_built_meanwhile_disturb_nobody(alone):
    step = az.jit(sgd)
    stop = threading.Event()

    def build():
        while not stop.is_set():
            Chain(Affine(2, 2)).eval()

    builder = threading.Thread(target=build)
    builder.start()
    try:
        result = train(step, 0)
    finally:
        stop.set()
        builder.join()
    assert_trees_close(result, alone[0])
