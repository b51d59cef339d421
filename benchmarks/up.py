"""From the end of the installation to the open studio: time, memory, and the any-to-any table.

    python benchmarks/up.py [recipe] [--runs DIR]

Runs `tony up` as a person would, in an empty runs folder, waits until the studio answers, and then stops it. The last
line is one JSON object; "ok" is true where all figures that are asked of the recipe are reached.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

# What is asked, by the name of the recipe: at most so much, and at least so many right. Memory is asked of the default run.
MOST = {"digits": {"minutes": 15.0, "peak_memory_gb": 4.0}, "digits-long": {"minutes": 60.0}}
LEAST = {
    "digits": {"english_worst": 0.85, "english_mean": 0.92, "others_worst": 0.75, "direction": 0.90},
    "digits-long": {"english_worst": 0.90, "others_worst": 0.90},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_bytes(root: int) -> int:
    """Memory of a process and all its descendants in which a page that several share counts once (PSS)."""
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += 1024 * int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1])
            todo += [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except (OSError, TypeError):
            continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", nargs="?", default="recipes/digits.toml")
    parser.add_argument("--runs", default=None)
    arguments = parser.parse_args()
    if (name := Path(arguments.recipe).stem) not in MOST:
        parser.error(f"nothing is asked of {name}: give one of {', '.join(MOST)}")
    runs = Path(arguments.runs or tempfile.mkdtemp(prefix="tony-up-"))
    port = free_port()
    command = [str(Path(sys.executable).with_name("tony")), "up", "--recipe", arguments.recipe]
    command += ["--runs", str(runs), "--port", str(port)]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | {"BROWSER": "true"})
    peak, peak_at = 0, 0.0

    def watch() -> None:
        nonlocal peak, peak_at
        while process.poll() is None:
            used = resident_bytes(process.pid)
            if used > peak:
                peak, peak_at = used, time.perf_counter() - began
            time.sleep(3)  # reading it stops the processes for a moment

    threading.Thread(target=watch, daemon=True).start()
    try:
        while True:
            if process.poll() is not None:
                sys.exit(f"tony up ended with status {process.returncode}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    break
            except OSError:
                time.sleep(0.5)
        minutes = (time.perf_counter() - began) / 60
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    result = json.loads(next(runs.glob("*/evals/omni.json")).read_text())
    cells = {name: cell["accuracy"] for name, cell in result["cells"].items()}
    others = {
        f"{lang} {name}": c["accuracy"] for lang, t in result["languages"].items() for name, c in t.items()
    }
    figures = {
        "recipe": arguments.recipe,
        "minutes": round(minutes, 2),
        "peak_memory_gb": round(peak / 1e9, 2),
        "peak_at_minute": round(peak_at / 60, 2),
        "english_worst": min(cells.values()),
        "english_worst_cell": min(cells, key=cells.get),
        "english_mean": round(sum(cells.values()) / len(cells), 4),
        "others_worst": min(others.values()),
        "others_worst_cell": min(others, key=others.get),
        "direction": cells["video->direction"],
        "cells": cells,
        "judges": {name: judge["accuracy"] for name, judge in result["judges"].items()},
    }
    figures["ok"] = all(figures[k] <= most for k, most in MOST[name].items()) and all(
        figures[k] >= least for k, least in LEAST[name].items()
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
