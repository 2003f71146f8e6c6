"""What treescope shows of networks."""

import subprocess
import sys

import pytest
import treescope

import ansatz as az
from ansatz import nn

# Treescope looks through all names of NumPy once, also through those that are on their way out.
pytestmark = pytest.mark.filterwarnings("ignore:The chararray class:DeprecationWarning")


def net() -> nn.Sequential:
    made = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Dense(2)), nn.Dropout(0.5))
    az.tie(made, "0.weight", "1.0.weight", transpose=True)
    return made


def test_a_network_can_be_unfolded_down_to_its_values_and_none_is_drawn_for_it() -> None:
    shown = net()
    shown[0].bias.data[:] = 7.0
    text = treescope.render_to_text(shown, ignore_exceptions=False)
    assert text.startswith("Sequential(")
    assert "weight=Parameter(shape=(3, 2), dtype='float32', trainable=True)" in text
    assert "weight=TransposedParameter(base=Parameter(shape=(3, 2)" in text
    assert "7." in text
    assert not shown[0].weight.has_value


def test_what_stands_in_two_places_is_marked_as_shared() -> None:
    layer = nn.Linear(1, 1)
    shared, apart = nn.Sequential(layer, layer), nn.Sequential(layer, nn.Linear(1, 1))
    assert "# Repeated python obj" in treescope.render_to_text(shared)
    assert "# Repeated python obj" not in treescope.render_to_text(apart)


def test_paths_are_python_that_finds_the_part() -> None:
    shown = nn.Sequential(nn.Linear(1, 1))
    shown.add_module("a b", nn.ReLU())
    seen: list[str] = []

    def renderer(part: object, path: str | None = None) -> object:
        seen.append(path or "")
        return treescope.rendering_parts.text("")

    shown.__treescope_repr__("net", renderer)
    assert seen == ["net.training", "net[0]", "getattr(net, 'a b')"]
    assert [eval(path, {"net": shown}) for path in seen[1:]] == [*shown.children()]


def test_a_donated_buffer_is_no_copy_because_somebody_looked() -> None:
    shown = net()
    shown.initialize(seed=0)
    treescope.render_to_html(shown)
    assert not shown[0].weight._exposed


def test_treescope_is_imported_only_by_those_who_use_it() -> None:
    program = "import sys, ansatz; sys.exit('treescope' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
