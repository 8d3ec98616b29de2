"""The link lab as a library: `contain()`, then `with Lab(LabSettings.of("delay=50ms,loss=1%")) as lab`. See lab.py."""

from .contain import contain
from .errors import LabError, UsageError
from .lab import Lab
from .scenario import load_scenario, scenario_names
from .settings import Change, LabSettings, Leg

__all__ = ["Change", "Lab", "LabError", "LabSettings", "Leg", "UsageError", "contain", "load_scenario", "scenario_names"]
