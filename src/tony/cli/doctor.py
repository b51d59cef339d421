"""`tony doctor`: what this machine can do."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="print the findings as JSON and nothing else")
    ] = False,
) -> None:
    """Say what this machine has: devices, precision, compiler, speech, browser, and the layers that confine programs."""
    from tony.cli.show import print_json
    from tony.model.machine import describe_machine
    from tony.sandbox import describe_layers

    findings = describe_machine() | describe_layers()
    if as_json:
        print_json(findings)
        return
    for name, value in findings.items():
        print(f"{name:<16} {value}")
