"""`tony doctor`: what this machine can do."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="print the findings as JSON and nothing else")
    ] = False,
) -> None:
    """Say what this machine has: devices, precision, compiler, speech, browser."""
    from tony.cli.show import print_json
    from tony.model.machine import describe_machine

    findings = describe_machine()
    if as_json:
        print_json(findings)
        return
    for name, value in findings.items():
        print(f"{name:<16} {value}")
