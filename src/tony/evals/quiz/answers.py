"""The answers of participants, in SQLite: one an item, each in a transaction of its own."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tony.errors import TonyError
from tony.evals.quiz.deal import Shown

FILE = "quiz.sqlite"
NEUTRAL = 3  # "I don't know", on a scale from 1 (very likely human) to 5 (very likely machine)

_TABLES = """
CREATE TABLE quiz (digest TEXT NOT NULL);
CREATE TABLE participants (number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE);
CREATE TABLE answers (
    participant INTEGER NOT NULL REFERENCES participants,
    item INTEGER NOT NULL,
    arm TEXT NOT NULL,
    is_machine INTEGER NOT NULL,
    rating INTEGER NOT NULL CHECK (rating BETWEEN 1 AND 5),
    answered REAL NOT NULL,  -- seconds since 1970
    PRIMARY KEY (participant, item)
);
"""


@dataclass(frozen=True)
class Answer:
    """What a participant said of a text.

    Attributes:
        arm: "model" or "control".
        is_machine: whether the arm's machine wrote it.
        rating: 1 very likely human, 2 more likely human, 3 don't know, 4 more likely machine, 5 very likely machine.
    """

    arm: str
    is_machine: bool
    rating: int

    @property
    def is_right(self) -> bool | None:
        """None for "I don't know"."""
        return None if self.rating == NEUTRAL else (self.rating > NEUTRAL) == self.is_machine


class Answers:
    """The database of one quiz, made where there is none.

    A connection lives for one call, so any thread may call.

    Args:
        path: of the file.
        quiz: which quiz its answers are to.

    Raises:
        TonyError: the file is damaged, or its answers are to another quiz.
    """

    def __init__(self, path: Path, quiz: str) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._connection() as db:
                healthy = db.execute("PRAGMA quick_check").fetchone()[0]
                if healthy != "ok":
                    raise sqlite3.DatabaseError(healthy)
                if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    db.executescript(
                        f"BEGIN IMMEDIATE; {_TABLES} INSERT INTO quiz VALUES ('{quiz}'); COMMIT;"
                    )
                if not db.execute("SELECT count(*) FROM answers").fetchone()[0]:  # nothing to lose
                    db.execute("UPDATE quiz SET digest = ?", (quiz,))
                (found,) = db.execute("SELECT digest FROM quiz").fetchone() or (None,)
                db.execute("SELECT token FROM participants, answers LIMIT 1")
        except sqlite3.Error as error:
            raise TonyError(
                f"{path}: cannot be read as the answers of a quiz ({error}). Restore a copy, or move it away to begin anew"
            ) from None
        if found != quiz:
            raise TonyError(
                f"{path}: these are answers to another quiz (other texts, model or settings). "
                f"Keep that one by giving --out another folder, or move the file away"
            )

    def begin(self) -> str:
        """A new participant; the token that they are known by tells nothing about what they will be shown."""
        token = secrets.token_urlsafe(16)
        with self._connection() as db:
            db.execute("INSERT INTO participants (token) VALUES (?)", (token,))
        return token

    def find(self, token: str) -> tuple[int, int] | None:
        """The number of a participant (from 1) and how many answers they gave; None for a token not given out."""
        with self._connection() as db:
            return db.execute(
                "SELECT number, (SELECT count(*) FROM answers WHERE participant = number) "
                "FROM participants WHERE token = ?", (token,)
            ).fetchone()  # fmt: skip

    def add(self, participant: int, shown: Shown, rating: int) -> bool:
        """Keep an answer; an item that was answered keeps its first one (False)."""
        row = (participant, shown.item, shown.arm, shown.is_machine, rating, time.time())
        with self._connection() as db:
            return db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row).rowcount == 1

    def by_participant(self) -> dict[int, list[Answer]]:
        """All answers, participants who gave none included."""
        with self._connection() as db:
            out: dict[int, list[Answer]] = {
                number: [] for (number,) in db.execute("SELECT number FROM participants")
            }
            rows = db.execute("SELECT participant, arm, is_machine, rating FROM answers ORDER BY answered")
            for number, arm, is_machine, rating in rows:
                out[number].append(Answer(arm, bool(is_machine), rating))
        return out

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection whose statements are one transaction, undone where one fails."""
        with closing(sqlite3.connect(self.path, timeout=10)) as db, db:
            yield db
