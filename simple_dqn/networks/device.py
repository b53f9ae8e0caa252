"""Where the network computes: finding the device and setting torch up for it."""

import os

import psutil
import torch

from simple_dqn.errors import UserError


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


def cores_at_hand() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def idle_cores() -> int:
    """Return how many of them other programs leave idle, at least 1; looking takes 0.2 seconds."""
    busy = float(psutil.cpu_percent(interval=0.2)) / 100 * (os.cpu_count() or 1)
    return max(1, cores_at_hand() - round(busy))


def prepare(device: str, num_threads: int) -> torch.device:
    """Set torch up for fast and repeatable arithmetic in all of the process."""
    torch.set_num_threads(num_threads)
    # The running averages of a dead filter's gradients shrink to denormal numbers and stay there.
    # Arithmetic with those is many times slower, so they count as zero.
    torch.set_flush_denormal(True)
    if device != "cpu":  # by default torch rounds to TF32 and sums in any order
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
    return torch.device(device)
