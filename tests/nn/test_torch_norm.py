import jax.numpy as jnp
import pytest

import ansatz as az
from ansatz import nn

SHAPES = {
    nn.BatchNorm1d: (2, 3, 4),
    nn.BatchNorm2d: (2, 3, 4, 5),
    nn.BatchNorm3d: (2, 3, 4, 5, 2),
    nn.InstanceNorm1d: (2, 3, 4),
    nn.InstanceNorm2d: (2, 3, 4, 5),
    nn.InstanceNorm3d: (2, 3, 4, 5, 2),
}


@pytest.mark.parametrize("layer", SHAPES)
def test_it_is_the_layer_with_the_channels_along_axis_1(layer):
    x = jnp.arange(float(jnp.prod(jnp.array(SHAPES[layer])))).reshape(SHAPES[layer])
    plain = nn.BatchNorm if issubclass(layer, nn.BatchNorm) else nn.InstanceNorm
    options = {"eps": 0.1, "momentum": 0.3, "track_running_stats": True}
    spelled = layer(3, 0.1, 0.3, True, True)
    ours = plain(axis=1, use_weight=True, use_bias=True, **options)
    assert (spelled(x) == ours(x)).all()
    found, expected = spelled.state_dict(), ours.state_dict()
    assert list(found) == list(expected)
    assert all((found[path] == expected[path]).all() for path in found)
    assert not layer(affine=False, track_running_stats=False).state_dict()


@pytest.mark.parametrize("layer", SHAPES)
def test_inputs_of_another_number_of_axes_are_refused(layer):
    with pytest.raises(az.ShapeError, match=f"{layer.__name__} takes inputs of"):
        layer()(jnp.ones((*SHAPES[layer], 1)))


@pytest.mark.parametrize("build", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
def test_a_norm_in_pytorchs_spelling_shares_its_parameters_and_not_its_statistics(build):
    first = build(3)
    second = build(3, params=first.collect_params())
    assert second.weight is first.weight
    assert second.bias is first.bias
    assert second.running_mean is not first.running_mean


def test_a_norm_with_other_parameters_cannot_share_them():
    with pytest.raises(az.TieError, match="InstanceNorm2d has no parameter for 'weight'"):
        nn.InstanceNorm2d(3, params=nn.BatchNorm2d(3).collect_params())
