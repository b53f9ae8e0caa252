"""Kernels for the CPU: `convolutions.c`, compiled for one network and called from torch.

The kernels are a guest: `run/parts.py` chooses `NativeQNetwork` and `NativeRMSProp` where kernels
can do the work, and no other module knows of them. Elsewhere (on a GPU, in other types than
float32, without a C compiler) PyTorch's own convolutions do the same work. With the kernels an
update takes about 0.6 of the time that it takes with PyTorch's (results/README.md, Speed).
"""

import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from simple_dqn.errors import UserError
from simple_dqn.files import write_atomically
from simple_dqn.networks.layers import Convolution, QNetwork
from simple_dqn.networks.optimizers import GravesRMSProp

logger = logging.getLogger(__name__)

_STATES_AT_ONCE = 4  # states whose gradients one thread sums up
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


class Kernels:
    """The convolutions of one network, and RMSProp.

    Attributes:
        num_features: outputs of the last convolution.
    """

    def __init__(
        self, library: ctypes.CDLL, shapes: list[dict[str, int]], num_threads: int
    ) -> None:
        """Take over a library that was compiled for these shapes, see `compile_kernels`."""
        self._library = library
        self._num_threads = num_threads
        outputs = [s["rows"] * s["columns"] * s["filters"] for s in shapes]
        self.num_features = outputs[-1]
        self._floats_kept = sum(shape["inputs"] for shape in shapes) + self.num_features
        self._floats_of_scratch = sum(outputs)

    def place(self, layer: int, weight: Tensor) -> Tensor:
        """Return a convolution's weight in the order that the kernels read: filter last."""
        order = (1, 2, 3, 0) if layer == 0 else (2, 3, 1, 0)
        return weight.permute(order).contiguous().permute([order.index(axis) for axis in range(4)])

    def features(self, states: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Run states through all convolutions; gradients flow back to the parameters.

        Args:
            states: uint8 (n, history, height, width).
            parameters: weight and bias of each convolution in turn, stored as `place` says.

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
        """Return the features, and the layers' inputs and outputs if `backward` will need them."""
        assert states[0].is_contiguous()
        number = len(states)
        features = torch.empty(number, self.num_features)
        kept = torch.empty(number if keep else self._num_threads, self._floats_kept)
        self._library.forward(
            *(self._num_threads, _long(number), _pointer(states), _long(states.stride(0))),
            *(_pointers(parameters), _pointer(features)),
            *(_pointer(kept), _long(self._floats_kept), keep),
        )
        return features, kept

    def backward(
        self, dfeatures: Tensor, parameters: Sequence[Tensor], kept: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the gradients of the parameters, given the gradient of the features."""
        dfeatures = dfeatures.contiguous()
        number = len(dfeatures)
        turned = [weight.permute(2, 3, 0, 1).contiguous() for weight in parameters[2::2]]
        sizes = [parameter.numel() for parameter in parameters]
        sums = torch.empty(-(-number // _STATES_AT_ONCE), sum(sizes))
        scratch = torch.empty(self._num_threads, self._floats_of_scratch)
        self._library.backward(
            *(self._num_threads, _long(number), _pointer(dfeatures), _pointers(turned)),
            *(_pointer(sums), _pointer(kept), _long(self._floats_kept)),
            *(_pointer(scratch), _long(self._floats_of_scratch)),
        )
        return tuple(
            gradient.as_strided(parameter.shape, parameter.stride())
            for gradient, parameter in zip(torch.split(sums.sum(0), sizes), parameters, strict=True)
        )

    def rmsprop(
        self,
        parameters: Sequence[Tensor],
        dw: Sequence[Tensor],
        g: Sequence[Tensor],
        n: Sequence[Tensor],
        *constants: float,
    ) -> None:
        """Take one step of `GravesRMSProp`.

        NB! A parameter and its three tensors must be stored in the same order.

        Args:
            parameters: float32 tensors, changed in place.
            dw: gradient of each parameter.
            g: mean gradient of each parameter, changed in place.
            n: mean squared gradient of each parameter, changed in place.
            constants: decay rate, learning rate, min. squared gradient.
        """
        groups = (parameters, dw, g, n)
        assert all(len({t.stride() for t in same}) == 1 for same in zip(*groups, strict=True))
        sizes = [parameter.numel() for parameter in parameters]
        arguments = (
            ctypes.c_int(len(sizes)),
            (_long * len(sizes))(*sizes),
            *(_pointers(group) for group in groups),
            *(ctypes.c_float(constant) for constant in constants),
        )
        threads = self._num_threads if sum(sizes) > 200_000 else 1
        self._library.rmsprop(threads, *arguments)


class NativeQNetwork(QNetwork):
    """A `QNetwork` whose convolutions are done by kernels."""

    def __init__(self, *args: Any, kernels: Kernels, **settings: Any) -> None:
        """Make the layers; the arguments are those of `QNetwork`, the kernels made for them."""
        super().__init__(*args, **settings)
        self._kernels = kernels

    def forward(self, states: Tensor) -> Tensor:
        """Return the outputs for states of bytes; see `QNetwork`."""
        parameters: list[Tensor] = [p for layer in self.convolutions() for p in layer.parameters()]
        if self._pixel_mean:
            # The kernels read bytes, so the mean goes into the first bias: w(x - m) = wx - m sum w.
            parameters[1] = parameters[1] - self._pixel_mean * parameters[0].sum((1, 2, 3))
        outputs = self._kernels.features(states, parameters)
        for module in list(self)[self._num_convolutional :]:
            outputs = module(outputs)
        return self._by_atoms(outputs)

    def place(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move to a device and a type, filters in the order that the kernels want."""
        self.to(device, dtype)
        for index, layer in enumerate(self.convolutions()):
            layer.weight.data = self._kernels.place(index, layer.weight.data)
        return self


class NativeRMSProp(GravesRMSProp):
    """`GravesRMSProp` with its arithmetic done by kernels."""

    def __init__(self, *args: Any, kernels: Kernels, **settings: Any) -> None:
        """Take the arguments of `GravesRMSProp`, and the kernels."""
        super().__init__(*args, **settings)
        self._kernels = kernels

    def update(
        self,
        parameters: list[Tensor],
        dw: list[Tensor],
        g: list[Tensor],
        n: list[Tensor],
        learning_rate: float,
    ) -> None:
        """Update the parameters in place; see the base class."""
        constants = (self._decay_rate, learning_rate, self._min_squared_gradient)
        self._kernels.rmsprop(parameters, dw, g, n, *constants)


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
    """Compile `convolutions.c` for a network, or load it from the cache; None if neither works.

    The compiled library is kept in `$XDG_CACHE_HOME/simple_dqn`, by default
    `~/.cache/simple_dqn`.

    Args:
        convolutions: layers of the network.
        history_length: screens in a state.
        screen_shape: (height, width).
        num_threads: threads that the kernels use.
    """
    shapes = _shapes(convolutions, history_length, screen_shape)
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        logger.info("no C compiler was found, so updates take 1.6 times as long; install gcc")
        return None
    command = [compiler, *_FLAGS, f"-DLAYERS={len(shapes)}", f"-DSTATES_AT_ONCE={_STATES_AT_ONCE}"]
    for index, shape in enumerate(shapes):
        fields = ",".join(f".{name}={value}" for name, value in shape.items())
        command.append(f"-DLAYER_{index}=((Layer){{{fields}}})")
    try:
        return Kernels(_load(command), shapes, num_threads)
    except (OSError, UserError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        logger.warning(
            "kernels for this CPU could not be compiled, so updates take 1.6 times as long: %s",
            reason.splitlines()[0],
        )
        return None


def _load(command: list[str]) -> ctypes.CDLL:
    """Load the library that the command compiles; from the cache, if it is there and whole."""
    made_from = [*command, _SOURCE.read_text(), platform.node(), _processor()]
    digest = hashlib.sha256("\n".join(made_from).encode()).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "simple_dqn"
    path = cache / f"{digest[:16]}.so"
    with contextlib.suppress(OSError):
        return ctypes.CDLL(str(path))
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / path.name
        _compile([*command, "-o", str(built), str(_SOURCE)])
        write_atomically(path, built.read_bytes())
    return ctypes.CDLL(str(path))


def _compile(command: list[str]) -> None:
    """Compile with OpenMP, so that the kernels run on torch's own threads; else for one thread.

    With threads of their own, the kernels and torch would hinder each other at every layer.
    """
    try:
        subprocess.run([*command, "-fopenmp"], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError:
        subprocess.run(command, check=True, capture_output=True, text=True)
        logger.info("the C compiler knows no OpenMP, so the kernels use one thread; install gcc")


def _shapes(
    convolutions: Sequence[Convolution], history_length: int, screen_shape: tuple[int, int]
) -> list[dict[str, int]]:
    """Return the fields of the C struct `Layer` for each layer."""
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
    """Return the processor's model and features, which decide what `-march=native` compiles."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


_long = ctypes.c_long


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
