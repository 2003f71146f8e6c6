"""What a load says: of much that is alike little, and what helps first."""

import numpy as np
import pytest

import ansatz as az
from ansatz import nn


def test_of_many_faults_ten_are_shown_and_the_rest_is_counted() -> None:
    net = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(30)))
    other = {f"{i}.kernel": np.ones((1, 1), "float32") for i in range(12)}
    with pytest.raises(az.CheckpointError) as caught:
        net.load_state_dict(other)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("nothing was loaded: 30 missing, 12 unexpected")
    assert sum("'" in line for line in lines[1:]) == 20
    assert [line.split() for line in lines if " more" in line] == [
        ["missing", "and", "20", "more"],
        ["unexpected", "and", "2", "more"],
    ]
    assert "plan_load" in lines[-1]
    assert repr(net.plan_load(other)).count("missing") == 31  # Each row, and the headline.


def test_a_report_has_one_line_for_counters_and_streams() -> None:
    net = nn.Sequential(*(nn.BatchNorm(2) for _ in range(4)), *(nn.Dropout(0.5) for _ in range(5)))
    state = {
        name: np.asarray(value, "int64") if name.endswith("tracked") else np.asarray(value)
        for name, value in net.state_dict().items()
        if not name.endswith("stream")
    }
    # In the file they are called otherwise, each in its own way.
    report = net.load_state_dict(
        {f"m.{name}": value for name, value in state.items()},
        rename=az.checkpoint.strip_prefix("m."),
    )
    headline, *lines = repr(report).splitlines()
    assert headline.endswith("16 match, 4 cast, 5 optional")
    assert [" ".join(line.split()) for line in lines] == [
        "cast 0.num_batches_tracked and 3 more int32 int64 in the file, int32 in the network",
        "optional 4.stream and 4 more uint32",
    ]
    assert len(report) == 25


def test_a_whole_checkpoint_in_the_place_of_a_state_dict_is_recognised() -> None:
    net = nn.Linear(2, 1)
    with pytest.raises(az.CheckpointError, match=r"such as checkpoint\['model'\]"):
        net.load_state_dict({"model": net.state_dict(), "epoch": 3})


def test_an_unknown_dtype_to_cast_to_is_answered_with_the_known_ones() -> None:
    net = nn.Linear(2, 1)
    with pytest.raises(az.CheckpointError, match=r"did you mean 'bfloat16'.*float32, float64"):
        net.load_state_dict(net.state_dict(), cast="bfloat61")


def test_an_error_says_what_helps_for_other_shapes_and_for_the_state_of_an_optimizer() -> None:
    net = nn.Linear(3, 2)
    state = {"weight": np.ones((3, 2), "f4"), "bias": np.ones(5, "f4"), "optimizer.m": np.ones(1)}
    with pytest.raises(az.CheckpointError) as e:
        net.load_state_dict(state)
    assert "on_shape='reinitialise'" in str(e.value)
    assert "Rule('weight', transpose=True)" in str(e.value)
    assert str(e.value).count("transpose") == 1
    assert "rename={'optimizer.*': None}" in str(e.value)
    rename = [{"optimizer.*": None, "bias": None}, az.checkpoint.Rule("weight", transpose=True)]
    net.load_state_dict(state, rename=rename, strict=False)
