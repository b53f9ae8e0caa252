"""Where the network computes: finding the device and setting torch up for it."""

import ctypes
import os

import torch

from simple_dqn.errors import UserError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def find_device(backend: str | None, device_id: int) -> str:
    """Name the device to compute on, `cpu` or `cuda:0`.

    The backend is `cpu`, `gpu`, or None for the GPU where there is one.

    Raises:
        UserError: there is no GPU of this number.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if backend == "cpu" or (backend is None and not gpus):
        return "cpu"
    if device_id >= gpus:
        raise UserError(
            f"there is no CUDA GPU {device_id} that torch {torch.__version__} can use "
            f"({gpus} found); use --backend cpu, or install a CUDA build of torch"
        )
    return f"cuda:{device_id}"


def cores_at_hand() -> set[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def prepare(device: str, num_threads: int) -> torch.device:
    """Set torch up for fast and repeatable arithmetic in all of the process."""
    torch.set_num_threads(num_threads)
    # The running averages of a dead filter's gradients shrink to denormal numbers and stay there.
    # Arithmetic with those is many times slower, so they count as zero.
    torch.set_flush_denormal(True)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        # By default glibc gives an update's arrays back to Linux, which clears each page of them
        # again for the next update: up to a third of its time. These keep blocks below 32 MB.
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 25)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 29)
    if device != "cpu":  # by default torch rounds to TF32 and sums in any order
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
    return torch.device(device)
