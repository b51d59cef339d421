"""The data of `projections.py`: what ships with scikit-learn and Python packages, and tables of the ISLP wheel.

Nothing is stored in the repository. The ISLP wheel (data of the book "An Introduction to Statistical Learning")
is fetched by name and version with pip and opened as an archive; no code of it runs.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import importlib.util
import io
import re
import subprocess
import sys
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

CACHE = Path.home() / ".cache" / "tony" / "wheels"
ISLP = ("islp", "0.6.0", "ca772cecca1747a2f84ee799a5503ddddbdf0e98f90c235494790c1d036c694b")
PACKAGES = ("numpy", "scipy", "sklearn", "pandas")
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 64) pixels in [0, 1] and the digit."""
    pixels, label = load_digits(return_X_y=True)
    return pixels / 16, label


def class_weights(pixels: np.ndarray, label: np.ndarray, count: int = 400) -> np.ndarray:
    """(count, 64) ridge regressors of one digit against the rest, each on a bootstrap of 150 rows."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        picked = rng.integers(0, len(pixels), 150)
        x, goal = pixels[picked], np.where(label[picked] == rng.integers(10), 1.0, -1.0)
        rows.append(np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ goal))
    return np.array(rows)


@lru_cache
def functions() -> tuple[list[str], list[str]]:
    """First paragraphs of docstrings, and the bodies of their functions, from the sources of installed packages."""
    notes, bodies, seen = [], [], set()
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        for path in sorted(Path(found.origin).parent.rglob("*.py")) if found else ():
            try:
                source = path.read_text(encoding="utf-8")
                tree = ast.parse(source)
            except (SyntaxError, UnicodeDecodeError):
                continue
            lines = source.splitlines()
            for node in ast.walk(tree):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                note = ast.get_docstring(node)
                if not note or len(note) < 60 or len(node.body) < 2:
                    continue
                note = note.split("\n\n")[0]
                inside = node.body[0]  # the docstring; the signature stays
                body = "\n".join(
                    lines[node.lineno - 1 : inside.lineno - 1] + lines[inside.end_lineno : node.end_lineno]
                )
                if len(note.split()) >= 4 and len(body) >= 200 and (note, body) not in seen:
                    seen.add((note, body))
                    notes.append(note)
                    bodies.append(body)
    return notes, bodies


def tfidf_pairs(width: int, pairs: int = 6000):
    """(docstrings, bodies): CSR (pairs, width), sublinear TF-IDF over the `width` most common words of both."""
    notes, bodies = functions()
    picked = np.random.default_rng(0).permutation(len(notes))[:pairs]
    notes, bodies = [notes[i] for i in picked], [bodies[i] for i in picked]
    vectorizer = TfidfVectorizer(
        tokenizer=lambda text: [word.lower() for word in WORDS.findall(text)],
        token_pattern=None,
        lowercase=False,
        sublinear_tf=True,
        max_features=width,
    ).fit(notes + bodies)
    return vectorizer.transform(notes), vectorizer.transform(bodies)


def quadratic(features: np.ndarray) -> np.ndarray:
    """Standardised features, their squares and their products; standardised again, constants left out."""
    wide = PolynomialFeatures(2, include_bias=False).fit_transform(StandardScaler().fit_transform(features))
    wide = wide[:, wide.std(axis=0) > 1e-9]
    return StandardScaler().fit_transform(np.unique(wide.round(12), axis=1))


def islp(table: str, target: str) -> tuple[np.ndarray, np.ndarray]:
    """All numeric columns of a table of the ISLP wheel but `target`, and `target`; incomplete rows left out."""
    name, version, expected = ISLP
    CACHE.mkdir(parents=True, exist_ok=True)
    wheel = CACHE / f"{name}-{version}-py3-none-any.whl"
    if not wheel.exists():
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run(
            [*fetch, "--dest", str(CACHE), f"{name}=={version}"], check=True, stderr=subprocess.DEVNULL
        )
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != expected:
        raise OSError(f"{wheel} is not the archive that was measured: delete it and run again")
    with zipfile.ZipFile(wheel) as archive, archive.open(f"ISLP/data/{table}.csv") as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file)))
    keys = [key for key in rows[0] if key not in ("", "ID", target) and any(number(row[key]) for row in rows)]
    rows = [row for row in rows if all(number(row[key]) for key in (*keys, target))]
    values = np.array([[float(row[key]) for key in (*keys, target)] for row in rows])
    return values[:, :-1], values[:, -1]


def number(text: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9]*[.]?[0-9]+", text) is not None


def regressions() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Features and targets of real regression problems; a set that cannot be fetched is left out with a word."""
    pixels, _ = digits()
    x, y = load_diabetes(return_X_y=True)
    found = {"diabetes, quadratic": (quadratic(x), y)}
    found["digits: lower half from upper half"] = (pixels[:, :32], pixels[:, 32:])
    cells = load_breast_cancer().data
    found["breast cancer: worst area, quadratic"] = (quadratic(cells[:, :20]), cells[:, 23])
    tables = (
        ("College", "Outstate"),
        ("Auto", "mpg"),
        ("Hitters", "Salary"),
        ("Carseats", "Sales"),
        ("Credit", "Balance"),
    )
    for table, target in tables:
        try:
            x, y = islp(table, target)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"left out: {table} of ISLP ({error})", flush=True)
            break
        found[f"{table}: {target}, quadratic"] = (quadratic(x), y)
    return found
