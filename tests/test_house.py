"""Protects the house of DESIGN.md: which room may import which, fast imports without torch, files of one idea, ASCII."""

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tony"
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = {path.parent.relative_to(SOURCE).parts[0] for path in FILES if path.parent != SOURCE}

# DESIGN.md section 3, last column. What a room may import, the rooms behind it may be imported with: a codec's parts are
# `media`, for whoever may import `tokens`.
MAY_IMPORT = {
    "media": set(),
    "tokens": {"media"},
    "runs": set(),
    "model": set(),
    "mup": set(),
    "projections": set(),
    "sandbox": set(),
    "data": {"tokens", "media", "runs"},
    "engine": {"model", "tokens", "projections", "runs"},  # runs: tony.load opens a run folder
    "train": {"data", "tokens", "model", "mup", "runs"},
    "evals": {"engine", "sandbox", "data", "runs"},
    "search": {"engine", "data", "runs"},
    "tune": {"train", "mup", "runs"},
    "forecast": {"train", "runs"},
    "card": {"runs"},
    "serve": {"engine", "runs"},
}
EVERYWHERE = {"errors", "atomic"}
LONGEST = 400


def allowed(room):
    """The rooms that `room` may import, those behind them included."""
    found, fresh = {room}, [room]
    while fresh:
        new = MAY_IMPORT[fresh.pop()] - found
        found |= new
        fresh += new
    return found


def imports(tree, path):
    """(module, imported names, line) of every import of tony in a file, wherever in the file it stands."""
    package = ("tony", *path.parent.relative_to(SOURCE).parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "tony":
                    yield tuple(alias.name.split(".")), (), node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            if module[:1] == ("tony",):
                yield module, tuple(alias.name for alias in node.names), node.lineno


def rooms_of(module, names):
    """The rooms that an import reaches; `from tony import X` reaches each X."""
    return {module[1]} if len(module) > 1 else {name for name in names if name in ROOMS | EVERYWHERE}


def test_the_table_is_no_circle():
    for room in MAY_IMPORT:
        assert all(room not in allowed(other) for other in MAY_IMPORT[room])
    assert set(MAY_IMPORT) | {"cli"} >= ROOMS, "a room that the table does not know"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_as_the_table_says(path):
    room = path.relative_to(SOURCE).parts[0]
    for module, names, line in imports(ast.parse(path.read_text()), path):
        for target in rooms_of(module, names) - EVERYWHERE:
            where = f"{path.relative_to(SOURCE)}:{line} imports tony.{target}"
            if room == "cli":
                continue
            assert target != "cli", f"{where}: nobody imports the command line"
            if room in MAY_IMPORT:
                assert target in allowed(room), where


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nobody_reads_another_rooms_private_names(path):
    room = path.relative_to(SOURCE).parts[0]
    for module, names, line in imports(ast.parse(path.read_text()), path):
        if rooms_of(module, names) != {room}:
            private = [name for name in (*module, *names) if name.startswith("_") and name != "__version__"]
            assert not private, f"{path.name}:{line} imports {private}"


def test_the_check_itself_finds_a_wrong_import():
    """Broken on purpose: both forms of import, absolute and relative, are seen."""
    path = SOURCE / "media" / "kinds.py"
    code = "import tony.serve.app\nfrom tony import engine\nfrom ..train import loop\nfrom . import files\n"
    found = [rooms_of(module, names) for module, names, _ in imports(ast.parse(code), path)]
    assert found == [{"serve"}, {"engine"}, {"train"}, {"media"}]
    assert not allowed("media") & {"serve", "engine", "train"}


def seconds(code):
    """The best of three runs of `code` in a fresh interpreter, in processor time so that a busy machine is no failure."""
    best, out = float("inf"), ""
    for _ in range(3):
        began = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        best = min(best, sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - began)
        assert done.returncode == 0, done.stderr
        out = done.stdout
    return best, out


HEAVY = "print([m for m in ('torch', 'sklearn', 'scipy', 'transformers', 'matplotlib') if m in __import__('sys').modules])"


@pytest.mark.parametrize("module", ["tony", "tony.media", "tony.runs", "tony.cli"])
def test_light_rooms_import_no_torch(module):
    out = subprocess.run(
        [sys.executable, "-c", f"import {module}\n{HEAVY}"], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_import_tony_is_fast():
    best, out = seconds(f"import tony\n{HEAVY}")
    assert best < 0.3 and out.strip() == "[]"


def test_tony_help_is_fast():
    """`tony --help` as the console script runs it."""
    code = f"import sys; sys.argv = ['tony', '--help']\nfrom tony.cli import main\ntry: main()\nexcept SystemExit: {HEAVY}"
    best, out = seconds(code)
    assert "Usage" in out and out.strip().endswith("[]")
    assert best < 0.3


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_have_one_idea_and_are_ascii(path):
    text = path.read_bytes()
    assert text.isascii(), "source is ASCII: write \\u escapes"
    assert len(text.splitlines()) <= LONGEST
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(text)), "a file says at its top what it is for"
