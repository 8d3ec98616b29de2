"""The link emulator between real network namespaces, judged by the probe, which shares no code with the link model.

Every count is exact: what the probe misses, the emulator's counters own up to. Times are only bounded from below, where a
busy machine can not spoil them. Skipped by name where network namespaces or TUN devices can not be had.
"""

import json
import os
import subprocess
import tempfile
import time
import unittest

BIN = os.environ.get("PENSTOCK_BIN", "build/release/bin")
EMULATOR = os.path.join(BIN, "penstock-link-emulator")
PROBE = os.path.join(BIN, "penstock-link-probe")
PATIENCE = 120  # seconds; only reached by what hangs
FINISHES = 64  # how often the probe's sender says its last word


def why_impossible():
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        return "no network namespaces here: " + tried.stderr.strip()
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return "no TUN devices here: %s" % error
    return None


class Space:
    """A network namespace, held by a process that ends with its stdin."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.holder.stdout.readline() == b"ready\n"

    @property
    def path(self):
        return "/proc/%d/ns/net" % self.holder.pid

    def command(self, *words):
        return ["nsenter", "--net=" + self.path, "--", *words]

    def run(self, *words):
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=PATIENCE)

    def close(self):
        self.holder.stdin.close()
        self.holder.stdout.close()
        self.holder.wait()


class Lab:
    """Hosts A, B, ... at 10.77.0.1, .2, ... and fd77::1, ::2, ... around one emulator."""

    def __init__(self, *options, hosts=2):
        self.spaces = [Space() for _ in range(hosts)]
        words = [EMULATOR]
        for number, space in enumerate(self.spaces, start=1):
            words += ["--host", "%s:ns=%s,address=10.77.0.%d/24,address=fd77::%d/64"
                      % (chr(64 + number), space.path, number, number)]
        self.process = subprocess.Popen(
            words + list(options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.ready = json.loads(self.process.stdout.readline() or self.fail())

    def fail(self):
        raise AssertionError("the emulator did not start: " + self.process.stderr.read())

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.next_line()

    def next_line(self):
        return json.loads(self.process.stdout.readline())

    def measure(self, *send, source=0, target=1, v6=False, linger="0.5s"):
        """What the probe says: the sender's line and the receiver's."""
        address = ("[fd77::%d]:9000" if v6 else "10.77.0.%d:9000") % (target + 1)
        receiver = subprocess.Popen(
            self.spaces[target].command(PROBE, "receive", "--listen", address, "--linger", linger),
            stdout=subprocess.PIPE, text=True,
        )
        with receiver:
            assert json.loads(receiver.stdout.readline())["event"] == "ready"
            sent = self.spaces[source].run(PROBE, "send", "--to", address, *send)
            result = receiver.stdout.read()
        assert sent.returncode == 0, sent.stderr
        return json.loads(sent.stdout), json.loads(result)

    def end(self):
        """Ends the emulator as its caller's end does; its last line."""
        self.process.stdin.close()
        lines = self.process.stdout.read().splitlines()
        assert self.process.wait(PATIENCE) == 0
        return json.loads(lines[-1])

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        for space in self.spaces:
            space.close()


class EmulatorTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        reason = why_impossible()
        if reason:
            raise unittest.SkipTest(reason)

    def lab(self, *options, hosts=2):
        lab = Lab(*options, hosts=hosts)
        self.addCleanup(lab.close)
        return lab

    def accounts_agree(self, result, end, sent):
        """Every datagram is where the model says; what the machine lost besides would be told, and there is none."""
        up, down = end["legs"]["A"]["up"], end["legs"]["B"]["down"]
        self.assertEqual((result["receiver_drops"], end["overflows"]), (0, 0))
        self.assertEqual(up["offered_packets"], sent + FINISHES - end["overruns"])
        arrived = result["received"] + result["duplicates"] + result["unidentified"] + result["finishes"]
        self.assertEqual(down["delivered_packets"], arrived)
        self.assertEqual(up["offered_packets"] - up["lost_random"] + up["duplicated"], arrived)


class Links(EmulatorTest):
    def test_datagrams_cross_both_ways_over_ipv4_and_ipv6_and_are_late_by_their_leg(self):
        lab = self.lab("--leg", "A:up:delay=20ms", "--leg", "A:down:delay=5ms")
        for v6 in (False, True):
            for source, target, delay in ((0, 1, 20e3), (1, 0, 5e3)):
                _, result = lab.measure("--rate", "2mbit", "--count", "200", source=source, target=target, v6=v6)
                self.assertEqual((result["sent"], result["received"]), (200, 200), result)
                # The stamps of two clocks are matched to a few microseconds.
                self.assertGreaterEqual(result["delay_us"]["min"], delay - 50)
                self.assertEqual(result["corrupted"] + result["duplicates"] + result["reordered"], 0)

    def test_losses_and_copies_are_those_of_the_model_and_one_seed_repeats_them(self):
        lost = []
        for _ in range(2):
            lab = self.lab("--leg", "A:up:loss=2%,duplicate=1%", "--seed", "7")
            sent, result = lab.measure("--rate", "40mbit", "--count", "10000", "--size", "500")
            end = lab.end()
            up = end["legs"]["A"]["up"]
            self.assertEqual(sent["sent"], 10000)
            self.accounts_agree(result, end, 10000)
            self.assertGreater(up["duplicated"], 50)
            lost.append(up["lost_random"])
        if end["overruns"] == 0:
            self.assertEqual(lost[0], lost[1])
        self.assertTrue(100 < lost[0] < 300, lost)  # 200 +- 14

    def test_the_segments_of_one_system_call_are_lost_one_by_one(self):
        lab = self.lab("--leg", "A:up:loss=5%")
        _, result = lab.measure("--rate", "100mbit", "--count", "20000", "--segments", "16")
        end = lab.end()
        self.accounts_agree(result, end, 20000)
        self.assertLess(result["burst_length_mean"], 1.3)  # 16 if a batch were lost as one

    def test_a_policer_lets_its_burst_and_its_rate_pass_and_owns_up_to_the_rest(self):
        lab = self.lab("--leg", "A:up:police=160kbit,15000")
        began = time.monotonic()
        _, result = lab.measure("--rate", "40mbit", "--count", "2000", "--size", "500")
        seconds = time.monotonic() - began
        up = lab.ask("counters")["legs"]["A"]["up"]
        self.assertEqual(lab.ask("set A up police=none")["event"], "set")
        _, free = lab.measure("--rate", "40mbit", "--count", "2000", "--size", "500")
        self.assertEqual(lab.end()["overruns"], 0)
        self.assertGreaterEqual(result["received"], 30)
        self.assertLessEqual(up["delivered_bytes"], 15_000 + 20_000 * seconds)
        self.assertEqual(up["lost_policer"], result["lost"] + FINISHES - result["finishes"])
        self.assertEqual(free["lost"], 0)

    def test_damage_stops_in_the_kernel_unless_it_shall_reach_the_program(self):
        for reach in ("kernel", "application"):
            for v6 in (False, True):
                lab = self.lab("--leg", "A:up:corrupt=3%", "--corrupt-reach", reach)
                _, result = lab.measure("--rate", "20mbit", "--count", "3000", "--size", "600", v6=v6)
                end = lab.end()
                damaged = end["legs"]["A"]["up"]["corrupted"]
                self.assertGreater(damaged, 30)
                self.assertEqual(end["overruns"], 0)
                if reach == "application":
                    # A finish without its header is as nameless as any other.
                    self.assertEqual((result["lost"], result["corrupted"]), (0, damaged))
                else:
                    self.assertEqual(result["lost"] + FINISHES - result["finishes"], damaged)
                    self.assertEqual(result["corrupted"], 0)

    def test_three_hosts_meet_at_the_hub(self):
        lab = self.lab("--leg", "A:up:delay=10ms", "--leg", "C:down:delay=7ms", hosts=3)
        _, result = lab.measure("--rate", "2mbit", "--count", "100", source=0, target=2)
        self.assertEqual(result["received"], 100)
        self.assertGreaterEqual(result["delay_us"]["min"], 17e3 - 50)
        end = lab.end()
        self.assertEqual(end["legs"]["B"]["down"]["offered_packets"], 0)

    def test_what_is_for_no_host_is_told(self):
        lab = self.lab()
        sent = lab.spaces[0].run(PROBE, "send", "--to", "10.77.0.99:9000", "--rate", "1mbit", "--count", "10")
        self.assertEqual(sent.returncode, 0, sent.stderr)
        end = lab.end()
        self.assertEqual(end["hosts"]["A"]["unrouted"], 10 + FINISHES)
        self.assertEqual(end["legs"]["A"]["up"]["offered_packets"], 0)

    def test_nobody_at_the_port_is_told_to_the_sender(self):
        lab = self.lab()
        sent = lab.spaces[0].run(PROBE, "send", "--to", "10.77.0.2:9000", "--rate", "1mbit", "--count", "1000")
        self.assertEqual(sent.returncode, 1)
        self.assertIn("nobody receives at 10.77.0.2:9000", sent.stderr)


class Conversation(EmulatorTest):
    def test_the_link_changes_while_it_runs(self):
        lab = self.lab("--change", "A:up@50ms:down=yes", "--change", "A:both@60ms:loss=1%")
        self.assertEqual(lab.ask("start"), {"event": "started"})
        changed = [lab.next_line() for _ in range(3)]
        self.assertEqual([line["event"] for line in changed], ["changed"] * 3)
        self.assertEqual([line["direction"] for line in changed], ["up", "up", "down"])
        self.assertEqual(changed[0]["words"], "down=yes")
        answer = lab.ask("set B down loss=100%")
        self.assertEqual(answer, {"event": "set", "host": "B", "direction": "down", "words": "loss=100%"})
        self.assertEqual(lab.ask("set A up down=no,loss=0")["event"], "set")
        sent = lab.spaces[0].run(PROBE, "send", "--to", "10.77.0.2:9000", "--rate", "1mbit", "--count", "10")
        self.assertEqual(sent.returncode, 0, sent.stderr)
        end = lab.end()
        self.assertEqual(end["legs"]["A"]["up"]["delivered_packets"], 10 + FINISHES)
        self.assertEqual(end["legs"]["B"]["down"]["lost_random"], 10 + FINISHES)

    def test_nonsense_is_answered_and_harms_nothing(self):
        lab = self.lab()
        for line in ("", "stop", "set", "set A", "set A up", "set X up loss=1%", "set A up loss=200%",
                     "set A both queue=1bdp", "x" * 10000):
            answer = lab.ask(line)
            self.assertEqual(answer["event"], "error", line)
            self.assertTrue(answer["message"])
        self.assertEqual(lab.ask("start")["event"], "started")
        self.assertEqual(lab.ask("start")["event"], "error")
        counters = lab.ask("counters")
        self.assertEqual(counters["event"], "counters")
        self.assertEqual(set(counters["hosts"]), {"A", "B"})
        self.assertIsNone(counters["lateness_us"]["median"])

    def test_nothing_stays_behind(self):
        lab = self.lab()
        inside = lab.spaces[0].run("cat", "/proc/net/dev").stdout
        self.assertIn("lab0", inside)
        self.assertEqual(lab.end()["event"], "end")
        self.assertNotIn("lab0", lab.spaces[0].run("cat", "/proc/net/dev").stdout)

    def test_a_device_that_somebody_deletes_ends_the_lab(self):
        lab = self.lab()
        self.assertEqual(lab.spaces[0].run("ip", "link", "delete", "lab0").returncode, 0)
        self.assertEqual(lab.process.wait(PATIENCE), 1)
        self.assertIn("lab0 of host A", lab.process.stderr.read())

    def test_the_device_is_as_the_ready_line_says(self):
        lab = self.lab("--mtu", "1400", "--tun-queue", "5000", "--scheduling", "normal")
        self.assertEqual(lab.ready["scheduling"], "normal")
        self.assertEqual(lab.ready["hosts"]["A"]["mtu"], 1400)
        refused = lab.spaces[0].run(PROBE, "send", "--to", "10.77.0.2:9000", "--rate", "1mbit", "--count", "1", "--size", "1401")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--size 1401 is more than the MTU", refused.stderr)


class BadInput(EmulatorTest):
    def emulate(self, *words, stdin=subprocess.DEVNULL):
        return subprocess.run([EMULATOR, *words], stdin=stdin, capture_output=True, text=True, timeout=PATIENCE)

    def hosts(self, *paths):
        words = []
        for number, path in enumerate(paths, start=1):
            words += ["--host", "%s:ns=%s,address=10.77.0.%d" % (chr(64 + number), path, number)]
        return words

    def refused(self, outcome, code, part):
        self.assertEqual(outcome.returncode, code, outcome.stderr)
        self.assertIn(part, outcome.stderr)
        self.assertEqual(outcome.stdout, "")

    def test_options_that_make_no_sense(self):
        self.assertEqual(self.emulate().returncode, 2)
        self.assertEqual(self.emulate("--nonsense").returncode, 2)
        two = self.hosts("/proc/self/ns/net", "/proc/self/ns/net")
        self.refused(self.emulate(*two, "--leg", "A:up:loss=200%"), 2, "200%")
        self.refused(self.emulate(*two, "--leg", "Q:up:loss=1%"), 2, "no host 'Q'")
        self.refused(self.emulate(*two, "--mtu", "10"), 2, "--mtu 10")

    def test_namespaces_that_are_none(self):
        space = Space()
        self.addCleanup(space.close)
        self.refused(self.emulate(*self.hosts("/nowhere", space.path)), 1, "/nowhere")
        self.refused(self.emulate(*self.hosts("/proc/self/ns/mnt", space.path)), 2, "no network namespace")

    def test_a_device_that_is_there_already(self):
        lab = self.lab()
        self.refused(self.emulate(*self.hosts(lab.spaces[0].path, lab.spaces[1].path)), 1, "lab0")

    def test_a_file_as_stdin(self):
        spaces = [Space(), Space()]
        for space in spaces:
            self.addCleanup(space.close)
        with tempfile.TemporaryFile() as file:
            self.refused(self.emulate(*self.hosts(*[space.path for space in spaces]), stdin=file), 2, "stdin is a file")

    def test_probe_words_that_make_no_sense(self):
        for words, part in (
            (["send", "--to", "10.77.0.2", "--rate", "1mbit", "--count", "1"], "10.77.0.2"),
            (["send", "--to", "10.77.0.2:1", "--rate", "fast", "--count", "1"], "fast"),
            (["send", "--to", "10.77.0.2:1", "--rate", "1mbit"], "--count"),
            (["send", "--to", "10.77.0.2:1", "--rate", "1mbit", "--count", "1", "--size", "75"], "--size 75"),
            (["send", "--to", "10.77.0.2:1", "--rate", "1mbit", "--count", "1", "--segments", "65"], "--segments 65"),
            (["send", "--to", "10.77.0.2:1", "--rate", "1mbit", "--count", "99999999999"], "datagrams"),
            (["receive", "--listen", "here"], "here"),
        ):
            outcome = subprocess.run([PROBE, *words], capture_output=True, text=True, timeout=PATIENCE)
            self.refused(outcome, 2, part)


if __name__ == "__main__":
    unittest.main()
