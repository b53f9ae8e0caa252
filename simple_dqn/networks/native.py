"""Kernels for the CPU: `convolutions.c`, compiled for one network and called from torch.

The kernels are a guest: `run/parts.py` chooses `NativeQNetwork` and `NativeRMSProp` where kernels
can do the work, and no other module knows of them. Elsewhere (on a GPU, in other types than
float32, without a C compiler) PyTorch's own convolutions do the same work. With the kernels an
update takes about 0.6 of the time that it takes with PyTorch's (results/README.md, Speed).
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
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
_SECONDS_TO_COMPILE = 120.0  # some 3 on an idle machine
_SOURCE = Path(__file__).with_name("convolutions.c")
_ORDERS = (1, 2, 3, 0), (2, 3, 1, 0)  # of the axes of weights: first layer, others
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
        first = shapes[0]
        self._pixels = first["inputs"]
        self._weights = [
            (shape["filters"], shape["channels"], shape["size"], shape["size"]) for shape in shapes
        ]
        outputs = [s["rows"] * s["columns"] * s["filters"] for s in shapes]
        self.num_features = outputs[-1]
        self._floats_kept = sum(shape["inputs"] for shape in shapes) + self.num_features
        self._floats_of_scratch = sum(outputs)

    def place(self, layer: int, weight: Tensor) -> Tensor:
        """Return a convolution's weight in the order that the kernels read: filter last."""
        order = _ORDERS[min(layer, 1)]
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
        number = len(states)
        self._check_parameters(parameters)
        _check(
            states.dtype == torch.uint8
            and states.is_cpu
            and states[:1].numel() == self._pixels * min(number, 1)
            and states[:1].is_contiguous(),
            "states",
        )
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
        self._check_parameters(parameters)
        _check(_is_matrix(dfeatures, number, self.num_features), "gradients of features")
        _check(_is_matrix(kept, number, self._floats_kept), "inputs and outputs")
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
        for same in zip(*groups, strict=True):
            alike = len({(t.shape, t.stride()) for t in same}) == 1
            known = all(t.is_cpu and t.dtype == torch.float32 for t in same)
            _check(alike and known and _is_dense(same[0]), "parameters and their gradients")
        sizes = [parameter.numel() for parameter in parameters]
        arguments = (
            ctypes.c_int(len(sizes)),
            (_long * len(sizes))(*sizes),
            *(_pointers(group) for group in groups),
            *(ctypes.c_float(constant) for constant in constants),
        )
        threads = self._num_threads if sum(sizes) > 200_000 else 1
        self._library.rmsprop(threads, *arguments)

    def _check_parameters(self, parameters: Sequence[Tensor]) -> None:
        """Check that weights and biases are as large as the library was compiled for."""
        _check(len(parameters) == 2 * len(self._weights), "parameters")
        for index, shape in enumerate(self._weights):
            weight, bias = parameters[2 * index : 2 * index + 2]
            known = all(p.is_cpu and p.dtype == torch.float32 for p in (weight, bias))
            order = _ORDERS[min(index, 1)]
            _check(
                known
                and weight.shape == shape
                and weight.permute(order).is_contiguous()
                and bias.shape == shape[:1]
                and bias.is_contiguous(),
                f"parameters of convolution {index}",
            )


class NativeQNetwork(QNetwork):
    """A `QNetwork` whose convolutions are done by kernels."""

    def __init__(self, *args: Any, kernels: Kernels, **settings: Any) -> None:
        """Make the layers; the arguments are those of `QNetwork`, the kernels made for them."""
        super().__init__(*args, **settings)
        self._kernels = kernels

    def forward(self, states: Tensor) -> Tensor:
        """Return the outputs for states of bytes; see `QNetwork`."""
        parameters: list[Tensor] = [p for layer in self.convolutions() for p in layer.parameters()]
        if self.pixel_mean:
            # The kernels read bytes, so the mean goes into the first bias: w(x - m) = wx - m sum w.
            parameters[1] = parameters[1] - self.pixel_mean * parameters[0].sum((1, 2, 3))
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
    `~/.cache/simple_dqn`. Where there is no such folder, or others than the user can write there,
    the library is compiled at each start.

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
    except subprocess.TimeoutExpired:
        reason = f"{compiler} did not end within {_SECONDS_TO_COMPILE:g} seconds"
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip() or f"{compiler} failed"
    except (OSError, UserError) as error:
        reason = str(error)
    logger.warning(
        "kernels for this CPU could not be compiled, so updates take 1.6 times as long: %s",
        reason.splitlines()[0],
    )
    return None


def _load(command: list[str]) -> ctypes.CDLL:
    """Load the library that the command compiles; from the cache, if it is there and whole.

    NB! Loading a library runs what is in it. So the name of a cached one tells the SHA-256 of its
    content, and nobody else may be able to write it or its folder.
    """
    made_from = [*command, _SOURCE.read_text(), platform.node(), _processor()]
    key = _digest("\n".join(made_from).encode())
    try:
        cache = _find_cache()
        if library := _cached(cache, key):
            return ctypes.CDLL(str(library))
    except (OSError, UserError) as error:
        logger.warning("kernels are compiled anew at each start: %s", error)
        cache = None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / f"{key}.so"
        _compile([*command, "-o", str(library), str(_SOURCE)])
        if cache is not None:
            content = library.read_bytes()
            library = cache / f"{key}-{_digest(content)}.so"
            write_atomically(library, content)
            library.chmod(0o600)
        return ctypes.CDLL(str(library))


def _find_cache() -> Path:
    """Return the folder of compiled libraries; it is made if need be.

    Raises:
        UserError: there is none, or others can write there.
        OSError: it cannot be made.
    """
    parent = os.environ.get("XDG_CACHE_HOME")
    try:
        cache = Path(parent) if parent else Path.home() / ".cache"
    except RuntimeError as error:
        raise UserError(
            "there is no home folder to keep them in; set XDG_CACHE_HOME to a folder"
        ) from error
    cache = cache.resolve() / "simple_dqn"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    cache = cache.resolve(strict=True)
    for folder in (cache, *cache.parents):
        if not _is_safe(folder.stat()):
            raise UserError(
                f"others can write {folder}; say chmod go-w {folder}, or set XDG_CACHE_HOME to a "
                "folder of your own"
            )
    return cache


def _cached(cache: Path, key: str) -> Path | None:
    """Find a library of that key; what is no whole library, or not of this user, is removed."""
    for path in cache.glob(f"{key}-*.so"):
        state = path.lstat()
        safe = stat.S_ISREG(state.st_mode) and _is_safe(state)
        if safe and path.stem == f"{key}-{_digest(path.read_bytes())}":
            return path
        path.unlink()
    return None


def _is_safe(state: os.stat_result) -> bool:
    """Whether nobody but this user and root can write a file or a folder, as ssh asks of keys.

    In a sticky folder, such as /tmp, others can write, but not replace what is there.
    """
    owned = state.st_uid in (0, getattr(os, "geteuid", int)())
    sticky = stat.S_ISDIR(state.st_mode) and bool(state.st_mode & stat.S_ISVTX)
    return owned and (sticky or not state.st_mode & 0o022)


def _digest(content: bytes) -> str:
    """Return 128 bits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:32]


def _compile(command: list[str]) -> None:
    """Compile with OpenMP, so that the kernels run on torch's own threads; else for one thread.

    With threads of their own, the kernels and torch would hinder each other at every layer.
    """

    def run(*more: str) -> None:
        subprocess.run(
            [*command, *more],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_SECONDS_TO_COMPILE,
        )

    try:
        run("-fopenmp")
    except subprocess.CalledProcessError:
        run()
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


def _check(fits: bool, what: str) -> None:
    """See that C gets no tensor that is smaller than it takes it for.

    Raises:
        ValueError: it would.
    """
    if not fits:
        raise ValueError(f"kernels: the {what} have another shape or type than compiled for")


def _is_matrix(tensor: Tensor, rows: int, columns: int) -> bool:
    known = tensor.is_cpu and tensor.dtype == torch.float32
    return known and tensor.shape == (rows, columns) and tensor.is_contiguous()


def _is_dense(tensor: Tensor) -> bool:
    """Whether the tensor, in any order of its axes, spans no more memory than it has elements."""
    axes = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in axes) == tensor.numel()


_long = ctypes.c_long


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
