"""Which links and sizes are compared, and what the ideal would be."""

from dataclasses import dataclass, replace

from labkit import LabSettings, Leg, words

_SHARE = 1436 / 1500  # file bytes in a full IPv4 packet of 1500 bytes
MIB = 1 << 20


@dataclass(frozen=True)
class Cell:
    """One link and one file size. `loss`: what part of the packets it takes away in all, bursts included; it lies after
    the bottleneck, on the way of the data. `ack_loss`: the same of the way back, which all that answers takes."""

    name: str
    rate_mbit: int
    rtt_ms: int
    loss: float
    size: int
    loss_words: str = ""
    ack_loss: float = 0.0

    @property
    def path_name(self) -> str:
        """The name without what is lost."""
        return f"{self.rate_mbit} Mbit/s, {self.rtt_ms} ms"

    @property
    def rate_bps(self) -> int:
        return self.rate_mbit * 1_000_000

    def settings(self, seed: int, back_end: str) -> LabSettings:
        link = f"delay={self.rtt_ms * 500}us,rate={self.rate_mbit}mbit,queue=1bdp"
        up, down = self.loss_words or _random_loss(self.loss), _random_loss(self.ack_loss)
        leg = Leg(up=words.read_pairs(",".join(filter(None, (link, up)))), down=words.read_pairs(",".join(filter(None, (link, down)))))
        return LabSettings(legs={"A": leg}, seed=seed, back_end=back_end)  # type: ignore[arg-type]

    @property
    def ideal_seconds(self) -> float:
        """bytes / (rate x (1 - loss) x payload share) + 10 RTT + 0.1 s, and 1 s more where loss >= 10 %."""
        goodput = self.rate_bps / 8 * (1 - self.loss) * _SHARE
        return self.size / goodput + 10 * self.rtt_ms / 1000 + 0.1 + (1.0 if self.loss >= 0.1 else 0.0)

    def share_carried(self, wire_bytes: int) -> float:
        """What part of the file so many delivered IP bytes carry at most: repeats and a tool's own words count as file."""
        return min(1.0, wire_bytes * _SHARE / self.size)

    @property
    def needed_wire_bytes(self) -> float:
        """IP bytes that must be offered to the link so that the file gets through once."""
        return self.size / _SHARE / (1 - self.loss)

    @property
    def bdp_bytes(self) -> float:
        return self.rate_bps / 8 * self.rtt_ms / 1000


def _random_loss(share: float) -> str:
    return f"loss={round(share * 1e6)}ppm" if share else ""


def _cell(rate: int, rtt: int, loss_percent: float, seconds: float, words: str = "", name: str = "") -> Cell:
    """Sized to take so many seconds at the bottleneck."""
    size = max(MIB, int(rate * 1e6 / 8 * seconds) // MIB * MIB)
    cell = Cell(name, rate, rtt, loss_percent / 100, size, words)
    return cell if name else replace(cell, name=f"{cell.path_name}, " + (f"loss {loss_percent:g} %" if loss_percent else "no loss"))


def _bursts(average: float, length: int) -> str:
    """Gilbert's model: all is lost in the bad state; `average` of all packets, in bursts of `length` on average."""
    leave = 1 / length
    enter = average * leave / (1 - average)
    return f"burst-loss={enter * 100:.6f}%,{leave * 100:.6f}%"


# Round trips by losses, at one rate each: what the default has to hold everywhere. In a third of the cells the way of the
# acknowledgements loses as much as that of the data: for a low loss, which TCP feels already, and for the highest.
GRIDS = {"grid100": 100, "grid200": 200, "grid500": 500}
_GRID_LOSSES = (0, 0.1, 1, 5, 10, 20)
_GRID_LOSSES_BOTH_WAYS = (1, 20)


def _grid_cell(rate: int, rtt: int, loss_percent: float, seconds: float) -> Cell:
    cell = _cell(rate, rtt, loss_percent, seconds)
    if loss_percent not in _GRID_LOSSES_BOTH_WAYS:
        return cell
    return replace(cell, name=f"{cell.name} both ways", ack_loss=cell.loss)


def matrix(name: str, seconds: float) -> list[Cell]:
    """The cells of a named matrix, with files that take `seconds` at the bottleneck."""
    if name == "smoke":
        return [_cell(200, 20, 0, seconds), _cell(200, 50, 1, seconds)]
    if name == "table":
        cells = [_cell(500, 20, 0, seconds)]
        cells += [_cell(500, 100, loss, seconds) for loss in (0, 0.1, 1, 5)]
        cells.append(_cell(100, 200, 2, seconds))
        cells.append(_cell(20, 600, 1, seconds, name="geostationary: 20 Mbit/s, 600 ms, loss 1 %"))
        cells.append(_cell(200, 50, 1, seconds, _bursts(0.01, 10), "200 Mbit/s, 50 ms, bursts of 10, loss 1 %"))
        return cells
    if name == "loss":
        return [_cell(200, 50, loss, seconds) for loss in (0, 0.1, 1, 5, 10, 20)]
    if name == "bursts":
        return [
            _cell(200, 50, loss, seconds, _bursts(loss / 100, 10), f"200 Mbit/s, 50 ms, bursts of 10, loss {loss} %") for loss in (1, 5)
        ]
    if name == "rtt":
        return [_cell(200, rtt, 0.1, seconds) for rtt in (10, 20, 50, 100, 250)]
    if name in GRIDS:
        return [_grid_cell(GRIDS[name], rtt, loss, seconds) for rtt in (20, 100, 250) for loss in _GRID_LOSSES]
    if name == "sizes":
        return [
            Cell(f"200 Mbit/s, 50 ms, loss 0.1 %, {size // 1024} KiB", 200, 50, 0.001, size)
            for size in (64 << 10, MIB, 10 * MIB, 100 * MIB)
        ]
    raise KeyError(name)


MATRICES = ("smoke", "table", "loss", "bursts", "rtt", *GRIDS, "sizes")
