"""Kernels for the CPU: `convolutions.c`, compiled for one network and called from torch.

The kernels are optional: `run/parts.py` chooses `NativeQNetwork` and its optimizer where they can
do the work. Elsewhere (on a GPU, in types other than float32, without a C compiler) PyTorch does
the same work. With the kernels an update takes about 0.6 of the time (results/README.md, Speed).

C knows only where a tensor begins, so `Kernels` checks all tensors that C will read or write.
"""

import contextlib
import ctypes
import hashlib
import logging
import math
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from typing_extensions import override

from simple_dqn.errors import UserError
from simple_dqn.files import write_atomically
from simple_dqn.networks.layers import Convolution, FullyConnected, QNetwork
from simple_dqn.networks.optimizers import Adam, GravesRMSProp

logger = logging.getLogger(__name__)

_STATES_AT_ONCE = 4  # states whose gradients one thread sums up
_PARTS = 4  # of a hidden layer, which threads share
_SOURCE = Path(__file__).with_name("convolutions.c")
_ORDERS = (1, 2, 3, 0), (2, 3, 1, 0)  # of the axes of weights: first layer, others
# No -ffast-math: square roots and quotients are exact, sums run in the order written. With OpenMP
# the kernels run on torch's own threads; with threads of their own, both would wait at every layer.
_FLAGS = [
    *("-std=gnu11", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
]


class HiddenLayer(FullyConnected):
    """A hidden layer whose products are shared by the kernels' threads.

    Threads share outputs and not sums, so that the bits do not depend on their number: MKL does so
    by itself, but for the forward product, which is made of four parts.
    """

    @override
    def forward(self, rows: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self.product(rows)
        outputs: Tensor = _Hidden.apply(self, rows, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return outputs

    def product(self, rows: Tensor) -> Tensor:
        """Return the outputs (n, out_features)."""
        parts = _PARTS if len(rows) > 1 and self.out_features % _PARTS == 0 else 1
        weight, bias = self.weight.view(parts, -1, self.in_features), self.bias.view(parts, -1, 1)
        with kernels_threads():
            return torch.baddbmm(bias, weight, rows.t().expand(parts, -1, -1)).flatten(0, 1).t()

    def gradients(self, slopes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of inputs and weights."""
        with kernels_threads():
            return (self.weight.t() @ slopes.t()).t(), slopes.t() @ rows


class _Hidden(torch.autograd.Function):
    """`HiddenLayer` for autograd."""

    @staticmethod
    def forward(ctx: Any, layer: HiddenLayer, rows: Tensor, *_: Tensor) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(rows)
        return layer.product(rows)

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.layer.gradients(slopes, *ctx.saved_tensors), slopes.sum(0)


@contextlib.contextmanager
def kernels_threads() -> Iterator[None]:
    """Let torch use the kernels' threads: 1, 2 or 4, by which MKL does not share a sum."""
    torch.set_num_threads(min(1 << Kernels.num_threads.bit_length() - 1, _PARTS))
    try:
        yield
    finally:
        torch.set_num_threads(1)


class Kernels:
    """The convolutions of one network, compiled for their shapes, and optimizers.

    Attributes:
        name: whose arithmetic it is.
        num_threads: of all kernels and hidden layers of this process; anything else that torch
            does beside them is done by one thread. Results do not depend on it.
        num_features: outputs of the last convolution.
        hidden_layer: makes the hidden layers that go with them.
    """

    name = "native"
    num_threads = 1
    hidden_layer: Callable[[int, int], FullyConnected] = HiddenLayer

    def __init__(
        self,
        convolutions: Sequence[Convolution],
        history_length: int,
        screen_shape: tuple[int, int],
    ) -> None:
        """Compile `convolutions.c`, or load what was compiled before; see `compile_kernels`."""
        images = [(history_length, *screen_shape)]  # a state, then the output of each layer
        self._weights: list[tuple[int, ...]] = []  # shapes in the order that the kernels read
        defines = [f"-DLAYERS={len(convolutions)}", f"-DSTATES_AT_ONCE={_STATES_AT_ONCE}"]
        for layer, (filters, size, stride) in enumerate(convolutions):
            channels, height, width = images[-1]
            numbers = int(layer == 0), channels, height, width, filters, size, stride
            defines.append(f"-DLAYER_{layer}=LAYER{numbers}")
            shape = filters, channels, size, size
            self._weights.append(tuple(shape[axis] for axis in _ORDERS[min(layer, 1)]))
            images.append((filters, (height - size) // stride + 1, (width - size) // stride + 1))
        floats = [math.prod(image) for image in images]
        self._state, self.num_features = images[0], floats[-1]
        self._floats_kept, self._floats_of_scratch = sum(floats), sum(floats[1:])
        self.defines = defines
        self._library = load_library(_SOURCE, defines)
        p, i, n = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
        self._library.forward.argtypes = i, n, p, n, p, p, p, n, i
        self._library.backward.argtypes = i, n, p, p, p, p, n, p, n
        self._library.optimize.argtypes = i, i, p, p, p, p, p, i, p

    def place(self, layer: int, weight: Tensor) -> Tensor:
        """Return a convolution's weight in the order that the kernels read: filter last."""
        order = _ORDERS[min(layer, 1)]
        return weight.permute(order).contiguous().permute([order.index(axis) for axis in range(4)])

    def features(self, states: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Return the last layer's outputs, float32 (n, num_features): (filter, row, column).

        States are uint8 (n, history, height, width). Gradients flow back to the parameters: weight
        and bias of each convolution in turn, weights in `place`'s order.
        """
        if not torch.is_grad_enabled():
            return self.forward(states, parameters, keep=False)[0]
        features: Tensor = _Features.apply(self, states, *parameters)  # type: ignore[no-untyped-call]
        return features

    def forward(
        self, states: Tensor, parameters: Sequence[Tensor], *, keep: bool
    ) -> tuple[Tensor, Any]:
        """Return the features, and, to `keep`, what `backward` will need: inputs and outputs."""
        number, threads = len(states), self.num_threads
        self.check(states, parameters)
        features = torch.empty(number, self.num_features)
        kept = torch.empty(number if keep else threads, self._floats_kept)
        self._library.forward(
            *(threads, number, states.data_ptr(), states.stride(0)),
            *(pointers(parameters), features.data_ptr()),
            *(kept.data_ptr(), self._floats_kept, keep),
        )
        return features, kept

    def backward(
        self, dfeatures: Tensor, parameters: Sequence[Tensor], kept: Any
    ) -> tuple[Tensor, ...]:
        """Return the gradients of the parameters, given the gradient of the features."""
        dfeatures = dfeatures.contiguous()
        number, threads = len(dfeatures), self.num_threads
        check_tensor("gradients of features", dfeatures, (number, self.num_features))
        check_tensor("inputs and outputs", kept, (number, self._floats_kept))
        turned = [weight.permute(2, 3, 0, 1).contiguous() for weight in parameters[2::2]]
        sizes = [parameter.numel() for parameter in parameters]
        sums = torch.empty(-(-number // _STATES_AT_ONCE), sum(sizes))
        scratch = torch.empty(threads, self._floats_of_scratch)
        self._library.backward(
            *(threads, number, dfeatures.data_ptr(), pointers(turned)),
            *(sums.data_ptr(), kept.data_ptr(), self._floats_kept),
            *(scratch.data_ptr(), self._floats_of_scratch),
        )
        return like(parameters, sums.sum(0))

    def optimize(
        self, groups: Sequence[Sequence[Tensor]], constants: Sequence[float], *, adam: bool
    ) -> None:
        """Take one step of `GravesRMSProp` or Adam on lists of w, dw and two averages, all float32.

        NB! A parameter's four tensors must be stored in the same order. The constants stand in
        `convolutions.c`.
        """
        for same in zip(*groups, strict=True):
            kinds = {(t.shape, t.stride(), t.dtype, t.is_cpu) for t in same}
            if kinds != {(same[0].shape, same[0].stride(), torch.float32, True)}:
                raise ValueError("kernels: a parameter and its gradients differ in shape or type")
        sizes = [parameter.numel() for parameter in groups[0]]
        threads = self.num_threads if sum(sizes) > 200_000 else 1
        lengths, numbers = (ctypes.c_long * len(sizes))(*sizes), (ctypes.c_float * 5)(*constants)
        self._library.optimize(threads, len(sizes), lengths, *map(pointers, groups), adam, numbers)
        increment_version(groups[0])

    def optimizers(self) -> dict[str, Callable[..., torch.optim.Optimizer]]:
        """Return the optimizers whose arithmetic kernels can do, by name."""
        kinds = {"rmsprop": NativeRMSProp, "adam": NativeAdam}
        return {name: partial(kind, kernels=self) for name, kind in kinds.items()}

    def check(self, states: Tensor, parameters: Sequence[Tensor]) -> None:
        """Check that states, weights and biases are as large as the library was compiled for."""
        check_tensor("states", states[:1], (min(len(states), 1), *self._state), torch.uint8)
        for layer, (weight, bias, shape) in enumerate(
            zip(parameters[::2], parameters[1::2], self._weights, strict=True)
        ):
            check_tensor(f"weights of layer {layer}", weight.permute(_ORDERS[min(layer, 1)]), shape)
            check_tensor(f"biases of layer {layer}", bias, shape[-1:])


class NativeQNetwork(QNetwork):
    """A `QNetwork` whose convolutions are done by kernels."""

    def __init__(self, *args: Any, kernels: Kernels, **settings: Any) -> None:
        super().__init__(*args, hidden_layer=kernels.hidden_layer, **settings)
        self._kernels = kernels

    @override
    def forward(self, states: Tensor) -> Tensor:
        parameters = self._convolutional.copy()
        if self.pixel_mean:
            # The kernels read bytes, so the mean goes into the first bias: w(x - m) = wx - m sum w.
            parameters[1] = parameters[1] - self.pixel_mean * parameters[0].sum((1, 2, 3))
        outputs = self._kernels.features(states, parameters)
        for module in self._rest:
            outputs = module(outputs)
        return outputs

    @override
    def place(self, device: torch.device, dtype: torch.dtype) -> Self:
        self.to(device, dtype)
        for index, layer in enumerate(self.convolutions()):
            layer.weight.data = self._kernels.place(index, layer.weight.data)
        # Looking these up would take 8% of the time of a prediction for one state.
        self._convolutional: list[Tensor] = [p for c in self.convolutions() for p in c.parameters()]
        self._rest = list(self)[self._num_convolutional :]
        return self


class NativeRMSProp(GravesRMSProp):
    """`GravesRMSProp` with its arithmetic done by kernels."""

    def __init__(self, *args: Any, kernels: Kernels, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._kernels = kernels

    @override
    def update(self, groups: tuple[list[Tensor], ...], learning_rate: float) -> None:
        constants = (self._decay_rate, learning_rate, self._min_squared_gradient)
        self._kernels.optimize(groups, constants, adam=False)


class NativeAdam(Adam):
    """`Adam` with its arithmetic done by kernels."""

    def __init__(self, *args: Any, kernels: Kernels, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._kernels = kernels
        for parameter in self.param_groups[0]["params"]:
            averages = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            self.state[parameter] = {"step": torch.zeros(()), **averages}

    @override
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        steps, m, v = (
            [self.state[parameter][name] for parameter in parameters]
            for name in ("step", "exp_avg", "exp_avg_sq")
        )
        torch._foreach_add_(steps, 1)
        step, decay, rate = steps[0].item(), group["betas"], group["lr"]
        unbiased = rate / (1 - decay[0] ** step), (1 - decay[1] ** step) ** -0.5
        groups = parameters, [parameter.grad for parameter in parameters], m, v
        self._kernels.optimize(groups, (*decay, *unbiased, group["eps"]), adam=True)


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
) -> Kernels | None:
    """Make the kernels of a network whose states have screens of a shape (height, width).

    Compiled libraries are kept in `$XDG_CACHE_HOME/simple_dqn`, by default `~/.cache/simple_dqn`.
    None: there is no C compiler with OpenMP.
    """
    try:
        return Kernels(convolutions, history_length, screen_shape)
    except (OSError, UserError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "").strip() or str(error)
        logger.warning(
            "the kernels for this CPU could not be compiled (%s), so updates take 1.6 times as "
            "long; install gcc",
            reason.splitlines()[0],
        )
        return None


def load_library(source: Path, defines: Sequence[str]) -> ctypes.CDLL:
    """Load a compiled source, a library named by a hash of all that it is made from."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), "cc")
    command = [compiler, *_FLAGS, *defines]
    made_from = "\n".join([*command, source.read_text(), platform.node(), processor()])
    name = f"{hashlib.sha256(made_from.encode()).hexdigest()[:32]}.so"
    with tempfile.TemporaryDirectory() as temporary:
        library = (_private_folder() or Path(temporary)) / name
        if not library.exists():
            compiled = Path(temporary) / "compiled.so"
            command += ["-o", str(compiled), str(source)]
            subprocess.run(command, check=True, capture_output=True, text=True, errors="replace")
            write_atomically(library, compiled.read_bytes())
        return ctypes.CDLL(str(library))


def _private_folder() -> Path | None:
    """Return the folder of compiled libraries, made if need be; None if there cannot be one.

    NB! Loading a library runs what is in it, so nobody else may be able to write the folder.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "simple_dqn"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
        if state.st_uid == getattr(os, "geteuid", int)() and not state.st_mode & 0o022:
            return folder
        reason = f"others can write {folder}; run chmod 700 {folder}"
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        reason = f"{error}; set XDG_CACHE_HOME to a folder of your own"
    logger.warning("the kernels are compiled again at each start: %s", reason)
    return None


def processor() -> str:
    """Return the processor's model and features, which decide what `-march=native` compiles."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return platform.processor()
    lines = set(file.read_text().splitlines())
    return "\n".join(sorted(line for line in lines if line.startswith(("model name", "flags"))))


def check_tensor(
    what: str, tensor: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> None:
    """Check a tensor that C will read or write: where it is, its shape, type and order."""
    known = tensor.is_cpu and tensor.dtype == dtype and tensor.is_contiguous()
    if not (known and tensor.shape == shape):
        raise ValueError(f"kernels: the {what} have another shape or type than compiled for")


def pointers(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """Return where each tensor begins, for C."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def like(parameters: Sequence[Tensor], numbers: Tensor) -> tuple[Tensor, ...]:
    """Return numbers in a row as tensors that are stored as the parameters are."""
    parts = torch.split(numbers, [parameter.numel() for parameter in parameters])
    return tuple(
        part.as_strided(parameter.shape, parameter.stride())
        for part, parameter in zip(parts, parameters, strict=True)
    )
