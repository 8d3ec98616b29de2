#!/usr/bin/python3
"""What a comparison computes and prints, without running anything."""

import csv
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "netem"))

from contest.contender import Client, Contender, Server, Task
from contest.matrices import GRIDS, MATRICES, MIB, Cell, matrix
from contest.report import Line, grid, markdown, overview, put_into, write_csv
from contest.run import Run, measure
from contest.sharing import Bottleneck, Sharing
from contest.sharing import markdown as shares
from contest.udp_tools import Uftp
from contest.workspace import Workspace
from labkit.words import Policer


class Tool(Contender):
    name, remark = "tool", "a remark"


class NoFile(Tool):
    writes_file = False


def run(outcome: str = "ok", seconds: float = 2.0, offered: int = 0, delivered: int = 0, said: str = "") -> Run:
    return Run("tool", outcome, said, seconds, 1.0, 0.5, {"offered_bytes": offered}, {}, [(seconds, delivered)])  # type: ignore[arg-type]


CLEAN = Cell("clean", 100, 50, 0.0, 12_500_000)


class Ideal(unittest.TestCase):
    def test_ideal_time_is_payload_share_of_the_rate_plus_ten_round_trips_and_a_tenth(self) -> None:
        self.assertAlmostEqual(CLEAN.ideal_seconds, 1.0 / (1436 / 1500) + 0.5 + 0.1, places=9)

    def test_loss_takes_its_share_of_the_rate(self) -> None:
        lossy = Cell("lossy", 100, 50, 0.05, 12_500_000)
        self.assertAlmostEqual(lossy.ideal_seconds - 0.6, (CLEAN.ideal_seconds - 0.6) / 0.95, places=9)

    def test_from_ten_percent_loss_the_control_connection_gets_a_second(self) -> None:
        below, at = (Cell("", 100, 50, loss, MIB).ideal_seconds for loss in (0.0999, 0.1))
        self.assertGreater(at - below, 0.99)

    def test_every_matrix_makes_links_that_the_lab_understands(self) -> None:
        for name in MATRICES:
            for cell in matrix(name, 10):
                with self.subTest(matrix=name, cell=cell.name):
                    up = cell.settings(1, "emulator").checked().legs["A"].link("up")
                    down = cell.settings(1, "emulator").legs["A"].link("down")
                    self.assertEqual(up.rate_bps, cell.rate_bps)
                    self.assertEqual(2 * up.delay_ns, cell.rtt_ms * 1_000_000)
                    burst = up.burst.loss if up.burst else 0.0
                    self.assertAlmostEqual(up.loss / 1e9 + burst, cell.loss, delta=1e-6)
                    self.assertAlmostEqual(down.loss / 1e9, cell.ack_loss, delta=1e-6)
                    self.assertIsNone(down.burst)

    def test_in_a_third_of_a_grid_the_acknowledgements_are_lost_as_the_data_is_and_the_name_says_so(self) -> None:
        for name in GRIDS:
            cells = matrix(name, 10)
            both = [cell for cell in cells if cell.ack_loss]
            self.assertEqual(3 * len(both), len(cells))
            self.assertTrue(all(cell.ack_loss == cell.loss and cell.name.endswith(" both ways") for cell in both))
            self.assertIn(0.2, {cell.ack_loss for cell in both})

    def test_files_take_the_wanted_time_at_the_bottleneck(self) -> None:
        for cell in matrix("table", 10):
            self.assertAlmostEqual(cell.size * 8 / cell.rate_bps, 10, delta=0.5)


class Report(unittest.TestCase):
    def test_the_median_counts_and_needs_more_than_half_of_the_runs(self) -> None:
        self.assertEqual(Line(CLEAN, Tool(), [run(seconds=s) for s in (5.0, 1.0, 3.0)]).seconds, 3.0)
        self.assertIsNone(Line(CLEAN, Tool(), [run(), run("failed")]).seconds)
        self.assertEqual(Line(CLEAN, Tool(), [run(), run("failed"), run()]).seconds, 2.0)

    def test_waste_is_what_the_link_was_offered_beyond_need(self) -> None:
        needed = CLEAN.needed_wire_bytes
        line = Line(CLEAN, Tool(), [run(offered=round(needed * 1.25))])
        assert line.waste is not None
        self.assertAlmostEqual(line.waste, 0.25, places=6)
        self.assertIsNone(Line(CLEAN, NoFile(), [run(offered=1)]).waste)

    def test_half_a_bdp_of_waste_is_the_price_of_a_start(self) -> None:
        half_a_bdp = 100e6 / 8 * 0.05 / 2
        wasteful, thrifty = (Line(CLEAN, Tool(), [run(offered=round(CLEAN.needed_wire_bytes + extra))]) for extra in (3 * half_a_bdp, half_a_bdp / 2))
        assert wasteful.waste_after_start is not None
        self.assertAlmostEqual(wasteful.waste_after_start * CLEAN.needed_wire_bytes, 2 * half_a_bdp, delta=1)
        self.assertEqual(thrifty.waste_after_start, 0.0)

    def test_a_tool_that_gave_up_has_no_figure_but_how_far_it_came(self) -> None:
        text = markdown([Line(CLEAN, Tool(), [run("gave up", 40.0, delivered=round(3_125_000 * 1500 / 1436))])])
        self.assertIn("| tool | - | - | - | - | - | a remark; gave up at 40 s, 25 % there |", text)

    def test_the_best_stands_first_and_failures_last(self) -> None:
        slow, fast, broken = (type(name, (Tool,), {"name": name})() for name in ("slow", "fast", "broken"))
        lines = [Line(CLEAN, slow, [run(seconds=9.0)]), Line(CLEAN, broken, [run("failed", said="exit 1: no")]), Line(CLEAN, fast, [run()])]
        text = markdown(lines)
        self.assertLess(text.index("| fast"), text.index("| slow"))
        self.assertLess(text.index("| slow"), text.index("| broken"))
        self.assertIn("failed: exit 1: no", text)

    def test_the_overview_has_a_row_a_tool_and_a_column_a_cell_and_tells_who_never_arrived(self) -> None:
        slow, fast = Tool(), Tool()
        slow.name, fast.name = "slow", "fast"
        far = Cell("far", 100, 250, 0.05, 12_500_000)
        given_up = run("gave up", seconds=40.0, delivered=1_250_000)
        text = overview([Line(CLEAN, slow, [run(seconds=4.0)]), Line(CLEAN, fast, [run()]), Line(far, slow, [given_up]), Line(far, fast, [run()])])
        rows = [[word.strip() for word in line.strip("|").split("|")] for line in text.splitlines()]
        self.assertEqual(rows[0], ["", "clean", "far"])
        self.assertEqual([row[0] for row in rows[2:]], ["fast", "slow"])
        self.assertEqual(rows[3][2], "(10 %)")

    def test_a_grid_has_a_row_a_path_and_a_column_a_loss_and_names_the_most_waste(self) -> None:
        near, far = matrix("grid100", 10)[:2], matrix("grid100", 10)[6:8]
        lines = [Line(cell, Tool(), [run(seconds=cell.ideal_seconds, offered=round(cell.needed_wire_bytes))]) for cell in near]
        lines += [Line(cell, Tool(), [run(seconds=2 * cell.ideal_seconds, offered=round(share * cell.needed_wire_bytes))]) for cell, share in zip(far, (1.01, 1.02))]
        rows = [[word.strip() for word in line.strip("|").split("|")] for line in grid(lines).splitlines()]
        self.assertEqual(rows[0], ["", "no loss", "loss 0.1 %"])
        self.assertEqual(rows[2:4], [["100 Mbit/s, 20 ms", "100 %", "100 %"], ["100 Mbit/s, 100 ms", "50 %", "50 %"]])
        self.assertIn("at most 2.0 % (100 Mbit/s, 100 ms, loss 0.1 %); without half a BDP for the start at most 1.5 %", rows[-1][0])

    def test_every_run_is_a_line_of_csv_and_failed_ones_have_no_speed(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "runs.csv"
            write_csv(path, [Line(CLEAN, Tool(), [run(), run("failed", said="a, b")])], "emulator")
            with open(path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        self.assertEqual([row["outcome"] for row in rows], ["ok", "failed"])
        self.assertEqual(float(rows[0]["goodput_bps"]), 12_500_000 * 8 / 2)
        self.assertEqual((rows[1]["goodput_bps"], rows[1]["said"]), ("", "a, b"))

    def test_the_readme_keeps_everything_outside_the_marks(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            readme = Path(place) / "README.md"
            readme.write_text("one\n<!-- compare: begin -->\nold\n<!-- compare: end -->\ntwo\n", encoding="utf-8")
            put_into(readme, "new\n")
            self.assertEqual(readme.read_text(encoding="utf-8"), "one\n<!-- compare: begin -->\nnew\n<!-- compare: end -->\ntwo\n")
            readme.write_text("no marks", encoding="utf-8")
            with self.assertRaises(ValueError):
                put_into(readme, "new\n")


def two(first: int, second: int, late: float = 0.0, joins: float = 0.0, bottleneck: Bottleneck = Bottleneck(8, 40, "1bdp")) -> Sharing:
    """20 s over 8 Mbit/s, a sample each second; so many bytes a second to each, the second flow from `joins` on."""
    samples = [(float(at), first * at, int(second * max(0.0, at - joins))) for at in range(21)]
    return Sharing(("penstock", "tcp-cubic"), bottleneck, late, samples, 0)


class Shares(unittest.TestCase):
    def test_a_share_counts_from_where_both_flows_were_there(self) -> None:
        self.assertAlmostEqual(two(600_000, 400_000).share, 0.6)
        self.assertAlmostEqual(two(500_000, 500_000, late=10, joins=10).share, 0.5)
        self.assertAlmostEqual(two(600_000, 300_000).used, 0.9)

    def test_a_late_comer_has_its_share_once_it_got_two_fifths_for_two_seconds(self) -> None:
        self.assertEqual(two(500_000, 500_000, late=10, joins=13).seconds_to_share, 3.0)
        self.assertIsNone(two(700_000, 300_000, late=5, joins=5).seconds_to_share)

    def test_a_link_that_was_not_full_is_told(self) -> None:
        self.assertIn("| penstock beside tcp-cubic | 60 % |", shares([two(600_000, 400_000)]))
        self.assertIn("67 % (of 90 %)", shares([two(600_000, 300_000)]))

    def test_both_flows_meet_in_one_queue_and_have_the_same_round_trip(self) -> None:
        settings = Bottleneck(100, 40, "0.5bdp").settings(1, "emulator").checked()
        self.assertEqual(settings.hosts, ("A", "B", "C"))
        self.assertEqual((settings.legs["A"].link("up").rate_bps, settings.legs["B"].link("down").rate_bps), (100_000_000, None))


    def test_past_a_policer_what_each_of_both_got_of_its_rate_is_told(self) -> None:
        policer = Bottleneck(8, 40, "0.25bdp", policer=True)
        table = shares([two(600_000, 400_000), two(400_000, 300_000, bottleneck=policer)])
        self.assertIn("| 1 BDP | policer, 0.25 BDP |", table)
        self.assertIn("| penstock beside tcp-cubic | 60 % | 40 + 30 % |", table)

    def test_a_policer_stands_in_the_place_of_rate_and_queue(self) -> None:
        link = Bottleneck(100, 40, "0.5bdp", policer=True).settings(1, "emulator").checked().legs["A"].link("up")
        self.assertIsNone(link.rate_bps)
        self.assertEqual(link.policer, Policer(100_000_000, 250_000))


class Missing(unittest.TestCase):
    def test_a_missing_program_is_named_with_its_package(self) -> None:
        tool = Uftp()
        tool.programs = ("srt-file-transmit", "no-such-program")
        said = tool.missing()
        assert said is not None
        self.assertIn("no-such-program", said)
        self.assertIn("tools/bootstrap --rivals", said)


class BrokenServer(Tool):
    congestion = None

    def server(self, task: Task) -> Server:
        return Server(["sh", "-c", "echo no such user >&2; exit 1"], 1)

    def client(self, task: Task) -> Client:
        return Client(["true"])


class HereLab:
    """A lab whose hosts are all this machine."""

    def popen(self, host: str, argv: list[str], **how: object) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(argv, **how)  # type: ignore[call-overload, no-any-return]


class Failures(unittest.TestCase):
    def test_a_server_that_does_not_start_fails_its_own_run_alone_and_says_why(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            workspace = Workspace(Path(place))
            task = Task(workspace, Path(place), workspace.fresh_target(), "127.0.0.1", None)
            seen = measure(HereLab(), BrokenServer(), task, 5.0)  # type: ignore[arg-type]
            self.assertEqual(seen.outcome, "failed")
            self.assertIn("no such user", seen.said)
            self.assertIn("no such user", markdown([Line(CLEAN, BrokenServer(), [seen])]))


if __name__ == "__main__":
    unittest.main()
