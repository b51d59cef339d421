"""Finding tasks by name, by the name of a group, or by the path of a file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from tony.errors import TonyError
from tony.evals.fewshot.tasks import GROUPS
from tony.evals.task import Task


def find_tasks(names: Iterable[str]) -> tuple[list[Task], list[str]]:
    """The tasks that `names` ask for, each once, and a line for each name that brings none.

    A name is a group ("arithmetic"), a task ("2D+") or the path of a Python file that defines TASKS, a list of Task.
    """
    found: dict[str, Task] = {}
    errors: list[str] = []
    for name in names:
        try:
            for task in _of(name):
                found.setdefault(task.name, task)
        except TonyError as error:
            errors.append(str(error))
    return list(found.values()), errors


def _of(name: str) -> list[Task]:
    if name.endswith(".py"):
        return _of_file(Path(name))
    if name in GROUPS:
        return GROUPS[name]()
    for group in GROUPS.values():
        for task in group():
            if task.name == name:
                return [task]
    raise TonyError(
        f"no task {name!r}: use {', '.join(GROUPS)}, one of their tasks, or the path of a .py file"
    )


def _of_file(path: Path) -> list[Task]:
    """The TASKS of somebody's file, which is run: it is trusted as any module that is imported.

    Raises:
        TonyError: it is not there, fails, or defines no tasks.
    """
    if not path.is_file():
        raise TonyError(f"{path}: no such task file")
    spec = importlib.util.spec_from_file_location(f"tony_task_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise TonyError(f"{path}: fails to import ({reason}). Correct the file") from None
    tasks = getattr(module, "TASKS", None)
    if not isinstance(tasks, list | tuple) or not tasks or not all(isinstance(t, Task) for t in tasks):
        raise TonyError(f"{path}: defines no TASKS, a list of tony.evals.task.Task")
    return list(tasks)
