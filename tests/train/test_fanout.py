"""Protects the fan-out: every job once, so many at a time, errors in one line, and no process outlives the one that began it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tony.errors import TonyError
from tony.train.fanout import in_processes, with_ray


def note(folder, name):
    """Begin and end, as lines of a file of its own."""
    began = time.time()
    time.sleep(0.6)
    (folder / name).write_text(f"{began} {time.time()} {os.getpid()}")


def refuse(folder, name):
    raise TonyError(f"{name}: cannot be done. Do another")


def stumble(folder, name):
    return 1 / 0


def die(folder, name):
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_job_once_and_so_many_at_a_time(tmp_path):
    seen = []
    in_processes(
        note, [(tmp_path, str(i)) for i in range(4)], 2, lambda: seen.append(len(list(tmp_path.iterdir())))
    )
    spans = [tuple(map(float, (tmp_path / str(i)).read_text().split())) for i in range(4)]
    assert len({pid for *_, pid in spans} | {os.getpid()}) == 5
    most = max(sum(a <= began < b for a, b, _ in spans) for began, *_ in spans)
    assert most == 2
    assert seen[-1] == 4  # show is called a last time after the last job


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (refuse, "b: cannot be done. Do another"),
        (die, "ended with status -9"),
        (stumble, "a worker failed, as the traceback above says: ZeroDivisionError"),
    ],
)
def test_a_job_that_fails_ends_the_others(tmp_path, job, said):
    with pytest.raises(TonyError, match=said):
        in_processes(job, [(tmp_path, "b"), (tmp_path, "c")], 1)
    assert not list(tmp_path.iterdir())


def test_processes_end_with_the_one_that_began_them(tmp_path):
    program = (
        "import time, sys, os; from pathlib import Path; from tony.train.fanout import in_processes\n"
        "def sleep(path):\n    Path(path).write_text(str(os.getpid())); time.sleep(60)\n"
        "if __name__ == '__main__': in_processes(sleep, [(sys.argv[1],)], 1)\n"
    )
    file, pid = tmp_path / "program.py", tmp_path / "pid"
    file.write_text(program)
    with subprocess.Popen([sys.executable, str(file), str(pid)]) as began:
        for _ in range(200):
            if pid.is_file() and pid.read_text():
                break
            time.sleep(0.1)
        began.kill()
    child = int(pid.read_text())
    for _ in range(50):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail(f"process {child} lives on")


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TonyError, match=r"tony-omni\[ray\]"):
        with_ray(note, [(tmp_path, "a")], "local")


@pytest.mark.slow
def test_ray_does_every_job_and_says_what_failed(tmp_path):
    pytest.importorskip("ray")
    with_ray(note, [(tmp_path, str(i)) for i in range(3)], "local")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
    with pytest.raises(TonyError, match=r"b: cannot be done\. Do another"):
        with_ray(refuse, [(tmp_path, "b")], "local")
