import inspect
import re

import pytest

from ansatz import nn
from ansatz.core import spelling as options
from ansatz.nn import spelling


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("CrossEntropyLoss", "nn.softmax_cross_entropy"),
        ("ModuleList", "a plain list"),
        ("Dropout2d", "nn.Dropout(rate, axes=(2, 3))"),
        ("SpatialDropout1D", "nn.Dropout(rate, axes=...)"),
        ("Parameter", "az.Parameter"),
        ("Hardswish", "nn.HardSwish"),
        ("LazyLinear", "nn.Dense"),
        ("LazyConv2d", "nn.Conv2D"),
        ("Conv2DTranspose", "nn.ConvTranspose2D"),
        ("LayerNormalization", "nn.LayerNorm"),
        ("GlobalAveragePooling2D", "nn.GlobalAvgPool2D"),
    ],
)
def test_a_name_of_another_library_is_an_error_with_its_name_here(name, here):
    with pytest.raises(AttributeError) as caught:
        getattr(nn, name)
    assert f"has no attribute {name!r}; here it is {here}" in str(caught.value)


def test_other_names_get_a_near_one_or_none():
    with pytest.raises(AttributeError, match="did you mean 'Dropout'"):
        nn.Droput  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute '__wrapped__'$"):
        nn.__wrapped__  # noqa: B018
    assert not hasattr(nn, "MSELoss")


def test_hints_name_only_what_is_there():
    for theirs, ours in spelling._ELSEWHERE.items():
        assert theirs not in nn.__all__
        assert set(re.findall(r"(?<!jax\.)\bnn\.(\w+)", ours)) <= set(nn.__all__)


def test_options_are_hinted_at_only_if_some_layer_has_them():
    taken = {
        name
        for layer in (getattr(nn, name) for name in nn.__all__)
        if inspect.isclass(layer)
        for name in inspect.signature(layer.__init__).parameters
    }
    assert {ours for many in options._OPTIONS.values() for ours in many} <= taken
