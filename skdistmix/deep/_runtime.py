"""Where and how networks are computed: device, precision, random numbers, optimisers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

__all__ = [
    "OPTIMIZERS",
    "agreed_threads",
    "autocast_type",
    "chosen_device",
    "optimizer_options",
    "seeded",
]

_ONE_AT_A_TIME = RLock()
OPTIMIZERS = ("adam", "sgd", "madgrad")


def chosen_device(device) -> torch.device:
    """The device that is meant.

    Parameters
    ----------
    device : str or torch.device
        "auto" is a GPU if there is one, otherwise the CPU.

    Raises
    ------
    ValueError
        If there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"device={str(device)!r} cannot be used ({reason}). Devices here: {', '.join(there)}; "
            "device='auto' takes a GPU if there is one."
        ) from error
    return chosen


def autocast_type(precision: str, device: torch.device) -> torch.dtype | None:
    """The type in which forward passes are computed, None for float32.

    "auto" is bfloat16 where the processor has instructions for it: without them it is slower.
    """
    if precision == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else None
    return {"float32": None, "bfloat16": torch.bfloat16}[precision]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # torch < 2.6
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))


def agreed_threads() -> None:
    """Let products of matrices in this thread run on as many threads as `torch` was told to.

    A new thread would otherwise take all of them, and round differently, until something in it asks
    how many there are.
    """
    torch.get_num_threads()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers of torch from a seed; the caller's generators are left as they were.

    Threads share them, so that one fit at a time has its seed.
    """
    devices = [device] if device.type == "cuda" else []
    agreed_threads()
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=devices), _reproducible_blas(device):
        torch.manual_seed(seed)
        yield


@contextmanager
def _reproducible_blas(device: torch.device) -> Iterator[None]:
    """cuBLAS gives the same result each time only with a workspace of fixed size."""
    name = "CUBLAS_WORKSPACE_CONFIG"
    if device.type != "cuda" or name in os.environ:
        yield
        return
    os.environ[name] = ":4096:8"
    try:
        yield
    finally:
        del os.environ[name]


def optimizer_options(optimizer, device: torch.device) -> dict:
    """Parameters of a skorch net that choose an optimiser.

    Parameters
    ----------
    optimizer : {"adam", "sgd", "madgrad"} or a class of torch.optim.Optimizer

    Raises
    ------
    ImportError
        If madgrad is asked for and not installed.
    """
    if optimizer == "adam":
        fused = device.type in ("cpu", "cuda")  # a quarter less time a step on a CPU
        return {"optimizer": torch.optim.Adam, "optimizer__fused": fused}
    if optimizer == "sgd":
        return {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}
    if optimizer == "madgrad":
        try:
            from madgrad import MADGRAD
        except ImportError as error:
            raise ImportError(
                "optimizer='madgrad' needs the package madgrad: pip install madgrad"
            ) from error
        return {"optimizer": MADGRAD}
    return {"optimizer": optimizer}
