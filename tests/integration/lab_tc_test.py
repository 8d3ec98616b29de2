"""tc's own reader judges the words that the lab has for it, also where the kernel has no netem to obey them."""

import os
import subprocess
import sys

from lab_support import HOUSE, LabCommandTest

sys.path.insert(0, os.path.join(HOUSE, "netem"))

from labkit import scenario, tc_plan, words  # noqa: E402  (found through the line above)

LINKS = (
    "delay=1500ns",
    "delay=5ms,jitter=1ms",
    "delay=5ms,jitter=1ms,jitter-order=free,duplicate=250ppm,corrupt=0.0001%",
    "rate=1gbit,queue=1,overhead=38,burst-loss=1%,20%,80%,0.1%",
    "down=yes",
)


class Tc(LabCommandTest):
    def test_it_can_read_all_that_the_plan_says(self):
        links = [words.set_pairs(words.Link(), words.read_pairs(text)) for text in LINKS]
        for name in scenario.scenario_names():
            links += [link for _, _, link in scenario.load_scenario(name).history()]
        if os.geteuid() != 0:
            self.skipTest("tc is asked in a namespace of root's")
        for link in dict.fromkeys(links):
            for said in (tc_plan.rate_words(link, 1500), tc_plan.luck_words(link)):
                with self.subTest(said):
                    argv = ["unshare", "--net", "--", "tc", "qdisc", "add", "dev", "lo", "root", "handle", "1:", *said]
                    ran = subprocess.run(argv, capture_output=True, text=True)
                    # The kernel's "no netem" comes after the words were read, and is all that may be wrong.
                    self.assertRegex(ran.stderr, r"\A(Error: Specified qdisc kind is unknown\.\n)?\Z")
