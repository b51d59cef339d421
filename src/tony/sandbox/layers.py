"""The layers of isolation: what each is, which are required, and what to do where one is missing."""

from __future__ import annotations

from typing import NamedTuple

from tony.errors import TonyError


class Layer(NamedTuple):
    """One layer.

    Attributes:
        name: its key in results.
        purpose: what it keeps a program from.
        remedy: what to do where the machine lacks it; empty for a layer that is only used where it is there.
    """

    name: str
    purpose: str
    remedy: str = ""

    @property
    def is_required(self) -> bool:
        return bool(self.remedy)


LAYERS = (
    Layer(
        "landlock",
        "files and TCP: only the standard library can be read",
        "use Linux 6.7 or later with Landlock switched on (`landlock` in the boot option lsm=), and a container profile "
        "that permits its calls",
    ),
    Layer(
        "seccomp",
        "system calls: an allow-list; no process, socket or signal to others",
        "use a kernel with CONFIG_SECCOMP_FILTER, on x86-64",
    ),
    Layer(
        "limits",
        "processor, memory, files, descriptors",
        "use a kernel that lets a process lower its own limits",
    ),
    Layer(
        "capabilities",
        "no privilege, and no way to get one",
        "start as an ordinary user, or as root with CAP_SETPCAP",
    ),
    Layer(
        "environment",
        "no variable of the caller's is handed on",
        "report this: the environment should always be empty",
    ),
    Layer("namespaces", "a process tree, network, ipc and host name of its own"),
    Layer("view", "a file tree in which nothing else can even be seen"),
    Layer("user", "not root: a user who owns no file"),
)
FLAG = "--allow-missing-isolation"


class Report(NamedTuple):
    """What a fork server found, by using each layer.

    Attributes:
        missing: layer name -> why it is not in force; a layer that is not named is in force.
        landlock_abi: of the running kernel.
        kernel: its release.
    """

    missing: dict[str, str]
    landlock_abi: int
    kernel: str

    @property
    def is_complete(self) -> bool:
        """Whether every required layer is in force."""
        return not self.missing_required()

    def missing_required(self) -> list[Layer]:
        return [layer for layer in LAYERS if layer.is_required and layer.name in self.missing]

    def refuse_if_incomplete(self) -> None:
        """Raises TonyError, with the remedy, where a required layer is missing."""
        for layer in self.missing_required():
            raise TonyError(
                f"this machine cannot run untrusted programs safely: {layer.name} is missing "
                f"({self.missing[layer.name]}). {layer.remedy[0].upper()}{layer.remedy[1:]}; or, for programs that you trust, "
                f"go on without it for this run: {FLAG}"
            )

    def merged(self, other: Report) -> Report:
        """What holds for both: a layer counts only where both servers have it."""
        return Report(other.missing | self.missing, self.landlock_abi, self.kernel)

    def to_dict(self) -> dict[str, object]:
        """What results record."""
        return {
            "complete": self.is_complete,
            "layers": [layer.name for layer in LAYERS if layer.name not in self.missing],
            "missing": self.missing,
            "landlock_abi": self.landlock_abi,
            "kernel": self.kernel,
        }
