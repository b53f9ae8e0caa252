"""The CPU's own kernels: `convolutions.c` compiled for one network, used from torch.

PyTorch's own convolutions do the same work on a GPU, in other types than float32 and where there
is no C compiler; these need about half the time.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("convolutions.c")
# No -ffast-math: square roots and quotients are exact, sums run in the order written.
_FLAGS = [
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-Wno-psabi",
    "-shared",
    "-fPIC",
]


class Convolution(NamedTuple):
    """A layer: how many filters, of what size, how far apart in pixels."""

    filters: int
    size: int
    stride: int


class Kernels:
    """The convolutions of one network, and RMSProp.

    Attributes:
        num_features: outputs of the last convolution.
    """

    def __init__(
        self, library: ctypes.CDLL, shapes: list[dict[str, int]], num_threads: int
    ) -> None:
        """Take over a library compiled for these shapes; see `compile_kernels`."""
        self._library = library
        self._num_threads = num_threads
        self._pool = ThreadPoolExecutor(max(1, num_threads - 1))
        outputs = [s["rows"] * s["columns"] * s["filters"] for s in shapes]
        self.num_features = outputs[-1]
        self._floats_kept = sum(shape["inputs"] for shape in shapes) + self.num_features
        weights = (s["size"] ** 2 * s["channels"] * s["filters"] for s in shapes[1:])
        self._floats_of_scratch = sum(weights) + sum(outputs)

    def place(self, layer: int, weight: Tensor) -> Tensor:
        """The weight of a convolution stored as the kernels want it: filters side by side."""
        order = (1, 2, 3, 0) if layer == 0 else (2, 3, 1, 0)
        return weight.permute(order).contiguous().permute([order.index(axis) for axis in range(4)])

    def features(self, states: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """What the convolutions make of states, differentiable by the parameters.

        Args:
            states: uint8 (n, history, height, width).
            parameters: weight and bias of each convolution in turn; see `place`.

        Returns:
            float32 (n, num_features), the last layer's outputs in the order (filter, row, column).
        """
        if not torch.is_grad_enabled():
            return self.forward(states, parameters, keep=False)[0]
        features: Tensor = _Features.apply(self, states, *parameters)  # type: ignore[no-untyped-call]
        return features

    def forward(
        self, states: Tensor, parameters: Sequence[Tensor], *, keep: bool
    ) -> tuple[Tensor, Tensor]:
        """Features and, kept for `backward`, the inputs and outputs of all layers."""
        number = len(states)
        assert states[0].is_contiguous()
        features = torch.empty(number, self.num_features)
        kept = torch.empty(number if keep else self._num_threads, self._floats_kept)

        def run(thread: int, first: int, last: int) -> None:
            self._library.forward(
                ctypes.c_int(last - first),
                _pointer(states[first]),
                ctypes.c_long(states.stride(0)),
                _pointers(parameters),
                _pointer(features[first]),
                _pointer(kept[first if keep else thread]),
                ctypes.c_long(self._floats_kept if keep else 0),
            )

        self._share(number, run)
        return features, kept

    def backward(
        self, dfeatures: Tensor, parameters: Sequence[Tensor], kept: Tensor
    ) -> tuple[Tensor, ...]:
        """The gradients of the parameters, given the gradient of the features."""
        dfeatures = dfeatures.contiguous()
        scratch = torch.empty(self._num_threads, self._floats_of_scratch)
        gradients = [[torch.zeros_like(p) for p in parameters] for _ in range(self._num_threads)]

        def run(thread: int, first: int, last: int) -> None:
            self._library.backward(
                ctypes.c_int(last - first),
                _pointer(dfeatures[first]),
                _pointers(parameters),
                _pointers(gradients[thread]),
                _pointer(kept[first]),
                ctypes.c_long(self._floats_kept),
                _pointer(scratch[thread]),
            )

        self._share(len(dfeatures), run)
        return tuple(sum(parts[1:], parts[0]) for parts in zip(*gradients, strict=True))

    def rmsprop(
        self,
        parameters: Sequence[Tensor],
        dw: Sequence[Tensor],
        g: Sequence[Tensor],
        n: Sequence[Tensor],
        *constants: float,
    ) -> None:
        """One step of `GravesRMSProp`; the four of a parameter must be stored in one order.

        Args:
            parameters: float32, changed in place.
            dw: their gradients.
            g: mean gradients, changed in place.
            n: mean squared gradients, changed in place.
            constants: decay rate, learning rate, min. squared gradient.
        """
        for tensors in zip(parameters, dw, g, n, strict=True):
            assert len({tensor.stride() for tensor in tensors}) == 1
            addresses = [tensor.data_ptr() for tensor in tensors]

            def run(_: int, first: int, last: int, addresses: list[int] = addresses) -> None:
                self._library.rmsprop(
                    ctypes.c_long(last - first),
                    *(ctypes.c_void_p(address + 4 * first) for address in addresses),
                    *(ctypes.c_float(value) for value in constants),
                )

            self._share(tensors[0].numel(), run, least=100_000)

    def _share(self, number: int, run: Callable[[int, int, int], None], least: int = 1) -> None:
        """Call `run(thread, first, last)` for even shares of `number`, each by a thread."""
        shares = max(1, min(self._num_threads, number // least))
        bounds = [number * share // shares for share in range(shares + 1)]
        others = [
            self._pool.submit(run, thread, bounds[thread], bounds[thread + 1])
            for thread in range(1, shares)
        ]
        run(0, 0, bounds[1])
        for other in others:
            other.result()


class _Features(torch.autograd.Function):
    """`Kernels.features` for autograd."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, states: Tensor, *parameters: Tensor) -> Tensor:
        features, kept = kernels.forward(states, parameters, keep=True)
        ctx.kernels, ctx.kept = kernels, kept
        ctx.save_for_backward(*parameters)
        return features

    @staticmethod
    def backward(ctx: Any, dfeatures: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.kernels.backward(dfeatures, ctx.saved_tensors, ctx.kept)


def compile_kernels(
    convolutions: Sequence[Convolution],
    history_length: int,
    screen_shape: tuple[int, int],
    num_threads: int,
) -> Kernels | None:
    """Compile `convolutions.c` for a network, or find it compiled; None where that fails.

    The result is kept in `$XDG_CACHE_HOME/simple_dqn` (`~/.cache/simple_dqn`).
    """
    shapes = _shapes(convolutions, history_length, screen_shape)
    constants = [f"-DLAYERS={len(shapes)}"]
    for index, shape in enumerate(shapes):
        fields = ",".join(f".{name}={value}" for name, value in shape.items())
        constants.append(f"-DLAYER_{index}=((Layer){{{fields}}})")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        logger.info("no C compiler was found: an update takes about twice as long; install gcc")
        return None
    command = [compiler, *_FLAGS, *constants]
    digest = hashlib.sha256(
        "\n".join([*command, _SOURCE.read_text(), platform.node(), _processor()]).encode()
    ).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "simple_dqn"
    path = cache / f"{digest[:16]}.so"
    try:
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                built = Path(folder) / path.name
                subprocess.run(
                    [*command, "-o", str(built), str(_SOURCE), "-lm"],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                built.replace(path)
        return Kernels(ctypes.CDLL(str(path)), shapes, num_threads)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        logger.warning(
            "the CPU's own kernels could not be compiled, an update takes about twice as long: %s",
            reason.strip().splitlines()[0],
        )
        return None


def _shapes(
    convolutions: Sequence[Convolution], history_length: int, screen_shape: tuple[int, int]
) -> list[dict[str, int]]:
    """The fields of `Layer` in convolutions.c for each layer."""
    shapes = []
    channels, (height, width) = history_length, screen_shape
    for index, (filters, size, stride) in enumerate(convolutions):
        rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
        pixel = 1 if index == 0 else channels  # floats from a pixel to the next
        shapes.append(
            {
                "size": size,
                "stride": stride,
                "planes": channels if index == 0 else 1,
                "plane": height * width if index == 0 else 0,
                "line": width * pixel,
                "run": size * pixel,
                "step": stride * pixel,
                "rows": rows,
                "columns": columns,
                "filters": filters,
                "inputs": channels * height * width,
                "channels": channels,
            }
        )
        channels, height, width = filters, rows, columns
    return shapes


def _processor() -> str:
    """What `-march=native` goes by: the processor's model and features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
