"""The lab's own judgement: links measured with independent tools are what they were told to be. One run of
`netem/lab selftest`, each of its figures a subtest."""

import json

from lab_support import LabCommandTest


class SelfTest(LabCommandTest):
    def test_links_are_as_told(self):
        ran = self.start("selftest", "--json")
        out, err = ran.communicate(timeout=300)
        rows = [json.loads(line) for line in out.splitlines()]
        for row in rows:
            with self.subTest(row["what"]):
                self.assertTrue(row["ok"], row)
        self.assertEqual(ran.returncode, 0, err)
        self.assertGreaterEqual(len(rows), 15)
