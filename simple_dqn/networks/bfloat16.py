"""Gradient steps in bfloat16: `bfloat16.c` on CPUs with AMX, autocast on a GPU.

On a CPU inputs, outputs, weights and gradients of convolutions and hidden layers are rounded as
they enter a product, whose sums are float32. Weights, their gradients, biases, the last layer,
losses and the optimizer are float32, and so are predictions (`torch.inference_mode`) but those by
which training acts, see `in_bfloat16`.
"""

import ctypes
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from typing_extensions import override

from simple_dqn.errors import UserError
from simple_dqn.networks import native
from simple_dqn.networks.layers import Convolution, QNetwork
from simple_dqn.networks.native import (
    Kernels,
    check_tensor,
    like,
    load_library,
    pointers,
    processor,
)

_SOURCE = Path(__file__).with_name("bfloat16.c")
_GROUP, _MOST_SHARES = 4, 16  # states whose gradients one thread sums up; such sums


_acting = False  # in `in_bfloat16`
_Act = TypeVar("_Act", bound=Callable[..., object])


def _rounds() -> bool:
    return _acting or not torch.is_inference_mode_enabled()


def in_bfloat16(act: _Act) -> _Act:
    """Return a function that does the same, but whose predictions are in bfloat16, too."""

    def acting(*arguments: object) -> object:
        global _acting
        _acting = True
        try:
            return act(*arguments)
        finally:
            _acting = False

    return cast(_Act, acting)


class HiddenLayer(native.HiddenLayer):
    """A hidden layer whose gradient steps are done in bfloat16, from a rounded copy of its weights.

    What enters a product is rounded, what leaves it is not. Both sizes are multiples of 32.
    """

    def __init__(self, library: ctypes.CDLL, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self._library = library
        self._version, self._low = -1, torch.empty_like(self.weight, dtype=torch.bfloat16)

    @override
    def product(self, rows: Tensor) -> Tensor:
        if not _rounds():
            return super().product(rows)
        if self._version != self.weight._version:
            with native.kernels_threads():
                self._low.copy_(self.weight.detach())
            self._version = self.weight._version
        sums = torch.empty(self.out_features, _filled(len(rows), 16))
        packed = torch.empty(self.in_features * sums.shape[1], dtype=torch.bfloat16)
        self._call(self._library.hidden, rows.contiguous(), self._low, self.bias, packed, sums)
        return sums[:, : len(rows)].t()

    @override
    def gradients(self, slopes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        number, slopes, rows = len(rows), slopes.contiguous(), rows.contiguous()
        check_tensor("slopes of a hidden layer", slopes, (number, self.out_features))
        drows = torch.empty(_filled(number, 32), self.in_features)
        dweight = torch.empty_like(self.weight)
        sizes = 2 * self.out_features + self.in_features
        scratch = torch.empty(len(drows), sizes, dtype=torch.bfloat16)
        self._call(self._library.hidden_backward, rows, self._low, slopes, scratch, drows, dweight)
        return drows[:number], dweight

    def _call(self, function: Callable[..., object], rows: Tensor, *others: Tensor) -> None:
        check_tensor("inputs of a hidden layer", rows, (len(rows), self.in_features))
        function(
            *(Kernels.num_threads, len(rows), self.in_features, self.out_features),
            *(each.data_ptr() for each in (rows, *others)),
        )


def _filled(number: int, to: int) -> int:
    return -(-number // to) * to


class BFloat16Kernels(Kernels):
    """Kernels of a network whose gradient steps are done in bfloat16."""

    name = "native-amx"

    def __init__(
        self,
        convolutions: Sequence[Convolution],
        history_length: int,
        screen_shape: tuple[int, int],
    ) -> None:
        """Compile `bfloat16.c`, or load what was compiled before; or say what is missing."""
        if history_length != 4:
            raise UserError("--arithmetic bfloat16 needs --history_length 4; give it")
        try:
            if "amx_bf16" not in processor():
                raise OSError("this CPU has no AMX")
            super().__init__(convolutions, history_length, screen_shape)
            self._low = load_library(_SOURCE, [*self.defines, f"-DGROUP={_GROUP}"])
            if self._low.prepare():
                raise OSError("Linux does not grant the use of AMX")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", "").strip() or str(error)
            raise UserError(
                f"--arithmetic bfloat16 needs a CPU with AMX, Linux and gcc 11 or later "
                f"({reason.splitlines()[0]}); give --arithmetic float32"
            ) from error
        p, i, n = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
        self.hidden_layer = partial(HiddenLayer, self._low)
        self._low.hidden.argtypes = i, n, i, i, p, p, p, p, p
        self._low.hidden_backward.argtypes = i, n, i, i, p, p, p, p, p, p
        self._low.forward.argtypes = i, n, p, n, p, p, p, i, p
        self._low.backward.argtypes = i, n, n, p, n, p, p, p, p, p, p, p
        sizes = self._low.kept_size, self._low.weights_size, self._low.scratch_size
        for size in sizes:
            size.restype = n
        self._kept_size, weights, self._scratch_size = (size() for size in sizes)
        self._scratch = torch.empty(0)
        self._packed = torch.empty(weights, dtype=torch.bfloat16)

    @override
    def forward(
        self, states: Tensor, parameters: Sequence[Tensor], *, keep: bool
    ) -> tuple[Tensor, Any]:
        if not _rounds():
            return super().forward(states, parameters, keep=keep)
        self.check(states, parameters)
        number, threads = len(states), self.num_threads
        features = torch.empty(number, self.num_features)
        rows = number if keep else threads
        kept = torch.empty(rows, self._kept_size, dtype=torch.bfloat16)
        self._low.forward(
            *(threads, number, states.data_ptr(), states.stride(0)),
            *(pointers(parameters), features.data_ptr(), kept.data_ptr(), keep),
            self._packed.data_ptr(),
        )
        return features, (states, kept)

    @override
    def backward(
        self, dfeatures: Tensor, parameters: Sequence[Tensor], kept: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, ...]:
        states, outputs = kept
        number, threads, dfeatures = len(states), self.num_threads, dfeatures.contiguous()
        check_tensor("gradients of features", dfeatures, (number, self.num_features))
        at_once = -(-number // (_GROUP * _MOST_SHARES)) * _GROUP
        gradients = torch.empty(sum(parameter.numel() for parameter in parameters))
        sums = torch.empty(-(-number // at_once), len(gradients))
        if len(self._scratch) < threads:
            self._scratch = torch.zeros(threads, self._scratch_size, dtype=torch.bfloat16)
        self._low.backward(
            *(threads, number, at_once, states.data_ptr(), states.stride(0)),
            *(dfeatures.data_ptr(), pointers(parameters)),
            *(each.data_ptr() for each in (gradients, outputs, sums, self._packed, self._scratch)),
        )
        return like(parameters, gradients)


class AutocastQNetwork(QNetwork):
    """A `QNetwork` on a GPU whose gradient steps compute in bfloat16 where torch thinks it safe."""

    @override
    def forward(self, states: Tensor) -> Tensor:
        # A graph would not fill a cache of rounded weights again.
        with torch.autocast("cuda", torch.bfloat16, enabled=_rounds(), cache_enabled=False):
            return super().forward(states).float()
