"""What other libraries call initialisers: hints for names that `ansatz.init` does not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansatz.core import spelling
from ansatz.core.initializer import Initializer

_XAVIER_NORMAL = 'init.Xavier("gaussian", magnitude=1)'
_KAIMING_UNIFORM = 'init.Kaiming(distribution="uniform")'

_ELSEWHERE: Mapping[str, str] = {
    "Default": "not needed: layers have a default of their own",
    "Eye": "init.Identity()",
    "GlorotNormal": 'init.VarianceScaling(1, "fan_avg", "truncated_normal")',
    "GlorotUniform": "init.Xavier()",
    "HeNormal": 'init.Kaiming(distribution="truncated_normal")',
    "HeUniform": _KAIMING_UNIFORM,
    "KaimingNormal": "init.Kaiming()",
    "KaimingUniform": _KAIMING_UNIFORM,
    "LecunNormal": 'init.LeCun("truncated_normal")',
    "LecunUniform": 'init.LeCun("uniform")',
    "Mixed": "a dict of rules: net.initialize({'*.bias': init.Zeros(), '*': init.Normal(0.01)})",
    "One": "init.Ones()",
    "OrthogonalInitializer": "init.Orthogonal()",
    "RandomNormal": "init.Normal()",
    "RandomUniform": "init.Uniform()",
    "XavierNormal": _XAVIER_NORMAL,
    "XavierUniform": "init.Xavier()",
    "Zero": "init.Zeros()",
}
"""Names elsewhere that differ from ours by more than capitals, and what to write here."""

Initializer.elsewhere.update({name.lower(): ours for name, ours in _ELSEWHERE.items()})


def no_such_name(name: str, known: Iterable[str]) -> AttributeError:
    """The error about a name that `ansatz.init` does not have.

    Functions such as `he_normal` of JAX and Flax are looked up as `HeNormal` of Keras.

    Args:
        name: what was asked for.
        known: the names that are there.
    """
    known = list(known)
    plain = name.replace("_", "").lower()
    here = {other.lower(): f"init.{other}" for other in known if not other.endswith("_")}
    ours = "" if name.startswith("_") else Initializer.elsewhere.get(plain) or here.get(plain, "")
    return spelling.no_such_name("ansatz.init", name, known, _ELSEWHERE, ours)
