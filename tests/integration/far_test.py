"""Round trips of seconds: what can connect is carried whole, and what can not is told so (control/README, "One connection")."""

import unittest

from lab_transfer import MIB, LabTransferTest


class Far(LabTransferTest):
    def setUp(self):
        super().setUp()
        self.register()

    def test_two_seconds_of_round_trip_carry_everything_whole(self):
        self.write("there", 2 * MIB)
        self.write("files/back", 2 * MIB + 1)
        ended = self.beside_each_other(
            ("--delay", "1s", "--rate", "50mbit"),
            {
                "push": ("push", "there", "{B}:/there"),
                "pull": ("pull", "{B}:/back", "here/back"),
                "ls": ("ls", "{B}:/"),
            },
            afterwards="cp /proc/net/netstat said/netstat",
        )
        for outcome in ended.values():
            self.assertEqual((outcome.exit, outcome.last["event"]), (0, "done"), outcome)
        for name in ("push", "pull"):
            self.assertEqual(ended[name].last["data"], "udp", ended[name])
            self.assertEqual(ended[name].events("reconnecting"), [])
        self.same("there", "files/there")
        self.same("files/back", "here/back")
        # TCP repeats its SYN, which it does after a second, and hardly anything that was not lost.
        timeouts = self.tcp_timeouts()
        print("%d time-outs of TCP" % timeouts)
        self.assertLessEqual(timeouts, 3 * len(ended))

    def tcp_timeouts(self):
        """Of all connections that began in A."""
        with open(self.path("said", "netstat"), encoding="ascii") as netstat:
            names, numbers = (line.split() for line in netstat if line.startswith("TcpExt:"))
        return int(dict(zip(names, numbers))["TCPTimeouts"])

    def test_five_seconds_of_round_trip_end_with_an_error_that_is_true(self):
        self.write("there", 1000)
        self.write("files/back", 1000)
        patient = ("--connect-timeout", "60s")
        ended = self.beside_each_other(
            # Until all have failed; then the same daemon is asked again.
            ("--delay", "2500ms", "--change", "25s:delay=5ms"),
            {
                "push": ("push", "there", "{B}:/there"),
                "patient_push": ("push", "there", "{B}:/there", *patient),
                "patient_pull": ("pull", "{B}:/back", "here/back", *patient),
                "patient_ls": ("ls", "{B}:/", *patient),
            },
            afterwards="until %s push -q there {B}:/afterwards; do sleep 0.2; done" % self.penstock,
        )
        for name, outcome in ended.items():
            self.assertEqual((outcome.exit, outcome.error), (9, "TIMED_OUT"), outcome)
            self.assertEqual(len(outcome.events("done") + outcome.events("error")), 1, outcome)
            said = outcome.last["message"]
            self.assertIn("too far away", said)
            self.assertRegex(said, r"round trip takes 5(\.\d+)? s")
            self.assertNotIn("allows more", said)
            self.assertIn(said, outcome.stderr, name)
        # Nobody was let in, nothing was published, and the daemon is as well as before.
        self.same("there", "files/afterwards")
        self.listed("files", ["afterwards", "back"])
        self.listed("here", [])
        self.assertEqual(len([line for line in self.log if line["event"] == "transfer_started"]), 1)


if __name__ == "__main__":
    unittest.main()
