"""What one call costs."""

import jax

from ansatz import nn


def test_a_matrix_product_is_counted_without_drawing_its_weight() -> None:
    net = nn.Dense(16, use_bias=False)
    table = net.summary(jax.ShapeDtypeStruct((8, 32), "float32"), cost=True)
    assert table.cost.flops == 2 * 8 * 32 * 16
    assert table.cost.outputs >= 8 * 16 * 4
    assert "one call    8.19e+03 floating-point operations" in str(table)
    assert not net.weight.has_value


def test_states_that_a_call_writes_are_no_hindrance() -> None:
    net = nn.Sequential(nn.BatchNorm(), nn.Dropout(0.5), nn.Dense(2))
    table = net.summary(jax.ShapeDtypeStruct((4, 3), "float32"), cost=True, depth=1)
    assert table.cost.flops > 2 * 4 * 3 * 2
    assert "one call" in table._repr_html_()


def test_what_the_inputs_do_not_reach_is_left_out() -> None:
    class Spare(nn.Dense):
        def __init__(self) -> None:
            super().__init__(2, use_bias=False)
            self.spare = nn.Dense(3)

    table = Spare().summary(jax.ShapeDtypeStruct((8, 4), "float32"), cost=True)
    assert table.cost.flops == 2 * 8 * 4 * 2
    assert list(table.totals.deferred) == ["spare.weight"]
