"""The words of a link, as tests/unit/netem/link_words_test.cpp has them for the C++ reader: one grammar, two readers."""

import unittest

from labkit import words
from labkit.errors import UsageError
from labkit.words import Link, read_pairs, set_pairs

MS = 1_000_000


class Numbers(unittest.TestCase):
    def refuses(self, read, *texts):
        for text in texts:
            with self.subTest(text=text), self.assertRaises(UsageError):
                read(text)

    def test_durations_are_exact_and_need_a_unit(self):
        self.assertEqual(words.read_duration("50ms"), 50 * MS)
        self.assertEqual(words.read_duration("1.5us"), 1500)
        self.assertEqual(words.read_duration("0.000000001s"), 1)
        self.assertEqual(words.read_duration("0"), 0)
        self.refuses(words.read_duration, "", "50", "-1ms", "1.ms", ".5ms", "5 ms", "1.0000000001s", "99999999999999999999s", "86401s")

    def test_a_duration_is_written_as_it_is_read(self):
        for ns in (0, 1, 999, 15_000_000_000, 86_400_000_000_000):
            self.assertEqual(words.read_duration(words.text_of_duration(ns)), ns)

    def test_rates_are_decimal_bits_and_never_zero(self):
        self.assertEqual(words.read_rate("500mbit"), 500_000_000)
        self.assertEqual(words.read_rate("1.5gbit"), 1_500_000_000)
        self.assertEqual(words.read_rate("64k"), 64_000)
        self.refuses(words.read_rate, "0", "0mbit", "5", "1tbit", "1001gbit", "mbit", "10000000000bit")

    def test_shares_are_exact_and_at_most_all(self):
        self.assertEqual(words.read_share("1%"), 10_000_000)
        self.assertEqual(words.read_share("0.0000001%"), 1)
        self.assertEqual(words.read_share("250ppm"), 250_000)
        self.assertEqual(words.read_share("100%"), words.CERTAIN)
        self.refuses(words.read_share, "100.1%", "0.5", "1٪", "١%")


class Links(unittest.TestCase):
    def test_a_burst_needs_p_and_r(self):
        burst = set_pairs(Link(), read_pairs("burst-loss=1%,20%")).burst
        self.assertEqual((burst.loss_in_bad, burst.loss_in_good), (words.CERTAIN, 0))
        self.assertAlmostEqual(burst.loss, 1 / 21)
        for bad in ("burst-loss=1%", "burst-loss=1%,2%,3%,4%,5%"):
            with self.subTest(bad), self.assertRaises(UsageError):
                set_pairs(Link(), read_pairs(bad))

    def test_a_queue_is_bytes_packets_or_bandwidth_delay_products(self):
        link = Link(delay_ns=25 * MS, rate_bps=100_000_000)

        def queue(text):
            changed = set_pairs(link, (("queue", text),))
            return changed.queue_bytes, changed.queue_packets

        self.assertEqual(queue("64KiB"), (65536, None))
        self.assertEqual(queue("200p"), (None, 200))
        self.assertEqual(queue("0.5bdp"), (312_500, None))
        self.assertEqual(queue("0.0001bdp"), (3000, None))
        for bad in ("0", "0p", "0.5p", "1furlong", "65GiB"):
            with self.subTest(bad), self.assertRaises(UsageError):
                queue(bad)
        with self.assertRaises(UsageError):
            set_pairs(Link(), (("queue", "1bdp"),))

    def test_the_queue_is_set_after_what_it_depends_on(self):
        link = set_pairs(Link(), read_pairs("queue=1bdp,rate=8mbit,delay=500ms,burst-loss=1%,20%,loss=2%"))
        self.assertEqual(link.queue_bytes, 1_000_000)
        self.assertEqual(link.burst.to_good, 200_000_000)
        self.assertEqual(link.loss, 20_000_000)

    def test_a_policer_is_a_rate_and_a_burst_in_bytes_or_bandwidth_delay_products_of_that_rate(self):
        link = Link(delay_ns=25 * MS, rate_bps=1_000_000_000)

        def policer(text):
            return set_pairs(link, (("police", text),)).policer

        self.assertEqual(policer("50mbit,64KiB"), words.Policer(50_000_000, 65536))
        self.assertEqual(policer("100mbit,0.5bdp"), words.Policer(100_000_000, 312_500))
        for bad in ("", "50mbit", "50mbit,", ",64KiB", "50mbit,0", "50mbit,10p", "0,64KiB", "50mbit,1KiB,1KiB"):
            with self.subTest(bad), self.assertRaises(UsageError):
                policer(bad)
        with self.assertRaisesRegex(UsageError, "needs a delay"):
            set_pairs(Link(), (("police", "50mbit,1bdp"),))
        late = set_pairs(Link(), read_pairs("police=8mbit,1bdp,delay=500ms"))
        self.assertEqual(late.policer, words.Policer(8_000_000, 1_000_000))
        self.assertIsNone(set_pairs(late, read_pairs("police=none")).policer)

    def test_every_word_can_be_set_and_refuses_nonsense(self):
        for text in (
            "delay=1ms", "jitter=1ms", "jitter-order=free", "loss=1%", "burst-loss=1%,2%", "loss-placement=before", "rate=1mbit",
            "rate=none", "queue=5p", "mark=64KiB", "police=1mbit,64KiB", "reorder=1%", "reorder-delay=2ms", "duplicate=1%", "corrupt=1%",
            "mtu=1500", "overhead=28", "down=yes",
        ):
            with self.subTest(text):
                before = Link(rate_bps=2_000_000)
                self.assertNotEqual(set_pairs(before, read_pairs(text)), before)
                with self.assertRaises(UsageError):
                    set_pairs(before, ((text.partition("=")[0], "x"),))

    def test_an_unknown_word_is_refused_by_name(self):
        with self.assertRaisesRegex(UsageError, "colour"):
            set_pairs(Link(), read_pairs("loss=9%,colour=red"))

    def test_pairs_are_written_as_they_are_read(self):
        pairs = read_pairs("burst-loss=1%,20%,loss=2%")
        self.assertEqual(read_pairs(words.text_of(pairs)), pairs)
        for bad in ("", "loss", ",loss=1%"):
            with self.subTest(bad), self.assertRaises(UsageError):
                read_pairs(bad)
