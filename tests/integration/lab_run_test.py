"""netem/lab run, as people use it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import textwrap

from lab_support import LAB, LabCommandTest, wait_until

COUNT_SIGNALS = textwrap.dedent(
    """
    import signal, sys, time
    heard = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: heard.append(number))
    print("armed", flush=True)
    while not heard:
        time.sleep(0.01)
    time.sleep(0.5)  # a second one would come at once
    print(*[signal.Signals(number).name for number in heard], flush=True)
    sys.exit(42)
    """
)


class Run(LabCommandTest):
    def test_the_exit_code_is_that_of_the_command(self):
        for script, code in (("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)):
            with self.subTest(script):
                self.assertEqual(self.lab("run", "--", "sh", "-c", script).returncode, code)
        self.assertEqual(self.lab("run", "--", "no-such-program").returncode, 127)

    def test_stdout_and_stdin_are_the_commands_and_the_first_line_of_stderr_says_what_runs(self):
        ran = self.lab("run", "--delay", "25ms", "--back-end", "emulator", "--", "cat", input="as it is\n")
        self.assertEqual(ran.stdout, "as it is\n")
        self.assertEqual(
            ran.stderr,
            "lab: back end emulator; A 10.77.0.1 fd77::1, B 10.77.0.2 fd77::2; A-B RTT 50 ms, each way delay 25 ms, no rate"
            " limit, loss 0 %\n",
        )

    def test_both_protocols_cross_the_link_with_its_delay(self):
        for address in ("{B}", "{B6}"):
            ran = self.lab("run", "--delay", "30ms", "--", "ping", "-qc", "2", "-i", "0.1", address)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertGreaterEqual(float(re.search(r"= ([\d.]+)/", ran.stdout)[1]), 60.0)

    def test_a_change_happens_while_the_command_runs(self):
        counters = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "counters.json")
        ping = ("ping", "-qc", "12", "-i", "0.1", "-W", "1", "{B}")
        ran = self.lab("run", "--change", "300ms:down=yes", "--counters", counters, "--", *ping)
        sent, got = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", ran.stdout).groups())
        self.assertLess(0, got)
        self.assertLess(got, sent)
        with open(counters, encoding="utf-8") as file:
            told = json.load(file)
        self.assertIn(told["back_end"], ("emulator", "tc"))
        self.assertEqual(told["legs"]["A"]["up"]["lost_down"], sent - got)

    def test_a_policer_is_told_in_the_first_line_and_its_drops_are_counted(self):
        counters = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "counters.json")
        # 84 bytes each: ten fit the burst, and a byte a second comes back.
        ping = ("ping", "-qc", "15", "-i", "0.05", "-W", "1", "{B}")
        ran = self.lab("run", "--police", "8bit,840", "--asymmetric", "police=none", "--counters", counters, "--", *ping)
        self.assertIn("back end emulator", ran.stderr)
        self.assertIn("A to B delay 0 ms, no rate limit, policed to 8 bit/s (burst 840 bytes)", ran.stderr)
        self.assertIn("15 packets transmitted, 10 received", ran.stdout)
        with open(counters, encoding="utf-8") as file:
            leg = json.load(file)["legs"]["A"]
        self.assertEqual((leg["up"]["lost_policer"], leg["down"]["lost_policer"]), (5, 0))

    def test_every_host_of_a_star_reaches_every_other(self):
        script = "ping -qc 1 -W 5 {B} && ping -qc 1 -W 5 {C} && ping -qc 1 -W 5 {D6}"
        star = ("--hosts", "4", "--delay", "2ms", "--leg", "C:delay=9ms", "--leg", "B:rate=1gbit")
        ran = self.lab("run", *star, "--", "sh", "-c", script)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        rounds = [float(found) for found in re.findall(r"= ([\d.]+)/", ran.stdout)]
        for measured, least in zip(rounds, (4.0, 22.0, 8.0), strict=True):
            self.assertGreaterEqual(measured, least)

    def test_a_second_command_serves_in_b_for_as_long(self):
        ran = self.lab(
            "run", "--in-b", "echo at {B}; echo ready; sleep 1000", "--ready", "ready", "--", "sh", "-c", "echo from {A}"
        )
        self.assertEqual((ran.returncode, ran.stdout), (0, "from 10.77.0.1\n"))
        self.assertIn("B| at 10.77.0.2\nB| ready\n", ran.stderr)

    def test_a_second_command_that_is_never_ready_is_said_so(self):
        ran = self.lab("run", "--in-b", "echo broken; exit 3", "--ready", "ready", "--", "echo", "not reached")
        self.assertEqual((ran.returncode, ran.stdout), (125, ""))
        self.assertIn("exit 3", ran.stderr)

    def test_what_the_commands_leave_running_is_ended(self):
        script = "setsid sh -c 'trap \"\" TERM HUP; sleep 1000' > /dev/null 2>&1 & echo started"
        ran = self.lab("run", "--in-b", script, "--", "sh", "-c", script)
        self.assertEqual((ran.returncode, ran.stdout), (0, "started\n"))
        self.nothing_is_left()

    def test_labs_run_side_by_side(self):
        labs = [self.start("run", "--delay", f"{delay}ms", "--", "ping", "-qc", "3", "-i", "0.2", "{B}") for delay in (20, 40)]
        for process, least in zip(labs, (40.0, 80.0), strict=True):
            out, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, err)
            self.assertGreaterEqual(float(re.search(r"= ([\d.]+)/", out)[1]), least)


class Signals(LabCommandTest):
    def test_a_signal_from_a_process_reaches_the_command_once(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number):
                lab = self.start("run", "--", sys.executable, "-c", COUNT_SIGNALS)
                self.assertEqual(lab.stdout.readline(), "armed\n")
                lab.send_signal(number)
                out, err = lab.communicate(timeout=60)
                self.assertEqual((out, lab.returncode), (f"{number.name}\n", 42), err)

    def test_ctrl_c_reaches_the_command_once(self):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(LAB, [LAB, "run", "--", sys.executable, "-c", COUNT_SIGNALS], self.environment)
        said = b""
        while b"armed" not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        try:
            while piece := os.read(terminal, 4096):
                said += piece
        except OSError:  # EIO: nobody holds the other end any more
            pass
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(status), 42, said)
        self.assertIn(b"SIGINT\r\n", said)
        self.assertNotIn(b"SIGINT SIGINT", said)


class BadInput(LabCommandTest):
    def refused(self, code, message, *words, **options):
        ran = self.lab(*words, **options)
        self.assertEqual(ran.returncode, code, ran.stderr)
        self.assertRegex(ran.stderr, message)
        self.assertNotIn("Traceback", ran.stderr)
        self.nothing_is_left()

    def test_absurd_words_are_usage(self):
        self.refused(2, "--rate: '0'", "run", "--rate", "0", "--", "true")
        self.refused(2, "no scenario 'mars'; scenarios: .*starlink", "run", "--scenario", "mars", "--", "true")
        self.refused(2, "COMMAND", "run", "--delay", "5ms")
        self.refused(2, "--counters /nowhere/x", "run", "--counters", "/nowhere/x", "--", "true")

    def test_missing_programs_are_named_with_their_package(self):
        with tempfile.TemporaryDirectory() as empty:
            words = ("run", "--back-end", "emulator", "--", "true")
            self.refused(125, "penstock-link-emulator is not in .*cmake", *words, environment={"PENSTOCK_BIN": empty})

        with tempfile.TemporaryDirectory() as bare:
            os.symlink(sys.executable, os.path.join(bare, "python3"))
            self.refused(125, "missing: .*nsenter.*apt install .*util-linux", "run", "--", "true", environment={"PATH": bare})

    def test_a_machine_without_user_namespaces_is_said_so(self):
        script = (
            "echo 0 > /proc/sys/user/max_user_namespaces;"
            ' exec setpriv --bounding-set=-all --inh-caps=-all --securebits=+noroot,+noroot_locked -- "$0" run -- true'
        )
        ran = self.nobody(
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "unshare", "-Ur", "--", "sh", "-c", script, LAB
        )
        self.assertEqual(ran.returncode, 125)
        self.assertRegex(ran.stderr, "needs root or a user namespace")

    def test_a_broken_link_ends_the_run(self):
        lab = self.start("run", "--back-end", "emulator", "--", "sh", "-c", "echo on; exec sleep 1000")
        self.assertEqual(lab.stdout.readline(), "on\n")
        emulators = [pid for pid in self.descendants() if os.readlink(f"/proc/{pid}/exe").endswith("penstock-link-emulator")]
        os.kill(emulators[0], signal.SIGKILL)
        _, err = lab.communicate(timeout=60)
        self.assertEqual(lab.returncode, 125)
        self.assertIn("penstock-link-emulator ended", err)

    @staticmethod
    def as_nobody(tun_mode, *words):
        """Argv that runs netem/lab as an ordinary user, with a /dev/net/tun of the given mode."""
        script = (
            "set -e; d=$(mktemp -d); mount -t tmpfs none $d; mknod $d/tun c 10 200; chmod $0 $d/tun;"
            ' mount --bind $d/tun /dev/net/tun; umount -l $d; rmdir $d; exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"'
        )
        return ["unshare", "--mount", "--", "sh", "-c", script, tun_mode, LAB, *words]

    def nobody(self, *argv):
        if os.geteuid() != 0:
            self.skipTest("becomes another user, which needs root")
        environment = dict(self.environment, XDG_RUNTIME_DIR=self.runtime_directory_of_nobody())
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)

    def runtime_directory_of_nobody(self):
        """One for the whole test, so that labs of tests that run beside it do not meet."""
        if not hasattr(self, "_runtime"):
            self._runtime = self.enterContext(tempfile.TemporaryDirectory())
            os.chown(self._runtime, 65534, 65534)
        return self._runtime

    def test_an_ordinary_user_has_labs_in_a_user_namespace_and_keeps_its_name(self):
        ran = self.nobody(*self.as_nobody("666", "run", "--delay", "20ms", "--", "sh", "-c", "id -u; ping -qc 1 {B}"))
        if "needs root" in ran.stderr:
            self.skipTest(ran.stderr)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(ran.stdout.splitlines()[0], "65534")
        self.assertGreaterEqual(float(re.search(r"= ([\d.]+)/", ran.stdout)[1]), 40.0)

    def test_an_ordinary_user_has_labs_by_name(self):
        up = self.nobody(*self.as_nobody("666", "up", "of-nobody"))
        if "needs root" in up.stderr:
            self.skipTest(up.stderr)
        self.assertEqual(up.returncode, 0, up.stderr)
        ran = self.nobody(*self.as_nobody("600", "run", "--lab", "of-nobody", "--", "sh", "-c", "id -u; ping -qc 1 {B}"))
        down = self.nobody(*self.as_nobody("600", "down", "of-nobody"))
        self.assertEqual((ran.returncode, ran.stdout.splitlines()[:1]), (0, ["65534"]), ran.stderr)
        self.assertEqual(down.returncode, 0, down.stderr)

    def test_a_closed_tun_device_is_said_with_the_remedy(self):
        ran = self.nobody(*self.as_nobody("600", "run", "--back-end", "emulator", "--", "true"))
        self.assertEqual(ran.returncode, 125)
        self.assertRegex(ran.stderr, "/dev/net/tun.*chmod 0666|needs root")

    def test_nobody_waits_for_a_lab_that_can_not_come_up(self):
        with tempfile.TemporaryDirectory() as empty:
            own = {"PENSTOCK_BIN": empty, "XDG_RUNTIME_DIR": empty}
            words = ("up", "stillborn", "--back-end", "emulator")
            self.refused(125, "penstock-link-emulator is not in", *words, environment=own)
        wait_until(lambda: not self.descendants(), "the supervisor's end")
