#!/usr/bin/python3
"""What tools/bench computes, reads and prints, without measuring anything."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
_HOUSE = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(_HOUSE / "tools"), str(_HOUSE / "netem")]

from benchkit import bars, cli, memory, movers, parts, results, small
from benchkit.bars import Bar, judge
from benchkit.figures import Figures, add, median, ratio, run_series, spread
from benchkit.results import Results, ResultsError, bars_table, compare, read, table


def rates(**series: list[float | None]) -> Figures:
    return {name: {"gbit_s": list(samples)} for name, samples in series.items()}


class Numbers(unittest.TestCase):
    def test_the_median_needs_more_than_half_of_the_runs(self) -> None:
        self.assertEqual(median([5.0, 1.0, 3.0]), 3.0)
        self.assertEqual(median([1.0, None, 3.0]), 2.0)
        self.assertIsNone(median([1.0, None]))
        self.assertIsNone(median([]))

    def test_the_spread_is_of_the_runs_that_brought_a_figure(self) -> None:
        self.assertEqual(spread([2.0, None, 1.0]), (1.0, 2.0))
        self.assertIsNone(spread([None]))

    def test_a_run_of_two_gigabytes_in_two_seconds_on_one_core(self) -> None:
        sample = run_series(2.0, 2.0, 1.5, 0.5, 3.0)
        self.assertAlmostEqual(sample["gbit_s"], 8.0)
        self.assertAlmostEqual(sample["cpu_s_per_gb"], 1.0)
        self.assertAlmostEqual(sample["cpu_s"], 2.0)
        self.assertAlmostEqual(sample["cpu_sender_s_per_gb"], 0.75)
        self.assertAlmostEqual(sample["machine_cpu_s_per_gb"], 1.5)
        # A whole core at 8 Gbit/s: an eighth of it for each.
        self.assertAlmostEqual(sample["core_percent_per_gbit_s"], 12.5)

    def test_a_failed_run_leaves_a_gap_in_every_metric(self) -> None:
        figures: Figures = {}
        add(figures, "a", {"gbit_s": 1.0, "seconds": 2.0}, ("gbit_s", "seconds"))
        add(figures, "a", None, ("gbit_s", "seconds"))
        self.assertEqual(figures, {"a": {"gbit_s": [1.0, None], "seconds": [2.0, None]}})


class Ratios(unittest.TestCase):
    def test_a_ratio_is_of_medians_and_its_spread_of_rounds(self) -> None:
        got = ratio(rates(us=[4.0, 9.0, 5.0], them=[2.0, 3.0, 10.0]), "us", ("them",), "gbit_s")
        assert got
        self.assertAlmostEqual(got.value, 5.0 / 3.0)
        self.assertAlmostEqual(got.least, 0.5)
        self.assertAlmostEqual(got.most, 3.0)

    def test_the_best_rival_counts_and_absent_ones_do_not(self) -> None:
        got = ratio(rates(us=[4.0], cubic=[8.0], bbr=[2.0]), "us", ("cubic", "bbr", "absent"), "gbit_s")
        assert got
        self.assertAlmostEqual(got.value, 0.5)

    def test_a_round_in_which_a_rival_failed_is_not_held_against_the_others(self) -> None:
        got = ratio(rates(us=[4.0, 4.0, 4.0], them=[2.0, None, 1.0]), "us", ("them",), "gbit_s")
        assert got
        self.assertEqual((got.least, got.most), (2.0, 4.0))

    def test_without_a_median_there_is_no_ratio(self) -> None:
        self.assertIsNone(ratio(rates(us=[4.0], them=[None]), "us", ("them",), "gbit_s"))
        self.assertIsNone(ratio(rates(them=[1.0]), "us", ("them",), "gbit_s"))


class Bars(unittest.TestCase):
    def verdict(self, bar: Bar, figures: Figures) -> str:
        return judge([bar], figures)[0].word

    def test_a_bar_holds_from_its_value_on(self) -> None:
        bar = Bar("x", "us", ("them",), "gbit_s", "at least", 0.75, 0.9)
        self.assertEqual(self.verdict(bar, rates(us=[7.4], them=[10.0])), "MISSED")
        self.assertEqual(self.verdict(bar, rates(us=[7.5], them=[10.0])), "holds")
        self.assertEqual(self.verdict(bar, rates(us=[9.5], them=[10.0])), "holds, and beyond")
        self.assertEqual(self.verdict(bar, rates(us=[9.5])), "not measured")

    def test_a_cost_holds_up_to_its_value(self) -> None:
        bar = Bar("x", "us", (), "core_percent_per_gbit_s", "at most", 17, 15)
        for measured, word in ((17.1, "MISSED"), (17.0, "holds"), (14.0, "holds, and beyond")):
            self.assertEqual(self.verdict(bar, {"us": {"core_percent_per_gbit_s": [measured]}}), word)

    def test_the_slower_of_two_is_the_larger_time(self) -> None:
        tree = "10000 x 4096 B"
        times = {f"{tree}: penstock": 3.0, f"{tree}: one file": 1.0, f"{tree}: cp": 2.0, f"{tree}: rsync daemon": 2.5}
        figures: Figures = {name: {"seconds": [value]} for name, value in times.items()}
        words = {verdict.bar.what: verdict.word for verdict in judge(bars.small(tree, far=False), figures)}
        self.assertEqual(words[f"{tree}: time by the slower of one file of the same size, cp -r"], "holds")
        self.assertEqual(words[f"{tree}: time by rsync daemon"], "MISSED")
        self.assertEqual(words[f"{tree}: rate by scp -r"], "not measured")

    def test_every_bar_names_series_that_some_measurement_makes(self) -> None:
        made = {"penstock", "penstock cubic", "penstock fixed", "penstock bbr", "sealed blast", "sealed blast, no files"}
        made |= {"iperf3 cubic", "iperf3 bbr", "rsync daemon", "scp", "penstock, discarded", "penstock, discarded and not read", "sealed blast, reading"}
        for bar in (*bars.WHOLE, *bars.DISCARD):
            with self.subTest(bar.what):
                self.assertLessEqual({bar.over, *bar.under}, made)


class Files(unittest.TestCase):
    def setUp(self) -> None:
        self.place = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_results_are_read_as_they_were_written(self) -> None:
        figures = rates(us=[1.0, None, 2.0])
        Results("whole", figures, {"commit": "abc"}, judge(bars.WHOLE, figures)).write(self.place / "r.json")
        got = read(self.place / "r.json")
        self.assertEqual((got.kind, got.figures, got.about), ("whole", figures, {"commit": "abc"}))

    def test_what_is_no_results_file_is_refused_by_name(self) -> None:
        for text in ("", "[]", '{"format": 99, "figures": {}}', '{"format": 1, "figures": {"a": {"gbit_s": ["x"]}}}'):
            (self.place / "r.json").write_text(text, encoding="utf-8")
            with self.subTest(text), self.assertRaisesRegex(ResultsError, "r.json"):
                read(self.place / "r.json")
        with self.assertRaisesRegex(ResultsError, "absent"):
            read(self.place / "absent")

    def test_a_change_counts_only_beyond_the_spread_and_knows_its_direction(self) -> None:
        old = Results("whole", {"a": {"gbit_s": [9.0, 10.0, 11.0], "cpu_s_per_gb": [1.0, 1.1, 1.2]}, "gone": {}})
        new = Results("whole", {"a": {"gbit_s": [10.5, 12.0, 13.0], "cpu_s_per_gb": [1.3, 1.4, 1.5]}, "fresh": {}})
        lines = compare(old, new).splitlines()
        self.assertRegex(next(line for line in lines if "Gbit/s" in line), r"\+20\.0 %  within the spread$")
        self.assertRegex(next(line for line in lines if "CPU" in line), r"\+27\.3 %  WORSE$")
        self.assertIn("only in old: gone", lines)
        self.assertIn("only in new: fresh", lines)
        better = compare(old, Results("whole", {"a": {"gbit_s": [12.0, 12.0]}}))
        self.assertRegex(better, r"\+20\.0 %  better\n")

    def test_tables_have_a_line_a_series_and_a_dash_for_what_is_missing(self) -> None:
        figures = rates(us=[1.0, 3.0], them=[None, None])
        lines = table(figures, ["gbit_s", "cpu_s_per_gb"]).splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[1], r"^us +2\.00 +\(1\.00-3\.00\) +-$")
        self.assertRegex(lines[2], r"^them +- +-$")
        self.assertIn("not measured", bars_table(judge(bars.WHOLE, figures)))


HELP = """OPTIONS
  --cc cubic|fixed|bbr
      Congestion control. `fixed` sends at --rate whatever happens, for links that are yours alone.
      [default: bbr; environment: $PENSTOCK_CC; config: cc; not there yet: scavenger]
  --rate RATE
      Send at most so fast. [default: none]
"""


class Reading(unittest.TestCase):
    def test_the_controllers_are_those_that_the_help_offers(self) -> None:
        self.assertEqual(movers.controllers(HELP), (["cubic", "fixed", "bbr"], "bbr"))
        self.assertEqual(movers.controllers("OPTIONS\n  --rate RATE\n"), ([], None))

    def test_google_benchmark_s_repetitions_become_samples(self) -> None:
        told = {
            "benchmarks": [
                {"name": "a", "run_name": "a", "run_type": "iteration", "real_time": 9.0, "cpu_time": 2.0, "time_unit": "us", "bytes_per_second": 3e9},
                {"name": "a", "run_name": "a", "run_type": "iteration", "real_time": 9.0, "cpu_time": 4.0, "time_unit": "us", "bytes_per_second": 1e9},
                {"name": "a_mean", "run_name": "a", "run_type": "aggregate", "real_time": 3.0, "cpu_time": 3.0, "time_unit": "us"},
                {"name": "b", "run_name": "b", "run_type": "iteration", "error_occurred": True, "real_time": 0, "cpu_time": 0, "time_unit": "ns"},
                {"name": "c/real_time", "run_name": "c", "run_type": "iteration", "real_time": 1.5, "cpu_time": 2.5, "time_unit": "ms", "items_per_second": 2e6},
            ]
        }
        self.assertEqual(parts.figures_of(told), {"a": {"ns": [2000.0, 4000.0], "bytes_s": [3.0, 1.0]}, "c": {"ns": [1.5e6], "cpu_ns": [2.5e6], "items_s": [2.0]}})

    def test_a_bar_on_memory_reads_anonymous_pages_alone(self) -> None:
        status = "VmRSS:\t  9999 kB\nRssAnon:\t  2048 kB\nRssFile:\t  1024 kB\n"
        self.assertEqual(memory.rss_anon_mib(status), 2.0)
        self.assertIsNone(memory.rss_anon_mib("State:\tZ (zombie)\n"))

    def test_a_bar_on_memory_grows_with_the_transfers(self) -> None:
        for transfers, mib, word in ((1, 68.0, "holds"), (1, 69.0, "MISSED"), (20, 144.0, "holds"), (20, 145.0, "MISSED")):
            with self.subTest(transfers=transfers, mib=mib):
                figures = {"daemon": {"rss_mib": [mib], "growth_mib": [0.0]}}
                self.assertEqual([verdict.word for verdict in judge(bars.memory(transfers), figures)], [word, "holds"])

    def test_growth_is_the_last_quarter_s_most_over_the_second_s(self) -> None:
        self.assertEqual(memory.growth([1.0, 2.0, 20.0, 21.0, 20.0, 22.0, 20.0, 24.0]), 3.0)
        self.assertEqual(memory.growth([5.0, 6.0]), 0.0)


class Words(unittest.TestCase):
    def test_without_a_subcommand_it_is_the_whole_run(self) -> None:
        self.assertEqual(cli.words_of([]), ["whole"])
        self.assertEqual(cli.words_of(["--runs", "3"]), ["whole", "--runs", "3"])
        self.assertEqual(cli.words_of(["parts", "--runs", "3"]), ["parts", "--runs", "3"])
        self.assertEqual(cli.words_of(["--help"]), ["--help"])

    def test_every_subcommand_is_understood_with_its_defaults(self) -> None:
        for kind in ("whole", "discard", "small", "memory", "parts"):
            with self.subTest(kind):
                options = cli.parser().parse_args([kind, "--bin", "there"])
                self.assertEqual((options.kind, options.bin), (kind, "there"))
                self.assertGreater(options.runs, 0)

    def test_a_tree_is_a_number_of_files_and_their_size(self) -> None:
        self.assertEqual(small.tree_of("10000x4096"), (10000, 4096))
        for text in ("10000", "x4", "0x5", "-1x5", "ax5", "5x"):
            with self.subTest(text), self.assertRaises(Exception):
                small.tree_of(text)

    def test_a_tree_is_made_as_it_is_named(self) -> None:
        place = Path(self.enterContext(tempfile.TemporaryDirectory()))
        root = small.Tree(250, 7).make(place)
        files = [path for path in root.rglob("*") if path.is_file()]
        self.assertEqual((len(files), {path.stat().st_size for path in files}), (250, {7}))
        self.assertEqual(len([path for path in root.iterdir()]), 3)


class Machine(unittest.TestCase):
    def test_the_machine_is_named_without_failing_anywhere(self) -> None:
        told = results.machine()
        self.assertEqual(set(told), {"when", "machine", "commit"})
        json.dumps(told)


if __name__ == "__main__":
    unittest.main()
