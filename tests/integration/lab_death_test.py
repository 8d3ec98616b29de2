"""Whatever dies, and however: no process, no namespace, no device of a lab is left."""

import os
import signal
import tempfile

from lab_support import LabCommandTest, children, wait_until

# Says where it is, starts what tries to outlive it, and stays.
COMMAND = (
    "readlink /proc/self/ns/net; (trap '' TERM HUP INT; setsid sleep 1000 < /dev/null > /dev/null 2>&1 &) ;"
    " echo on; exec sleep 1000"
)


class Death(LabCommandTest):
    def started(self):
        in_b = ("--in-b", "echo ready; exec sleep 1000", "--ready", "ready")
        lab = self.start("run", "--delay", "5ms", *in_b, "--", "sh", "-c", COMMAND)
        inode = lab.stdout.readline().strip().removeprefix("net:[").removesuffix("]")
        self.assertEqual(lab.stdout.readline(), "on\n")
        self.assertGreaterEqual(len(self.descendants()), 6)
        return lab, inode

    def killed(self, choose):
        lab, inode = self.started()
        self.assertFalse(self.namespace_is_gone(inode))
        os.kill(choose(lab.pid), signal.SIGKILL)
        lab.communicate(timeout=60)
        self.nothing_is_left()
        self.assertTrue(self.namespace_is_gone(inode))

    def test_kill_9_of_the_lab(self):
        self.killed(lambda caller: caller)

    def test_kill_9_of_the_warden(self):
        self.killed(lambda caller: children(caller)[0])

    def test_kill_9_of_the_program_inside(self):
        self.killed(lambda caller: min(children(children(caller)[0])))

    def test_sigterm_while_the_command_ignores_it(self):
        script = "trap '' TERM; echo on; while true; do sleep 0.1; done"
        lab = self.start("run", "--", "sh", "-c", script)
        self.assertEqual(lab.stdout.readline(), "on\n")
        lab.terminate()  # handed on; the command decides
        lab.kill()
        lab.communicate(timeout=60)
        self.nothing_is_left()

    def test_a_lab_by_name_that_was_killed_is_forgotten(self):
        place = self.enterContext(tempfile.TemporaryDirectory())
        own = {"XDG_RUNTIME_DIR": place}
        self.assertEqual(self.lab("up", "victim", environment=own).returncode, 0)
        self.assertIn("victim: up", self.lab("status", environment=own).stdout)
        for pid in self.descendants():
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("python"):
                os.kill(pid, signal.SIGKILL)
                break
        wait_until(lambda: not self.descendants(), "the lab's end")
        self.assertEqual(self.lab("status", environment=own).stdout, "no lab is up\n")
        self.assertEqual(self.lab("up", "victim", environment=own).returncode, 0)
        self.assertEqual(self.lab("down", "victim", environment=own).returncode, 0)
