"""The command line: verbs, errors in one line, and the settings that must be made before torch loads."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from tony import __version__
from tony.cli import chat, doctor, evaluate, exchange, forecast, search, serve, train, tune, up
from tony.errors import TonyError

app = typer.Typer(
    name="tony",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: importing Rich for it costs a third of the time
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"tony {__version__}")
        raise typer.Exit


@app.callback()
def tony(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Train one network on text, pictures, sound and video; measure it; talk to it."""


app.command("up")(up.up)
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.add_typer(forecast.app, name="forecast")
app.command("eval")(evaluate.evaluate)
app.command("serve")(serve.serve)
app.command("chat")(chat.chat)
app.command("search")(search.search)
app.command("export")(exchange.export)
app.command("import")(exchange.import_)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the verb; a TonyError is one line on standard error and exit status 2."""
    # OpenMP reads these when torch loads. Spinning threads on shared cores cost up to ten times the time of a step.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        app()
    except TonyError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("tony: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        # A full disk or a missing permission met outside the places that name their own remedy.
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}. Make room or correct the permission")


def _fail(message: str) -> None:
    print(f"tony: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
