"""What this machine can do: devices, precision, threads, compiler."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import shutil

import torch

from tony.errors import TonyError


def prepare_threads(processes: int = 1) -> None:
    """Use as many threads as this process may use cores, divided among `processes`; no more than OMP_NUM_THREADS allows.

    Spin settings are made before torch loads (tony.cli).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # a list gives nested levels
    threads = max(1, min(cores // processes, int(asked) if asked.isdecimal() else cores))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def give_back_memory() -> None:
    """Hand what is no longer used back to the system: objects in cycles, and what glibc keeps of freed arrays."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def choose_device(wish: str) -> torch.device:
    """The device that `wish` names; "auto" takes a GPU where there is one."""
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
    except RuntimeError:
        raise TonyError(f"train.device={wish!r}: no such device. Use auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TonyError(f"train.device={wish!r}: this machine has no CUDA device. Use train.device=cpu")
    return device


def choose_precision(wish: str, device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes it natively and nothing else was asked for, float32 elsewhere."""
    if wish != "auto":
        return getattr(torch, wish)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if has_native_bfloat16() else torch.float32


def has_native_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX); emulated it would be slower than float32."""
    checks = (
        getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return any(check() for check in checks if check is not None)


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager:
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


def has_compiler() -> bool:
    """Whether torch.compile finds the C++ compiler that it needs on a CPU."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


def describe_machine() -> dict[str, object]:
    """What `tony doctor` prints: versions, cores, memory, devices, and what is missing with its effect."""
    import platform
    from importlib import metadata, util

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    device = choose_device("auto")
    return {
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "precision": str(choose_precision("auto", device)).removeprefix("torch."),
        "compile": "yes"
        if has_compiler()
        else "no C++ compiler: training runs without torch.compile, slower",
        "speech": "espeak-ng"
        if util.find_spec("espeakng_loader")
        else "missing: pip install espeakng-loader",
        "browser": next(
            (path for name in ("chromium", "google-chrome", "firefox") if (path := shutil.which(name))),
            "none found: open the studio's address by hand",
        ),
    }
