"""kernels/cpu_kernels: compiled once, checked, right on any shape; and what happens where that isn't possible."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from cpu_kernels import build as building
from cpu_kernels import packing
from cpu_kernels.build import EMULATED, VARIANTS, BuildError, best_variant, build
from cpu_kernels.library import Library, check_library, open_library
from spec_kernels.distribution import argmax_rows

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")

CHECKED = ("-fsanitize=undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=all", "-O1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("libraries")


@pytest.fixture(scope="module", params=["this processor's", "AVX-512 BF16, emulated", "undefined behaviour stops it"])
def library(request: pytest.FixtureRequest, folder: Path) -> Library:
    variant = EMULATED if request.param == "AVX-512 BF16, emulated" else best_variant()
    return Library(build(variant, folder, extra_flags=CHECKED if request.param.startswith("undefined") else ()))


@pytest.mark.parametrize(("columns", "size"), [(1, 2), (16, 64), (61, 34), (129, 576), (300, 1538)])
def test_products_are_those_of_pytorch_for_odd_shapes(library: Library, columns: int, size: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    weight = torch.randn(columns, size, generator=generator).bfloat16()
    packed = packing.pack(weight)
    for rows in (1, 2, 3, 5, 8, 11, 33):
        inputs = torch.randn(rows, size, generator=generator).bfloat16()
        expected = inputs.double() @ weight.double().T
        scale = inputs.double().abs() @ weight.double().abs().T  # how large the summed terms are
        outputs = library.linear(packed, inputs, torch.float32)
        assert ((outputs - expected).abs() <= 1e-5 * scale).all()
        assert torch.equal(library.linear(packed, inputs, torch.bfloat16), outputs.bfloat16())


@pytest.mark.parametrize(("columns", "size"), [(16, 16), (61, 64), (129, 576), (300, 1536)])
def test_products_with_weights_of_eight_bits_are_those_of_pytorch(library: Library, columns: int, size: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    weight = torch.randn(columns, size, generator=generator)
    packed, whole_weight = packing.pack(weight, in_bytes=True), packing.rounded(weight).double()
    step = max(2.0**-31 * 128 * size, 1 / 32767)  # of the inputs, as a share of a row's largest
    for rows in (1, 2, 3, 5, 8, 11, 33):
        inputs = torch.randn(rows, size, generator=generator).bfloat16()
        largest = inputs.abs().amax(1, keepdim=True).double()
        bound = largest * step / 2 * whole_weight.abs().sum(1) + 1e-5
        assert ((library.linear(packed, inputs, torch.float32) - inputs.double() @ whole_weight.T).abs() <= bound).all()
    zeros = torch.zeros(3, size).bfloat16()
    assert not library.linear(packed, zeros, torch.float32).any()


@pytest.mark.parametrize("in_bytes", [False, True], ids=["bf16", "8 bits"])
def test_the_largest_output_of_a_row_is_found_with_the_product(library: Library, in_bytes: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    for columns in (1, 16, 61, 1000):
        packed = packing.pack(torch.randn(columns, 64, generator=generator), in_bytes=in_bytes)
        for rows in (0, 1, 3, 9):
            inputs = torch.randn(rows, 64, generator=generator).bfloat16()
            outputs, best = library.ranked_linear(packed, inputs)
            assert torch.equal(outputs, library.linear(packed, inputs, torch.float32))
            assert best == argmax_rows(outputs)


def test_of_equal_outputs_the_first_is_the_largest_also_among_negative_ones(library: Library) -> None:
    weight = torch.full((700, 4), 1.0)
    weight[[300, 301, 650]] = 0.5  # in the second and the third share of the work
    packed = packing.pack(weight)
    inputs = torch.stack([torch.full((4,), -2.0), torch.full((4,), 2.0)]).bfloat16()
    assert library.ranked_linear(packed, inputs)[1] == [300, 0]


def test_sums_of_eight_bits_reach_their_bounds_without_overflow(library: Library) -> None:
    size = 1536
    packed = packing.pack(torch.ones(16, size), in_bytes=True)
    for rows in (1, 4):
        for sign in (1.0, -1.0):
            outputs = library.linear(packed, torch.full((rows, size), sign).bfloat16(), torch.float32)
            torch.testing.assert_close(outputs, torch.full((rows, 16), sign * size))


def test_weights_of_eight_bits_are_within_half_a_step() -> None:
    weight = torch.randn(35, 12, generator=torch.Generator().manual_seed(0))
    packed = packing.pack(weight, in_bytes=True)
    assert packed.scales is not None and packed.scales.shape == (48,)
    assert ((packing.rounded(weight) - weight).abs() <= packed.scales[:35, None] / 2 + 1e-7).all()


@pytest.mark.parametrize("in_bytes", [False, True], ids=["bf16", "8 bits"])
def test_a_rows_bits_depend_on_neither_its_company_nor_the_threads(library: Library, in_bytes: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2800, 384, generator=generator)  # large enough for more than one thread
    packed = packing.pack(weight, in_bytes=in_bytes)
    inputs = torch.randn(32, 384, generator=generator).bfloat16()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = torch.cat([library.linear(packed, inputs[row : row + 1], torch.float32) for row in range(32)])
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for rows in range(1, 33):
                assert torch.equal(library.linear(packed, inputs[:rows], torch.float32), alone[:rows])
    finally:
        torch.set_num_threads(before)


def test_an_input_of_another_shape_or_dtype_is_refused(library: Library) -> None:
    packed = packing.pack(torch.ones(4, 6))
    for inputs in (torch.ones(1, 6), torch.ones(1, 4).bfloat16(), torch.ones(6).bfloat16()):
        with pytest.raises(ValueError):
            library.linear(packed, inputs, torch.float32)


def test_it_is_compiled_once(folder: Path) -> None:
    path = build(best_variant(), folder)
    written = path.stat().st_mtime_ns
    assert build(best_variant(), folder) == path and path.stat().st_mtime_ns == written
    assert not list(folder.glob(".building-*"))


def test_no_compiler_no_folder_and_a_compiler_that_fails_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPSTREAM_CPU_KERNELS", str(tmp_path / "libraries"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match="not installed"):
        open_library()
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(BuildError, match="false failed"):
        open_library()
    monkeypatch.setenv("SLIPSTREAM_CPU_KERNELS", "off")
    with pytest.raises(BuildError, match="switched off"):
        open_library()
    assert building.main([]) == 0
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("CXX")
    with pytest.raises(BuildError, match="file"):
        build(VARIANTS[-1], tmp_path / "file")


def test_the_best_instructions_that_the_processor_has_are_used() -> None:
    avx2 = VARIANTS[-1].needs
    assert best_variant(avx2).name == "avx2"
    assert best_variant(avx2 | {"avx512f", "avx512vl"}).name == "avx2"
    assert best_variant(VARIANTS[2].needs).name == "avx512"
    assert best_variant(VARIANTS[1].needs | {"amx_tile"}).name == "avx512bf16"
    assert best_variant(VARIANTS[0].needs).name == "amx"
    with pytest.raises(BuildError, match="AVX2"):
        best_variant(frozenset({"sse4_2"}))


def test_a_library_that_computes_wrong_products_is_not_used(folder: Path) -> None:
    broken = Library(build(best_variant(), folder))
    honest = broken.linear

    class Wrong(Library):
        def __init__(self) -> None:
            pass

        def linear(self, weight: packing.PackedLinear, inputs: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
            return honest(weight, inputs, dtype) + (0.5 if inputs.shape[0] == self.wrong_at else 0)

        wrong_at = 1

    for wrong_at, message in ((19, "wrong products"), (1, "depend on each other")):
        wrong = Wrong()
        wrong.wrong_at = wrong_at
        with pytest.raises(BuildError, match=message):
            check_library(wrong)
    check_library(broken)
