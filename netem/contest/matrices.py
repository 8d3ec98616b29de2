"""Which links and sizes are compared, and what the ideal would be."""

from dataclasses import dataclass

from labkit import LabSettings, Leg, words

_SHARE = 1436 / 1500  # file bytes in a full IPv4 packet of 1500 bytes
MIB = 1 << 20


@dataclass(frozen=True)
class Cell:
    """One link and one file size. `loss`: what part of the packets it takes away in all, bursts included; it lies after
    the bottleneck."""

    name: str
    rate_mbit: int
    rtt_ms: int
    loss: float
    size: int
    loss_words: str = ""

    @property
    def rate_bps(self) -> int:
        return self.rate_mbit * 1_000_000

    def settings(self, seed: int, back_end: str) -> LabSettings:
        """Loss is on the way of the data; its acknowledgements come back over the same link without loss."""
        link = f"delay={self.rtt_ms * 500}us,rate={self.rate_mbit}mbit,queue=1bdp"
        loss = self.loss_words or (f"loss={round(self.loss * 1e6)}ppm" if self.loss else "")
        leg = Leg(up=words.read_pairs(f"{link},{loss}" if loss else link), down=words.read_pairs(link))
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


def _cell(rate: int, rtt: int, loss_percent: float, seconds: float, words: str = "", name: str = "") -> Cell:
    """Sized to take so many seconds at the bottleneck."""
    size = max(MIB, int(rate * 1e6 / 8 * seconds) // MIB * MIB)
    text = name or f"{rate} Mbit/s, {rtt} ms, " + (f"loss {loss_percent:g} %" if loss_percent else "no loss")
    return Cell(text, rate, rtt, loss_percent / 100, size, words)


def _bursts(average: float, length: int) -> str:
    """Gilbert's model: all is lost in the bad state; `average` of all packets, in bursts of `length` on average."""
    leave = 1 / length
    enter = average * leave / (1 - average)
    return f"burst-loss={enter * 100:.6f}%,{leave * 100:.6f}%"


# Round trips by losses, at one rate each: what the default has to hold everywhere.
_GRIDS = {"grid100": 100, "grid200": 200, "grid500": 500}


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
    if name in _GRIDS:
        return [_cell(_GRIDS[name], rtt, loss, seconds) for rtt in (20, 100, 250) for loss in (0, 0.1, 1, 5, 10, 20)]
    if name == "sizes":
        return [
            Cell(f"200 Mbit/s, 50 ms, loss 0.1 %, {size // 1024} KiB", 200, 50, 0.001, size)
            for size in (64 << 10, MIB, 10 * MIB, 100 * MIB)
        ]
    raise KeyError(name)


MATRICES = ("smoke", "table", "loss", "bursts", "rtt", *_GRIDS, "sizes")
