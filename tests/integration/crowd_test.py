"""Many clients, lossy paths and hostile neighbours: each gets its own bytes, and the daemon goes on."""

import json
import os
import random
import signal
import socket
import unittest

from lab import PATIENCE, LabTest, Person, free_port, sha256_file, wait_until


class Crowd(LabTest):
    def test_ten_clients_at_once_are_never_mixed(self):
        people = []
        for number in range(10):
            person = Person(self, "p%d" % number)
            self.register(person, user="p%d" % number)
            self.random_file("src%d/a" % number, 3_000_000 + number)
            self.random_file("src%d/b" % number, 1_000 + number)
            people.append(person)
        running = [
            person.start("push", self.path("src%d" % number), self.remote("/in%d" % number), "--json")
            for number, person in enumerate(people)
        ]
        for process in running:
            stdout, stderr = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, stdout + stderr)
        for number in range(10):
            self.assert_equal_trees(self.path("src%d" % number), self.served("in%d" % number))
        running = [
            person.start("pull", self.remote("/in%d" % number), self.path("out%d" % number), "--json")
            for number, person in enumerate(people)
        ]
        for process in running:
            stdout, stderr = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, stdout + stderr)
        for number in range(10):
            self.assert_equal_trees(self.path("src%d" % number), self.path("out%d" % number))

    def test_another_clients_target_is_taken_and_the_same_command_takes_over(self):
        file = self.random_file("src/big", 200_000_000)
        other = self.random_file("other/big", 1_000)
        bob = Person(self, "bob")
        self.register(bob, user="bob")
        words = ("push", file, self.remote("/big"))
        first = self.ann.start(*words, "--rate", "50M", "--json")
        wait_until(lambda: self.durable_blocks(self.daemon.state), "the first to be under way")
        self.check(self.push(other, self.remote("/big"), person=bob), 1, "TRANSFER_ACTIVE")
        second = self.check(self.ann.json(*words), 0)
        self.assertGreater(second.last["bytes_resumed"], 0)
        stdout, _ = first.communicate(timeout=60)
        self.assertEqual(first.returncode, 1, stdout)
        self.assertIn(b"TRANSFER_ACTIVE", stdout.splitlines()[-1])
        self.assertEqual(sha256_file(file), sha256_file(self.served("big")))

    def test_a_daemon_that_is_full_is_asked_again_until_it_has_room_or_the_time_is_up(self):
        self.daemon.stop()
        config = self.path("one.toml")
        with open(config, "w") as out:
            out.write("transfers_max = 1\n")
        self.daemon = self.serve(extra=("--config", config), listen=self.daemon.address)
        holder = self.start_until_bytes_flow("8M", "push", self.random_file("long", 200_000_000), self.remote("/long"))
        file = self.random_file("short", 100_000)

        late = self.check(self.push(file, self.remote("/late"), "--connect-timeout", "3s"), 3, "SERVER_BUSY")
        self.assertTrue(late.last["retryable"], late)
        self.check(self.ann.json("ls", self.remote("/")), 0)

        patient = self.ann.start("push", file, self.remote("/patient"), "--connect-timeout", "1h", "--json")
        self.addCleanup(patient.kill)
        for line in patient.stdout:
            said = json.loads(line)
            if said["event"] == "reconnecting":
                break
        self.assertEqual((said["event"], said.get("name")), ("reconnecting", "SERVER_BUSY"))
        holder.send_signal(signal.SIGINT)
        holder.communicate(timeout=PATIENCE)
        said, errors = patient.communicate(timeout=PATIENCE)
        self.assertEqual(patient.returncode, 0, said + errors)
        self.assertIn(b"the daemon is busy", errors)
        self.assertEqual(sha256_file(file), sha256_file(self.served("patient")))

    def test_garbage_on_the_udp_port_is_never_answered_and_harms_nobody(self):
        noise = random.Random(7)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.settimeout(0.5)
            for _ in range(2000):
                stranger.sendto(noise.randbytes(noise.randrange(0, 1500)), ("127.0.0.1", self.daemon.port))
            with self.assertRaises(socket.timeout):
                stranger.recv(2048)
        file = self.random_file("blob", 100_000)
        self.check(self.push(file, self.remote("/blob")), 0)


class Lossy(LabTest):
    """Through a relay that loses, repeats, reorders and spoils datagrams."""

    with_daemon = False

    def serve_behind(self, *luck):
        port = free_port()
        relay, outer = self.relay_to(port, *luck)
        self.daemon = self.serve(listen="127.0.0.1:%d" % port, extra=("--udp-advertise", "127.0.0.1:%d" % outer))
        self.register(self.ann)
        return relay

    def test_the_same_bytes_arrive_whatever_the_network_does(self):
        self.serve_behind(
            "--delay", "5ms", "--loss", "10%", "--reorder", "5%", "--reorder-delay", "8ms", "--duplicate", "5%",
            "--corrupt", "1%", "--seed", "11",
        )
        for number in range(20):
            self.random_file("tree/%d" % number, 70_001 * number)
        done = self.check(self.push(self.path("tree"), self.remote("/tree")), 0).last
        self.assert_equal_trees(self.path("tree"), self.served("tree"))
        self.assertGreater(done["packets_lost"], 0)
        self.check(self.pull(self.remote("/tree"), self.path("back")), 0)
        self.assert_equal_trees(self.path("tree"), self.path("back"))

    def test_no_udp_at_all_is_said_so_where_nothing_else_is_allowed(self):
        relay = self.serve_behind()
        relay.kill()
        relay.wait()
        file = self.random_file("blob", 1_000_000)
        self.check(self.push(file, self.remote("/blob"), "--data", "udp"), 3, "UDP_BLOCKED")
        self.assertFalse(os.path.exists(self.served("blob")))
        self.check(self.ann.json("ls", self.remote("/")), 0)

    def test_nothing_durable_for_the_allowed_time_ends_with_9(self):
        relay = self.serve_behind()
        relay.kill()
        relay.wait()
        file = self.random_file("blob", 1_000_000)
        self.check(self.push(file, self.remote("/blob"), "--data", "udp", "--timeout", "3s"), 9, "TIMED_OUT")


if __name__ == "__main__":
    unittest.main()
