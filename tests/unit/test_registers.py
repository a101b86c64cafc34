"""What a guest gets on a processor with more registers than its kernel keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.kernels import registers


def _cpuinfo(path: Path, flags: str) -> Path:
    path.write_text(f"processor\t: 0\nmodel name\t: a processor\nflags\t\t: {flags}\nbugs\t\t: none\n")
    return path


@pytest.mark.parametrize(
    ("release", "flags", "narrowed"),
    [
        ("6.1.176", "fpu sse avx2 avx512f amx_bf16 amx_tile amx_int8 flush_l1d", True),
        ("6.12.113", "fpu amx_tile", True),
        ("6.1.0-50-amd64", "amx_tile", True),
        ("6.13.0", "fpu amx_tile", False),
        ("7.2.13-rc1", "fpu amx_tile", False),
        ("6.1.176", "fpu sse avx2 avx512f pku", False),
        ("6.1.176", "not_amx_tile_but_alike", False),
    ],
)
def test_only_a_kernel_that_cannot_keep_the_registers_of_amx_does_without_avx(
    tmp_path: Path, release: str, flags: str, narrowed: bool
) -> None:
    found = registers.narrowing(release, _cpuinfo(tmp_path / "cpuinfo", flags))
    assert (bool(found.refusals), bool(found.words)) == (narrowed, narrowed)


def test_the_words_are_taken_for_the_environment_of_process_1(tmp_path: Path) -> None:
    words = registers.narrowing("6.1.176", _cpuinfo(tmp_path / "cpuinfo", "amx_tile")).words
    for word in words:  # init/main.c: unknown_bootoption; a name with a dot is a module's parameter
        name, equals, value = word.partition("=")
        assert equals and value and "." not in name and not {" ", '"'} & set(word)
