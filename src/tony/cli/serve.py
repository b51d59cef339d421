"""`tony serve MODEL`: the OpenAI-compatible API and the studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def serve(
    model: Annotated[Path, typer.Argument(help="a run folder, such as runs/digits")],
    host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="the port to listen on")] = 8000,
    open_studio: Annotated[
        bool, typer.Option("--open/--no-open", help="open the studio in a browser")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print where it listens as JSON")] = False,
) -> None:
    """Serve a trained model: /v1/models, /v1/chat/completions, /health, and the studio on /."""
    from tony.engine import Omni
    from tony.serve import reserve

    reserved = reserve(host, port)
    open_and_serve(Omni.load(model), model, host, port, reserved, open_studio, as_json)


def open_and_serve(
    omni: Any,
    run_path: Path,
    host: str,
    port: int,
    reserved: Any,
    open_studio: bool = True,
    as_json: bool = False,
) -> None:
    """Serve until Ctrl-C; the address is printed when it answers, and opened in a browser if wished."""
    import webbrowser

    from tony.cli.show import print_json
    from tony.serve import serve as run_server

    def ready(address: str) -> None:
        if as_json:
            print_json({"url": address, "model": omni.name})
        else:
            print(f"The studio is open on {address} (Ctrl-C ends it)", flush=True)
        if open_studio:
            webbrowser.open(address)

    run_server(omni, host, port, run_path=run_path, reserved=reserved, on_ready=ready)
