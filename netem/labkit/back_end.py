"""What carries the packets of a lab: the kernel's `tc`, or the emulator. One interface, and the choice between them."""

from typing import Any, Protocol

from . import emulator, tc, tc_plan
from .errors import LabError, UsageError
from .settings import Direction, LabSettings
from .spaces import Spaces
from .words import Pairs


class BackEnd(Protocol):
    """Connects the hosts of `Spaces` as the settings say, from its making to `close()`. Methods as in Lab."""

    name: str
    note: str

    def start_clock(self) -> None: ...
    def set_link(self, leg: str, direction: Direction, pairs: Pairs) -> None: ...
    def counters(self) -> dict[str, Any]: ...
    def check(self) -> None: ...  # LabError when it broke: the hosts are cut off
    def close(self) -> None: ...


def open_back_end(spaces: Spaces, settings: LabSettings) -> BackEnd:
    """The back end that the settings name. For `auto`: tc where this kernel has netem and tc can express the settings,
    else the emulator; `note` says why. UsageError when tc is asked for what it can not do."""
    if settings.back_end == "emulator":
        return emulator.Emulator(spaces, settings)
    refusals = tc_plan.refusals(settings)
    if settings.back_end == "tc":
        if refusals:
            raise UsageError(f"back end tc can not do this: {'; '.join(refusals)}; use --back-end emulator")
        missing = tc.missing()
        if missing:
            how = f" ({tc.HOW_NETEM})" if missing == tc.NO_NETEM else ""
            raise LabError(f"back end tc does not work here: {missing}{how}; or use --back-end emulator")
        return tc.Tc(spaces, settings)
    if refusals:
        return emulator.Emulator(spaces, settings, note=f"tc can not do this: {refusals[0]}")
    missing = tc.missing()
    if missing:
        return emulator.Emulator(spaces, settings, note=missing)
    return tc.Tc(spaces, settings)
