"""Settings, scenarios and the command line that makes them."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

from labkit import cli, commands, emulator, report, scenario
from labkit.errors import UsageError
from labkit.settings import Change, LabSettings, Leg, read_change

S = 1_000_000_000


def settings_of(*argv):
    return cli.settings_of(cli._parser().parse_args(["up", "x", *argv]))


class CommandLine(unittest.TestCase):
    def refuses(self, message, *argv):
        with self.assertRaisesRegex(UsageError, message):
            settings_of(*argv)

    def test_options_count_for_both_directions_and_asymmetric_for_the_way_back(self):
        leg = settings_of("--delay", "50ms", "--loss", "1%", "--asymmetric", "loss=0,rate=1mbit").legs["A"]
        self.assertEqual(leg.link("up").loss, 10_000_000)
        self.assertEqual(leg.link("down").loss, 0)
        self.assertEqual(leg.link("down").delay_ns, 50_000_000)
        self.assertEqual(leg.link("down").rate_bps, 1_000_000)

    def test_every_host_but_b_has_the_link_and_a_leg_of_its_own_over_it(self):
        made = settings_of("--hosts", "4", "--delay", "5ms", "--leg", "C:up:delay=50ms", "--leg", "B:rate=1gbit")
        self.assertEqual(made.hosts, ("A", "B", "C", "D"))
        self.assertEqual(sorted(made.legs), ["A", "B", "C", "D"])
        self.assertEqual([made.legs["C"].link(way).delay_ns for way in ("up", "down")], [50_000_000, 5_000_000])
        self.assertEqual(made.legs["B"].link("down").delay_ns, 0)

    def test_options_go_over_a_scenario(self):
        made = settings_of("--scenario", "dsl-asymmetric", "--loss", "2%")
        self.assertEqual(made.scenario, "dsl-asymmetric")
        self.assertEqual((made.legs["A"].link("up").rate_bps, made.legs["A"].link("up").loss), (1_000_000, 20_000_000))
        self.assertEqual((made.legs["A"].link("down").rate_bps, made.legs["A"].link("down").loss), (16_000_000, 20_000_000))

    def test_changes_are_for_all_legs_or_for_one_direction(self):
        made = settings_of("--change", "10s:loss=5%", "--change", "A:down@5s:down=yes")
        self.assertEqual(
            made.changes_in_order(),
            [
                Change(5 * S, "A", "down", (("down", "yes"),)),
                Change(10 * S, "A", "up", (("loss", "5%"),)),
                Change(10 * S, "A", "down", (("loss", "5%"),)),
            ],
        )

    def test_a_change_is_judged_against_the_link_as_it_will_be_then(self):
        settings_of("--delay", "5ms", "--change", "1s:rate=1mbit", "--change", "2s:queue=1bdp")
        self.refuses("needs a rate", "--delay", "5ms", "--change", "1s:queue=1bdp", "--change", "2s:rate=1mbit")

    def test_nonsense_is_refused_by_name(self):
        self.refuses("--delay: '5'", "--delay", "5")
        self.refuses("--loss: '101%'", "--loss", "101%")
        self.refuses("bdp.* needs a rate", "--queue", "1bdp")
        self.refuses("2 to 26 hosts", "--hosts", "1")
        self.refuses("2 to 26 hosts", "--hosts", "27")
        self.refuses("mtu 60", "--mtu", "60")
        self.refuses("seed", "--seed", "-1")
        self.refuses("hosts A B", "--leg", "C:loss=1%")
        self.refuses("no direction", "--leg", "A:sideways:loss=1%")
        self.refuses("no change", "--change", "loss=5%")
        self.refuses("legs A", "--change", "B:up@1s:loss=5%")
        self.refuses("no property", "--asymmetric", "colour=red")

    def test_the_program_ends_with_2_for_usage(self):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(cli.main(["run", "--delay", "5", "--", "true"]), 2)
            self.assertEqual(cli.main(["run", "--delay", "5ms"]), 2)
            self.assertEqual(cli.main(["run", "--ready", "x", "--", "true"]), 2)
            self.assertEqual(cli.main(["status", "--", "true"]), 2)
            self.assertEqual(cli.main(["run", "--scenario", "mars", "--", "true"]), 2)
        self.assertIn("starlink", said.getvalue())

    def test_addresses_are_filled_in_for_hosts_of_the_lab_only(self):
        self.assertEqual(commands.fill("{A} [{B6}]:80 {C} {x} {}", ("A", "B")), "10.77.0.1 [fd77::2]:80 {C} {x} {}")


class Scenarios(unittest.TestCase):
    def read(self, text):
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "mine.toml"
            path.write_text(text, encoding="utf-8")
            return scenario.load_scenario(str(path))

    def refuses(self, key, text):
        with self.assertRaisesRegex(UsageError, r"mine\.toml: " + key):
            self.read(text)

    def test_every_preset_parses_and_names_its_source(self):
        promised = (
            "lan metro transcontinental transpacific lte starlink geo-satellite wifi-congested lossy-1 lossy-5 lossy-10 lossy-20"
            " shallow-buffer bufferbloat flapping dsl-asymmetric"
        )
        self.assertEqual(set(promised.split()) - set(scenario.scenario_names()), set())
        for name in scenario.scenario_names():
            with self.subTest(name):
                made = scenario.load_scenario(name)
                self.assertEqual(made.scenario, name)
                self.assertTrue(scenario.description_of(name))
                text = (scenario.PRESETS / f"{name}.toml").read_text(encoding="utf-8")
                self.assertRegex(text, r"(?s)\A# Source: .*\b(199|20[0-2])\d\b")
                self.assertGreater(made.legs["A"].link("up").delay_ns, 0)

    def test_the_way_back_and_changes_are_read(self):
        made = self.read(
            'mtu = 1400\n[link]\ndelay = "5ms"\nrate = "1mbit"\n[link.back]\nrate = "2mbit"\n'
            '[[change]]\nat = "1s"\ndirection = "down"\nloss = "5%"\n'
        )
        self.assertEqual(made.mtu, 1400)
        self.assertEqual([made.legs["A"].link(way).rate_bps for way in ("up", "down")], [1_000_000, 2_000_000])
        self.assertEqual(made.changes, (Change(S, "A", "down", (("loss", "5%"),)),))

    def test_mistakes_are_told_with_file_and_key(self):
        self.refuses("colour: unknown", 'colour = "red"\n')
        self.refuses(r"link\.colour: 'colour' is no property", '[link]\ncolour = "red"\n')
        self.refuses(r"link\.back\.loss: '5'", '[link.back]\nloss = "5"\n')
        self.refuses(r"link\.delay: must be a text", "[link]\ndelay = true\n")
        self.refuses(r"change\[0\]\.at: missing", '[[change]]\nloss = "5%"\n')
        self.refuses(r"change\[1\]\.direction", '[[change]]\nat="1s"\nloss="1%"\n[[change]]\nat="1s"\ndirection="left"\n')
        self.refuses("queue '1bdp' needs", '[link]\nqueue = "1bdp"\n')
        self.refuses("mtu", 'mtu = "big"\n')
        self.refuses("", "this is no TOML")
        with self.assertRaisesRegex(UsageError, "there is no file"):
            scenario.load_scenario("./nowhere.toml")


class Emulator(unittest.TestCase):
    def test_the_command_line_says_it_all(self):
        settings = LabSettings.of("delay=5ms,burst-loss=1%,20%", "rate=1mbit", seed=7, corrupt_reach="application")
        settings = LabSettings(**{**settings.__dict__, "changes": read_change("A:up@15s:loss=5%", settings.legs)})
        self.assertEqual(
            emulator.command_line(settings, {"A": "/proc/1/fd/3", "B": "/proc/1/fd/4"}, "E"),
            [
                "E", "--mtu", "1500", "--corrupt-reach", "application", "--seed", "7",
                "--host", "A:ns=/proc/1/fd/3,address=10.77.0.1/24,address=fd77::1/64",
                "--host", "B:ns=/proc/1/fd/4,address=10.77.0.2/24,address=fd77::2/64",
                "--leg", "A:up:delay=5ms,burst-loss=1%,20%", "--leg", "A:down:delay=5ms,burst-loss=1%,20%,rate=1mbit",
                "--change", "A:up@15.000000000s:loss=5%",
            ],
        )  # fmt: skip


class Words(unittest.TestCase):
    def test_the_first_line_names_back_end_addresses_and_round_trip(self):
        line = report.first_line(LabSettings.of("delay=50ms,loss=1%,rate=200mbit").checked(), "emulator", "no netem")
        self.assertEqual(
            line,
            "lab: back end emulator (no netem); A 10.77.0.1 fd77::1, B 10.77.0.2 fd77::2; A-B RTT 100 ms, each way delay"
            " 50 ms, 200 Mbit/s (queue 1000 packets), loss 1 %",
        )

    def test_words_said_twice_count_as_said_last(self):
        leg = Leg().over((("loss", "1%"),), ()).over((("loss", "2%"),), ())
        self.assertEqual(leg.up, (("loss", "2%"),))
