"""A function of tensors as one CUDA graph: launched at once instead of kernel by kernel."""

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UPS = 3  # calls before the capture; libraries choose their kernels in them


class CudaGraph:
    """Calls a function that works in place on tensors of the GPU and returns nothing.

    The first calls run as usual, and the next call is captured as a graph. From then on the graph
    is replayed on copies of the inputs. The shapes of the inputs must not change, and the tensors
    that the function itself holds must not be replaced. Nothing waits for the GPU.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._warm_ups = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []

    def __call__(self, *inputs: Tensor) -> None:
        """Call the function or replay it."""
        if self._warm_ups < _WARM_UPS:
            self._warm_ups += 1
            # Capturing wants the warm-up on another stream.
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._function(*inputs)
            torch.cuda.current_stream().wait_stream(side)
            return
        if self._graph is None:
            self._inputs = [tensor.clone() for tensor in inputs]
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):  # records, computes nothing
                self._function(*self._inputs)
        for own, tensor in zip(self._inputs, inputs, strict=True):
            own.copy_(tensor)
        self._graph.replay()
