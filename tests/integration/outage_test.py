"""A path that carries nothing for ten seconds, neither datagrams nor TCP: longer than silence is borne."""

import unittest

from lab_transfer import LabTransferTest


class Outage(LabTransferTest):
    def test_ten_seconds_without_any_packet_are_outlived(self):
        self.register()
        # More than the link carries before the outage.
        self.write("there", 12_000_003)
        self.write("files/back", 12_000_001)
        ended = self.beside_each_other(
            ("--delay", "20ms", "--rate", "20mbit", "--queue", "1bdp", "--change", "3s:down=yes", "--change", "13s:down=no"),
            {"push": ("push", "there", "{B}:/there"), "pull": ("pull", "{B}:/back", "here/back")},
        )
        for name, size in (("push", 12_000_003), ("pull", 12_000_001)):
            outcome = ended[name]
            self.assertEqual((outcome.exit, outcome.last["event"]), (0, "done"), outcome)
            # The silence was noticed, and the transfer found again.
            self.assertTrue(outcome.events("reconnecting"), outcome)
            self.assertEqual((outcome.last["bytes"], outcome.last["bytes_sent"]), (size, size))
            print("%s: %.1f s in all, %d bytes sent again" % (name, outcome.last["seconds"], outcome.last["bytes_retransmitted"]))
        self.same("there", "files/there")
        self.same("files/back", "here/back")


if __name__ == "__main__":
    unittest.main()
