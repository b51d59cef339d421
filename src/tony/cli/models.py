"""The model that a verb is given by name: where it is, where its evaluations go, how it is imported."""

from __future__ import annotations

from pathlib import Path


def find_model(name: str) -> Path:
    """The folder or file of a model, which may be named as in runs/; one that ships in a package is imported into runs/NAME.

    Raises:
        TonyError: there is nothing of that name.
    """
    from tony.engine.exchange.packages import PACKAGES
    from tony.errors import TonyError

    path, run = Path(name), Path("runs") / name
    if path.exists():
        return path
    if name in PACKAGES:
        if not (run / "import.json").is_file():
            import_model(name, run)
        return run
    if run.exists():
        return run
    raise TonyError(f"{name}: no such model. Give a run folder, an imported model, or {', '.join(PACKAGES)}")


def evals_of(model: Path) -> Path:
    """The folder of the evaluations of a model: evals/ in its folder, or NAME.evals beside its file."""
    return model.with_suffix(".evals") if model.is_file() else model / "evals"


def import_model(source: str, target: Path) -> tuple[str, int]:
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
