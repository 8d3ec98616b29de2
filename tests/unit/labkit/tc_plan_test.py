"""The tc back end's plan, word for word: this is all of it that can be judged where the kernel has no netem."""

import unittest
from dataclasses import replace

from labkit import tc_plan
from labkit.settings import LabSettings, read_change
from labkit.words import Link, read_pairs, set_pairs


def link(text):
    return set_pairs(Link(), read_pairs(text))


def rate(text, mtu=1500):
    return " ".join(tc_plan.rate_words(link(text), mtu))


def luck(text):
    return " ".join(tc_plan.luck_words(link(text)))


class Netem(unittest.TestCase):
    def test_rate_and_queue(self):
        self.assertEqual(rate("rate=200mbit"), "netem limit 1000 rate 200000000bit -14")
        self.assertEqual(rate("rate=1mbit,queue=50p,overhead=24"), "netem limit 50 rate 1000000bit 10")
        self.assertEqual(rate("rate=8mbit,delay=500ms,queue=1bdp"), "netem limit 667 rate 8000000bit -14")
        self.assertEqual(rate("rate=8mbit,queue=100"), "netem limit 2 rate 8000000bit -14")
        self.assertEqual(rate("delay=1ms,queue=50p"), "netem limit 1000000")

    def test_luck(self):
        self.assertEqual(luck("rate=1mbit"), "netem limit 1000000")
        self.assertEqual(luck("delay=50ms"), "netem limit 1000000 delay 50000us")
        self.assertEqual(luck("delay=5ms,jitter=1ms"), "netem limit 1000000 delay 5000us 1000us rate 1000gbit")
        self.assertEqual(luck("delay=5ms,jitter=1ms,jitter-order=free"), "netem limit 1000000 delay 5000us 1000us")
        self.assertEqual(luck("delay=1500ns"), "netem limit 1000000 delay 1.5us")
        self.assertEqual(luck("loss=0.05%"), "netem limit 1000000 loss random 0.05%")
        self.assertEqual(luck("burst-loss=1%,20%"), "netem limit 1000000 loss gemodel 1% 20% 100% 0%")
        self.assertEqual(luck("duplicate=250ppm,corrupt=100%"), "netem limit 1000000 duplicate 0.025% corrupt 100%")
        self.assertEqual(luck("loss=1%,down=yes"), "netem limit 1000000 loss random 100%")

    def test_loss_is_behind_the_rate_or_ahead_of_it(self):
        def steps(text, direction):
            return [
                (step.space, " ".join(step.argv)) for step in tc_plan.qdiscs("A", direction, link(text), 1500, "add")
            ]

        limited = "netem limit 1000 rate 1000000bit -14"
        unlucky = "netem limit 1000000 loss random 1%"
        self.assertEqual(
            steps("rate=1mbit,loss=1%", "up"),
            [("A.1", f"tc qdisc add dev to-hub root handle 1: {limited}"), ("A.2", f"tc qdisc add dev to-hub root handle 1: {unlucky}")],
        )
        self.assertEqual(
            steps("rate=1mbit,loss=1%,loss-placement=before", "down"),
            [("A.2", f"tc qdisc add dev to-host root handle 1: {unlucky}"), ("A.1", f"tc qdisc add dev to-host root handle 1: {limited}")],
        )

    def test_a_change_is_a_change_of_both_qdiscs(self):
        steps = tc_plan.qdiscs("C", "up", link("loss=1%"), 1500, "change")
        self.assertEqual([step.argv[2] for step in steps], ["change", "change"])


class Refusals(unittest.TestCase):
    def refused(self, text, **more):
        return tc_plan.refusals(LabSettings.of(text, **more))

    def test_what_tc_can_not_do_is_named(self):
        self.assertEqual(self.refused("delay=5ms,loss=1%,rate=1mbit,duplicate=1%,corrupt=1%,jitter=1ms"), [])
        self.assertRegex(self.refused("reorder=1%")[0], "^reorder ")
        self.assertRegex(self.refused("mtu=1400")[0], "^mtu ")
        self.assertRegex(self.refused("police=1mbit,64KiB")[0], "^police ")
        self.assertRegex(self.refused("loss=1%,burst-loss=1%,2%")[0], "^loss and burst-loss")
        self.assertRegex(self.refused("corrupt=1%", corrupt_reach="application")[0], "^--corrupt-reach")
        self.assertRegex(self.refused("loss=1%", seed=3)[0], "^--seed")

    def test_changes_are_looked_at_too(self):
        settings = LabSettings.of("loss=1%")
        moved = replace(settings, changes=read_change("1s:loss-placement=before", settings.legs))
        self.assertRegex(tc_plan.refusals(moved)[0], "loss-placement")
        self.assertEqual(len(tc_plan.refusals(moved)), 1)
        late = replace(settings, changes=read_change("1s:reorder=1%", settings.legs))
        self.assertRegex(tc_plan.refusals(late)[0], "^reorder ")


class Topology(unittest.TestCase):
    def setUp(self):
        self.steps = tc_plan.set_up(LabSettings.of("delay=5ms,rate=1mbit", "loss=1%"))

    def lines(self, *words):
        found = [f"{step.space}: {' '.join(step.argv)}" for step in self.steps]
        return [line for line in found if all(word in line for word in words)]

    def test_two_routers_a_leg_and_plain_wires_elsewhere(self):
        self.assertEqual(
            self.lines("link add"),
            [
                "A: ip link add lab0 mtu 1500 address 02:77:00:00:01:00 type veth peer name to-host mtu 1500 address 02:77:00:00:01:01 netns @A.1",
                "A.1: ip link add to-hub mtu 1500 address 02:77:00:00:01:02 type veth peer name to-host mtu 1500 address 02:77:00:00:01:03 netns @A.2",
                "A.2: ip link add to-hub mtu 1500 address 02:77:00:00:01:04 type veth peer name leg-A mtu 1500 address 02:77:00:00:01:05 netns @hub",
                "B: ip link add lab0 mtu 1500 address 02:77:00:00:02:00 type veth peer name leg-B mtu 1500 address 02:77:00:00:02:01 netns @hub",
            ],
        )

    def test_no_device_glues_packets_together(self):
        devices = self.lines("ethtool -K")
        self.assertEqual(len(devices), 8)
        self.assertTrue(all(line.endswith("gro off gso off tso off") for line in devices))
        self.assertEqual(len(self.lines("gso_max_segs 1 up")), 8)

    def test_no_host_has_a_qdisc_in_its_own_stack(self):
        places = [line.partition(" root")[0] for line in self.lines("tc qdisc add")]
        self.assertEqual(
            places,
            [
                "A.1: tc qdisc add dev to-hub",
                "A.2: tc qdisc add dev to-hub",
                "A.2: tc qdisc add dev to-host",
                "A.1: tc qdisc add dev to-host",
            ],
        )

    def test_neighbours_are_written_down(self):
        self.assertIn("A: ip neighbour add 10.77.0.2 lladdr 02:77:00:00:01:01 dev lab0 nud permanent", self.lines("neighbour"))
        self.assertIn("A.1: ip neighbour add fd77::1 lladdr 02:77:00:00:01:00 dev to-host nud permanent", self.lines("neighbour"))
        self.assertIn("hub: ip route add 10.77.0.1/32 dev leg-A", self.lines("route"))
        self.assertIn("A.2: ip route add fd77::2/128 dev to-hub", self.lines("route"))


class Counters(unittest.TestCase):
    def test_both_qdiscs_tell_what_became_of_the_packets(self):
        first = {"packets": 900, "bytes": 900 * 1014, "drops": 100}
        second = {"packets": 800, "bytes": 800 * 1014, "drops": 100}
        after = tc_plan.counters_of(link("loss=10%"), first, second)
        self.assertEqual((after["offered_packets"], after["offered_bytes"]), (1000, 1_000_000))
        self.assertEqual((after["lost_queue"], after["lost_random"], after["lost_burst"]), (100, 100, 0))
        self.assertEqual((after["delivered_packets"], after["delivered_bytes"]), (800, 800_000))
        before = tc_plan.counters_of(link("burst-loss=1%,2%,loss-placement=before"), first, second)
        self.assertEqual((before["lost_queue"], before["lost_random"], before["lost_burst"]), (100, 0, 100))
        self.assertEqual((before["offered_packets"], before["delivered_packets"]), (1000, 800))

    def test_nothing_sent_is_nothing_counted(self):
        nothing = {"packets": 0, "bytes": 0, "drops": 0}
        self.assertEqual(tc_plan.counters_of(Link(), nothing, nothing)["offered_bytes"], 0)
