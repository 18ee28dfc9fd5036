"""The machine card, as it reads at 80 columns without colour."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from advisor.facts import Fact, Facts, Known, Unknown, Value, from_json, read_machine
from advisor.rulebook import full_vocabulary
from advisor.show import machine

MACHINES = Path(__file__).parents[1] / "machines"
GIB = 1024**3


def screen(facts: Facts, width: int = 80) -> str:
    """The card as a pipe receives it."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(machine.card(facts))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def recorded(name: str, **changed: Value | Unknown) -> Facts:
    """A machine of `tests/machines`, with some facts changed; `__` in a name stands for a dot."""
    facts: dict[str, Fact] = {
        name.replace("__", "."): value if isinstance(value, Unknown) else Known(value, "test")
        for name, value in changed.items()
    }
    return read_machine(MACHINES / f"{name}.json", full_vocabulary()) | Facts(facts)


def many(count: int, held: Callable[[int], int]) -> Facts:
    """A node of H100s on which others hold `held(index)` bytes."""
    first = recorded("h100-80gb")
    facts: dict[str, Fact] = {"gpu.count": Known(count, "test")}
    for index in range(count):
        facts |= {name.replace("gpu.0.", f"gpu.{index}."): first.get(name) for name in first if "gpu.0." in name}
        total = first.count("gpu.0.memory_total_bytes") or 0
        facts[f"gpu.{index}.memory_free_bytes"] = Known(total - held(index), "test")
        facts[f"gpu.{index}.memory_others_bytes"] = Known(held(index), "test")
        facts[f"gpu.{index}.index"] = Known(index, "test")
        facts[f"gpu.{index}.utilization_percent"] = Known(97 if held(index) else 0, "test")
    return first | Facts(facts)


def hidden(reason: str) -> Facts:
    """A machine whose GPUs are there, and kept from torch."""
    there = recorded("2x-a100-80gb", gpu__count=0, torch__sees_gpu=False)
    kept = {name: there.get(name) for name in there if not name.startswith("gpu.") or name == "gpu.count"}
    return Facts({**dict.fromkeys(("gpu.name", "gpu.capability"), Unknown(reason)), **kept})


BROKEN_TORCH = "importing torch failed: exit code 1: OSError: libcudart.so.12: cannot open shared object file"
SCREENS = {
    **{f"machine-{path.stem}": recorded(path.stem) for path in sorted(MACHINES.glob("*.json"))},
    "machine-8-gpus-shared": many(8, lambda index: (0, 70, 3, 0)[index % 4] * GIB),
    "machine-mixed-gpus": recorded(
        "2x-a100-80gb",
        gpu__1__name="Tesla T4",
        gpu__1__capability=7.5,
        gpu__1__bandwidth_bytes_per_second=320.0e9,
        gpu__1__memory_total_bytes=int(14.75 * GIB),
        gpu__1__memory_free_bytes=GIB // 2,
        gpu__1__memory_others_bytes=int(14.25 * GIB),
        gpu__index=Unknown("the devices differ, and torch did not say which it uses first"),
    ),
    "machine-gpus-hidden": hidden("CUDA_VISIBLE_DEVICES hides every GPU"),
    "machine-renumbered": recorded("2x-a100-80gb", gpu__index=3, gpu__0__index=3, gpu__1__index=1),
    "machine-torch-broken": recorded(
        "rtx-4090",
        torch__installed=Unknown(BROKEN_TORCH),
        torch__sees_gpu=Unknown(BROKEN_TORCH),
        torch__bf16=Unknown(BROKEN_TORCH),
        torch__threads=Unknown(BROKEN_TORCH),
        kernels__version="0.20.0",
        kernels__accepted=False,
    ),
    "machine-half-told": recorded(
        "t4",
        gpu__0__memory_free_bytes=Unknown("the driver does not report it"),
        gpu__0__bandwidth_bytes_per_second=Unknown("the driver does not report the memory clock"),
        gpu__memory_free_bytes=Unknown("the driver does not report it"),
        gpu__bandwidth_bytes_per_second=Unknown("the driver does not report the memory clock"),
        host__cores_usable=2,
        host__avx512_bf16=Unknown("the system does not list the processor's features"),
        speed__gemv_float32_bytes_per_second=15.5e9,
        speed__gemv_bfloat16_bytes_per_second=11.5e9,
        speed__gemm_float32_flops_per_second=130.0e9,
        speed__gemm_bfloat16_flops_per_second=2.54e12,
    ),
    "machine-empty": Facts(),
    "machine-nothing-answered": Facts(
        {
            name: Unknown("no answer within 10 s")
            for name in ("gpu.count", "gpu.name", "torch.version", "torch.installed", "host.cpu", "host.os")
        }
    ),
}


@pytest.mark.parametrize("name", sorted(SCREENS))
def test_screen(name: str, snapshot: Callable[[str, str], None]) -> None:
    snapshot(name, screen(SCREENS[name]))


@pytest.mark.parametrize("name", sorted(SCREENS))
@pytest.mark.parametrize("width", [80, 100])
def test_the_card_is_plain_and_keeps_its_width(name: str, width: int) -> None:
    text = screen(SCREENS[name], width)
    assert text.isascii()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines()), default=0) <= width


@pytest.mark.parametrize("name", sorted(SCREENS))
def test_no_word_is_cut(name: str) -> None:
    """What is too long goes on in the next line: the same words stand on a narrow and on a very wide screen."""
    assert re.findall(r"\S+", screen(SCREENS[name])) == re.findall(r"\S+", screen(SCREENS[name], 1000))


def test_further_libraries_are_named_only_where_they_are_installed() -> None:
    assert "vllm" not in screen(recorded("t4"))
    assert "vllm 0.21.0" in screen(recorded("t4", vllm__installed=True, vllm__version="0.21.0"))


@pytest.mark.parametrize(
    ("free", "total", "bar"),
    [
        (0, 4 * GIB, f"[{'#' * 16}] 0 MiB of 4.0 GiB free"),
        (4 * GIB, 4 * GIB, f"[{'.' * 16}] 4.0 of 4.0 GiB free"),
        (GIB, 4 * GIB, f"[{'#' * 12}{'.' * 4}] 1.0 of 4.0 GiB free"),
        (5 * GIB, 4 * GIB, f"[{'.' * 16}] 5.0 of 4.0 GiB free"),
        (GIB // 100, 4 * GIB, f"[{'#' * 16}] 10 MiB of 4.0 GiB free"),
        (None, 4 * GIB, f"[{'?' * 16}] 4.0 GiB, how much is free is unknown"),
    ],
)
def test_bar(free: int | None, total: int, bar: str) -> None:
    facts = Facts({"host.ram_total_bytes": Known(total, "test")})
    if free is not None:
        facts |= Facts({"host.ram_available_bytes": Known(free, "test")})
    assert screen(facts).splitlines()[0] == f"RAM  {bar}"


def test_foreign_text_is_neither_markup_nor_control() -> None:
    facts = Facts({"host.cpu": Known("[red]x[/red]\x1b[31m\x07\r[/]", "test"), "gpu.count": Unknown("a\x1b[2Jb")})
    text = screen(facts)
    assert "[red]x[/red]" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_json_is_what_machine_reads_back() -> None:
    for path in MACHINES.glob("*.json"):
        facts = read_machine(path, full_vocabulary())
        data = json.loads(json.dumps(machine.machine_json(facts)))
        assert data["schema"] == 1
        assert from_json(data["facts"], full_vocabulary(), "here") == facts
