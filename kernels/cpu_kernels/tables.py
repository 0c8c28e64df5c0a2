"""The compiled hot path of the tenant memory (source/tables.cpp) behind ctypes. Any x86-64 with a compiler will do."""

from __future__ import annotations

import ctypes
import functools

from cpu_kernels.build import TABLES, BuildError, build, default_folder

MAX_CANDIDATES = 16  # drafted alternatives of a token that the residual memory can mix with
MAX_MIXED = 58  # and those with what followed the contexts
MAX_LOOKAHEAD = 64


class Table(ctypes.Structure):
    """`Table` of source/tables.cpp."""

    _fields_ = (
        ("words", ctypes.c_void_p),
        ("line_bits", ctypes.c_uint64),
        ("used", ctypes.c_uint64),
        ("learned", ctypes.c_uint64),
    )


class TableFunctions:
    """The functions of one compiled library. Callers keep every buffer alive and large enough for the call."""

    def __init__(self, path: str) -> None:
        try:
            # PyDLL keeps the GIL: a call takes a microsecond or two, less than giving the GIL away and getting it back.
            library = ctypes.PyDLL(path)
        except OSError as error:
            raise BuildError(f"{path} can't be loaded: {error}") from error
        table, pointer, integer, real = ctypes.POINTER(Table), ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
        self.learn = library.tables_learn
        self.learn.restype = None
        self.learn.argtypes = (table, table, pointer, integer, integer, integer)
        self.split = library.tables_split
        self.split.restype = None
        self.split.argtypes = (table, table)
        self.propose = library.tables_propose
        self.propose.restype = integer
        self.propose.argtypes = (table, table, pointer, integer, integer, pointer, pointer)
        self.mix = library.tables_mix
        self.mix.restype = integer
        self.mix.argtypes = (table, table, pointer, integer, pointer, pointer, integer, real, real, pointer, pointer)


@functools.cache
def load_tables() -> TableFunctions | None:
    """The library, compiled if need be, once per process. None: switched off, or it can't be compiled."""
    folder = default_folder()
    if folder is None:
        return None
    try:
        return TableFunctions(str(build(TABLES, folder, translated=("tables.cpp",))))
    except BuildError:
        return None
