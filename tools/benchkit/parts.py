"""`tools/bench parts`: what single parts cost, by Google Benchmark; see tools/benchmarks/README.md."""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from labkit import LabError

from .figures import Figures
from .results import Results, machine, table
from .rounds import say

_HOUSE = Path(__file__).resolve().parents[2]
_PROGRAM = "penstock_bench_parts"


def parts(options: argparse.Namespace) -> Results:
    """Builds the program in its build directory, runs it, and reads what it measured."""
    build = options.build
    if not (build / "CMakeCache.txt").is_file():
        raise LabError(f"{build} is no build directory; make it with: cmake --preset release")
    say(f"building {_PROGRAM}")
    if subprocess.run(["cmake", "--build", str(build), "--target", _PROGRAM], stdout=subprocess.DEVNULL, check=False).returncode != 0:
        raise LabError(
            f"{_PROGRAM} can not be built in {build}: it wants libbenchmark-dev and liburing-dev (tools/bootstrap --all), and then"
            " cmake --preset release once more"
        )
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as place:
        out = Path(place) / "parts.json"
        words = [f"--benchmark_out={out}", "--benchmark_out_format=json", f"--benchmark_repetitions={options.runs}"]
        words += ["--benchmark_enable_random_interleaving=true", f"--benchmark_min_time={options.seconds}"]
        if options.filter:
            words.append(f"--benchmark_filter={options.filter}")
        done = subprocess.run([str(build / "bin" / _PROGRAM), *words], stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise LabError(f"{_PROGRAM} ended with {done.returncode}")
        told = json.loads(out.read_text(encoding="utf-8"))
    about = {**machine(), "runs": str(options.runs)}
    return Results("parts", figures_of(told), about)


def figures_of(told: dict[str, Any]) -> Figures:
    """Google Benchmark's JSON: every repetition is a sample; times become nanoseconds, rates GB/s and millions/s. What
    failed is left out. `ns` is processor time, which what else is awake hardly moves; of parts with several threads it is
    the clock's, and `cpu_ns` what all of them took together."""
    scale = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
    figures: Figures = {}
    for item in told["benchmarks"]:
        if item.get("run_type") == "aggregate" or item.get("error_occurred"):
            continue
        series = figures.setdefault(item.get("run_name", item["name"]), {})
        clock = "/real_time" in item["name"]
        series.setdefault("ns", []).append(item["real_time" if clock else "cpu_time"] * scale[item["time_unit"]])
        if clock:
            series.setdefault("cpu_ns", []).append(item["cpu_time"] * scale[item["time_unit"]])
        for theirs, ours, unit in (("bytes_per_second", "bytes_s", 1e9), ("items_per_second", "items_s", 1e6)):
            if theirs in item:
                series.setdefault(ours, []).append(item[theirs] / unit)
    return dict(sorted(figures.items()))  # they ran in any order


def show(results: Results) -> str:
    """As text for a terminal."""
    about = results.about
    head = f"Parts, {about['runs']} runs each, {about['machine']}, commit {about['commit']}"
    return f"{head}\n\n{table(results.figures, ['ns', 'cpu_ns', 'bytes_s', 'items_s'])}"
