"""The compiled library, its thread pool, and the check that it passes before anything relies on it."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

import torch

from cpu_kernels.build import BuildError, build, default_folder, usable_variants
from cpu_kernels.packing import Matrix, PackedLinear, PackedWeights, pack, rounded

SMALL_BYTES = 1 << 20


class Layer(ctypes.Structure):
    """`Layer` of source/forward.cpp."""

    _fields_ = (
        ("input_norm", ctypes.c_void_p),
        ("projection", Matrix),
        ("output", Matrix),
        ("mlp_norm", ctypes.c_void_p),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("feature", ctypes.c_int64),
    )


class Model(ctypes.Structure):
    """`Model` of source/forward.cpp."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("hidden", "inner", "layers", "heads", "kv_heads", "dim", "features")),
        ("epsilon", ctypes.c_float),
        ("layer", ctypes.POINTER(Layer)),
        ("embedding", ctypes.c_void_p),
        ("norm", ctypes.c_void_p),
        ("cos", ctypes.c_void_p),
        ("sin", ctypes.c_void_p),
    )


class Batch(ctypes.Structure):
    """`Batch` of source/forward.cpp."""

    _fields_ = (
        ("rows", ctypes.c_int64),
        ("tokens", ctypes.c_void_p),
        ("positions", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("places", ctypes.c_void_p),
        ("cache", ctypes.POINTER(ctypes.c_void_p)),
        ("hidden", ctypes.c_void_p),
        ("captured", ctypes.c_void_p),
    )


class Library:
    """One compiled library. Between calls its threads sleep; `torch.get_num_threads()` of them take part in one."""

    def __init__(self, path: Path, *, name: str = "") -> None:
        try:
            functions = ctypes.CDLL(str(path))  # releases the GIL during a call
        except OSError as error:
            raise BuildError(f"{path} can't be loaded: {error}") from error
        self.name = name or path.stem.rpartition("-")[0]
        functions.permitted.restype = ctypes.c_int
        self.permitted = bool(functions.permitted())  # by the operating system; the processor's flags are build.py's
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        functions.new_pool.restype = pointer
        functions.new_pool.argtypes = (integer,)
        functions.forward.restype = None
        functions.forward.argtypes = (pointer, ctypes.POINTER(Model), ctypes.POINTER(Batch), integer)
        functions.linear.restype = None
        matrix = ctypes.POINTER(Matrix)
        functions.linear.argtypes = (
            pointer,
            matrix,
            integer,
            integer,
            pointer,
            integer,
            pointer,
            integer,
            pointer,
            integer,
        )
        functions.draft.restype = None
        functions.draft.argtypes = (pointer, pointer, pointer, integer, integer)
        functions.draft_extend.restype = None
        counts = (ctypes.c_int64, ctypes.c_int64)
        functions.draft_extend.argtypes = (pointer, pointer, pointer, *counts, pointer, pointer, pointer, integer)
        functions.read_only.restype = None
        functions.read_only.argtypes = (pointer, pointer, ctypes.c_int64, integer)
        self._functions = functions
        self._pool = functions.new_pool(os.cpu_count() or 1)

    def forward(self, model: Model, batch: Batch) -> None:
        """One pass over `batch`; the caller has checked every shape and index."""
        self._functions.forward(self._pool, model, batch, torch.get_num_threads())

    def linear(self, weight: PackedLinear, inputs: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """[R, size] bf16 -> [R, columns] as `dtype`: float32 or bfloat16. A row's bits don't depend on the others."""
        return self._linear(weight, inputs, dtype, None)

    def ranked_linear(self, weight: PackedLinear, inputs: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        """`linear` in float32, and the argmax of each row, the lowest of equals: told while the row is at hand."""
        best = (ctypes.c_int64 * inputs.shape[0])()
        return self._linear(weight, inputs, torch.float32, best), list(best)

    def _linear(
        self, weight: PackedLinear, inputs: torch.Tensor, dtype: torch.dtype, best: ctypes.Array[ctypes.c_int64] | None
    ) -> torch.Tensor:
        if inputs.dtype != torch.bfloat16 or inputs.dim() != 2 or inputs.shape[1] != weight.size:
            raise ValueError(f"{inputs.dtype} {tuple(inputs.shape)} for a matrix of {weight.size} inputs")
        inputs = inputs.contiguous()
        outputs = torch.empty((inputs.shape[0], weight.columns), dtype=dtype)
        # A small matrix is done before a second thread is awake.
        threads = torch.get_num_threads() if weight.panels.nbytes > SMALL_BYTES else 1
        if inputs.shape[0]:
            self._functions.linear(
                self._pool, weight.pointer(), weight.columns, weight.size, inputs.data_ptr(), inputs.shape[0],
                outputs.data_ptr(), dtype == torch.bfloat16, best, threads,
            )  # fmt: skip
        return outputs

    def draft(self, model: ctypes.Structure, rows: ctypes.Array[Any]) -> None:
        """Chains of `rows`; see draft.py, which has checked them."""
        self._functions.draft(self._pool, ctypes.byref(model), ctypes.byref(rows), len(rows), torch.get_num_threads())

    def draft_extend(
        self,
        model: ctypes.Structure,
        cache: int,
        start: int,
        tokens: ctypes.Array[ctypes.c_int64],
        features: int,
        hidden: int,
    ) -> None:
        """Committed positions of one slot; see draft.py."""
        threads = torch.get_num_threads()
        self._functions.draft_extend(
            self._pool, ctypes.byref(model), cache, start, len(tokens), tokens, features, hidden, threads
        )

    def read_only(self, weights: PackedWeights) -> None:
        """Read all of an arena: the least that a forward over it can take."""
        count = weights.values.nbytes // 4
        self._functions.read_only(self._pool, weights.values.data_ptr(), count, torch.get_num_threads())


def load_library() -> Library:
    """The library for this processor, compiled if need be and checked, once per process. Raises BuildError."""
    library = _load_once()
    if isinstance(library, BuildError):
        raise library
    return library


@functools.cache
def _load_once() -> Library | BuildError:
    try:
        return open_library()
    except BuildError as error:
        return error


def open_library() -> Library:
    """`load_library` for this call alone."""
    folder = default_folder()
    if folder is None:
        raise BuildError("switched off by SLIPSTREAM_CPU_KERNELS")
    refusals = []
    for variant in usable_variants():
        library = Library(build(variant, folder), name=variant.name)
        if library.permitted:
            check_library(library)
            return library
        refusals.append(variant.name)
    raise BuildError(f"the system doesn't let this process use {', '.join(refusals)}")


def check_library(library: Library) -> None:
    """Products against PyTorch's, and each row alone against all together. Raises BuildError."""
    for in_bytes in (False, True):
        _check_product(library, in_bytes=in_bytes)


def _check_product(library: Library, *, in_bytes: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    columns, size, rows = 200, 192, 19
    weight = torch.randn(columns, size, generator=generator).bfloat16()
    inputs = torch.randn(rows, size, generator=generator).bfloat16()
    packed = pack(weight, in_bytes=in_bytes)
    outputs = library.linear(packed, inputs, torch.float32)
    expected = inputs.float() @ (rounded(weight) if in_bytes else weight.float()).T
    if not torch.allclose(outputs, expected, rtol=1e-4, atol=1e-2 if in_bytes else 1e-3):  # inputs have 13 bits
        raise BuildError("the compiled kernels compute wrong products on this processor")
    for row in range(rows):
        if not torch.equal(library.linear(packed, inputs[row : row + 1], torch.float32)[0], outputs[row]):
            raise BuildError("the compiled kernels' rows depend on each other on this processor")
