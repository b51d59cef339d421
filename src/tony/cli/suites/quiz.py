"""What `tony eval MODEL quiz` does: make the items, serve the page; and with --results, count the answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tony.errors import TonyError

if TYPE_CHECKING:
    from tony.evals.quiz import Settings


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of the command line, as they were written."""

    model: str
    texts: Path | None
    control: str | None
    first: int | None
    words: int
    temperature: str | None
    top_p: float
    seed: int
    precision: str
    port: int
    results: bool
    out: Path | None
    as_json: bool


def run(asked: Asked) -> None:
    """Make what is missing of the quiz and serve it until Ctrl-C, or show its results."""
    from tony.cli.models import evals_of, find_model
    from tony.cli.show import print_json
    from tony.evals.quiz import Answers, Quiz, read_items
    from tony.evals.quiz.answers import FILE
    from tony.evals.quiz.items import digest
    from tony.serve.quiz import create_quiz_app
    from tony.serve.server import hosts_of, reserve, run_server

    folder = asked.out or evals_of(find_model(asked.model))
    if asked.results:
        show_results(folder, asked.as_json)
        return
    sock = reserve("127.0.0.1", asked.port)
    if asked.texts is not None:
        make(asked, asked.texts, folder)
    head, items = read_items(folder)
    quiz = Quiz(items, Answers(folder / FILE, digest(head)), head["settings"]["seed"])

    def ready(address: str) -> None:
        if asked.as_json:
            print_json(
                {"url": address, "model": head["model"], "control": head["control"], "items": len(items)}
            )
        else:
            print(f"The quiz of {len(items)} texts is open on {address} (Ctrl-C ends it)", flush=True)

    run_server(create_quiz_app(quiz, hosts_of(sock, "127.0.0.1")), sock, ready)


def make(asked: Asked, texts: Path, folder: Path) -> None:
    """Write the items that are missing. A quiz that has been answered is not replaced by another."""
    from tony.cli.models import find_model
    from tony.cli.progress import reporting
    from tony.engine.exchange.folder import load_language_model
    from tony.engine.text import TextEngine
    from tony.evals.fewshot.evaluate import fingerprint
    from tony.evals.quiz import Answers, choose, make_items, read_passages
    from tony.evals.quiz.answers import FILE
    from tony.evals.quiz.items import digest, quiz_head
    from tony.evals.quiz.writer import EngineWriter
    from tony.model.machine import prepare_threads

    settings = settings_of(asked)
    passages = choose(read_passages(texts, settings.words), asked.first or 24, settings.seed)
    prepare_threads()
    source = load_language_model(find_model(asked.model))
    other = source if asked.control is None else load_language_model(find_model(asked.control))
    sources = {
        "model": source.name,
        "control": f"{other.name} without the opening, temperature {settings.control_temperature:g}",
        "fingerprint": fingerprint(source),
        "control_fingerprint": fingerprint(other),
        "precision": asked.precision,
    }
    if (folder / FILE).exists():
        Answers(folder / FILE, digest(quiz_head(passages, settings, sources)))  # refuses another quiz's
    engine = TextEngine.of(source, precision=asked.precision)
    control = engine if other is source else TextEngine.of(other, precision=asked.precision)
    with reporting() as (report, _):
        make_items(
            passages,
            EngineWriter(engine, settings.temperature, settings.top_p),
            EngineWriter(control, settings.control_temperature, reads_opening=False),
            settings, sources, folder,
            progress=lambda done, total: report("writing texts", done, total),
        )  # fmt: skip


def settings_of(asked: Asked) -> Settings:
    from tony.cli.numbers import read_numbers
    from tony.engine.packed import PRECISIONS
    from tony.evals.quiz import Settings

    if asked.precision not in PRECISIONS:
        raise TonyError(f"--precision {asked.precision}: use {', '.join(PRECISIONS)}")
    temperatures = read_numbers("temperature", asked.temperature or "1", float, 0.0, "1.0")
    if len(temperatures) > 1:
        raise TonyError(f"--temperature {asked.temperature}: one number is expected")
    return Settings(words=asked.words, temperature=temperatures[0], top_p=asked.top_p, seed=asked.seed)


def show_results(folder: Path, as_json: bool) -> None:
    """Mean accuracy for the model beside the control's, from the answers so far."""
    from tony.cli.show import print_json
    from tony.cli.show_quiz import print_quiz
    from tony.evals.quiz import Answers, read_items, write_score
    from tony.evals.quiz.answers import FILE
    from tony.evals.quiz.items import digest

    head, _ = read_items(folder)
    result = write_score(folder, head, Answers(folder / FILE, digest(head)).by_participant())
    if as_json:
        print_json(result)
    else:
        print_quiz(result)
