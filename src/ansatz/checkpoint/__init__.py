"""Files: networks and arrays are saved whole or not at all, and loaded likewise."""

from ansatz.checkpoint import rename_tables
from ansatz.checkpoint.arrays import load_arrays, save_arrays
from ansatz.checkpoint.conversion import Conversion, convert
from ansatz.checkpoint.formats import open_file
from ansatz.checkpoint.loading import load, load_state_dict
from ansatz.checkpoint.plan import LoadPlan, plan_load
from ansatz.checkpoint.rename import Rule, strip_prefix
from ansatz.checkpoint.report import LoadReport, LoadRow
from ansatz.checkpoint.saving import save

__all__ = [
    "Conversion",
    "LoadPlan",
    "LoadReport",
    "LoadRow",
    "Rule",
    "convert",
    "load",
    "load_arrays",
    "load_state_dict",
    "open_file",
    "plan_load",
    "rename_tables",
    "save",
    "save_arrays",
    "strip_prefix",
]
