"""What the docstring of each layer and each loss has to tell."""

import inspect
import re

import pytest

from ansatz import nn
from tests.nn.catalogue import LAYERS, Chooser

# They compute nothing of their own.
WITHOUT_SOURCE = {"Sequential", "Stack", "Recurrent", "Lambda", "Identity", "Flatten", "Unflatten"}
# Their parameters are those of the layers that they are given.
CONTAINERS = {"Sequential", "Stack", "Concurrent", "Residual"}
LOSSES = [name for name in nn.__all__ if name.endswith(("_loss", "_entropy", "_divergence"))]


def told(name):
    """The docstring of a layer, and those of the layers that it names and is a kind of."""
    layer = getattr(nn, name)
    own = inspect.getdoc(layer)
    bases = [base for base in layer.__mro__[1:] if base.__module__.startswith("ansatz.nn")]
    named = {base.__name__: base for base in bases if re.search(rf"`{base.__name__}\b", own)}
    private = [base for base in bases if base.__name__.startswith("_")]
    return "\n\n".join([own, *(base.__doc__ or "" for base in [*named.values(), *private])])


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_layer_tells_its_source_shapes_and_parameters_and_has_an_example(name):
    layer, inputs, _ = LAYERS[name](Chooser())
    text = told(name)
    assert ">>> " in inspect.getdoc(type(layer)), "an example of its own"
    assert "Source: " in text or name in WITHOUT_SOURCE
    called = inspect.getdoc(type(layer).forward)
    assert re.search(r"\bshape\b|`\(.*\bto\b", text + called, re.DOTALL), "shapes in and out"
    layer.settle_shapes(*inputs)
    attributes = re.findall(r"(?m)^ +(\w+(?:, \w+)*): ", text.partition("Attributes:")[2])
    attributes = {each for listed in attributes for each in listed.split(", ")}
    if name in CONTAINERS:
        return
    own = {path.partition(".")[0] for path, _ in layer.named_parameters()}
    # The layers above the first and the other direction are named after the first.
    own = {re.sub(r"_l\d(_reverse)?$", "_l0", each) for each in own}
    assert own <= attributes
    if own:
        assert re.search(r"drawn|start|[Tt]he initial value", text), "how the values start"


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_tells_its_formula_shapes_and_reductions_and_has_an_example(name):
    text = inspect.getdoc(getattr(nn, name))
    for part in (r">>> ", r"(?m)^Args:", r"(?m)^Returns:", r"\bshape\b", r"`[^`]*[-+·/√Σ²|][^`]*`"):
        assert re.search(part, text), part
    assert "`reduction" in text or 'reduction="' in text
    options = inspect.signature(getattr(nn, name)).parameters
    assert {"weights", "reduction"} <= set(options)
    assert re.search(r"[Tt]orch|Gluon|Keras|\b(?:19|20)\d\d\b", text), "whose convention it is"
