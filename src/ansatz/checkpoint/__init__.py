"""Files: networks and arrays are saved whole or not at all, and loaded likewise."""

from ansatz.checkpoint.arrays import load_arrays, save_arrays
from ansatz.checkpoint.loading import load, load_state_dict
from ansatz.checkpoint.plan import LoadPlan, plan_load
from ansatz.checkpoint.report import LoadReport, LoadRow
from ansatz.checkpoint.saving import save

__all__ = [
    "LoadPlan",
    "LoadReport",
    "LoadRow",
    "load",
    "load_arrays",
    "load_state_dict",
    "plan_load",
    "save",
    "save_arrays",
]
