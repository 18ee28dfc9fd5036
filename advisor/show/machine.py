"""The machine as a card: memory by device, the host, the libraries that matter, and what is unknown and why.

Plain ASCII, so that it reads the same on a terminal, in a pipe and in a bug report. It decides nothing.
"""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from advisor.facts import SCHEMA, Facts, Unknown, to_json
from advisor.show import gaps
from advisor.show.gaps import printable
from advisor.show.terminal import GIB, size

BAR = 16
"""Characters of a memory bar, brackets left out."""
ROOMY_SHARE, TIGHT_SHARE = 0.5, 0.1
"""Free memory from which a bar is green, and below which it is red. Colour only; nothing follows from it."""
LIBRARIES = (
    *("accelerate", "bitsandbytes", "kernels", "triton", "flash_attn", "flash_attn_3"),
    *("gptqmodel", "torchao", "quanto"),
)
FURTHER = ("flash_attn_4", "hqq", "compressed_tensors", "gguf", "optimum", "peft", "trl", "deepspeed", "vllm", "sglang")
"""Libraries that are named where they are installed; that they are not is no news."""
UNITS = (
    ("host.avx512_bf16", "AVX512-BF16"),
    ("host.amx_bf16", "AMX"),
    ("host.arm_bf16", "Arm BF16"),
    ("host.fp16_units", "fp16"),
)


def machine_json(facts: Facts) -> dict[str, Any]:
    """What `probe --json` prints; `advisor.facts.read_machine` reads it back."""
    return {"schema": SCHEMA, "facts": to_json(facts)}


def card(facts: Facts) -> RenderableType:
    """The whole card, for 80 columns and more."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    sections = (
        ("GPU", _gpus(facts)),
        ("RAM", _ram(facts)),
        ("CPU", _cpu(facts)),
        ("Disk", _disk(facts)),
        ("Software", _software(facts)),
        ("Speed", _speed(facts)),
        ("Unknown", gaps.unknown(facts)),
    )
    for label, lines in sections:
        if rows := list(lines):
            table.add_row(label, Group(*rows))
    return table if table.rows else Text("Nothing is known about this machine.")


def _gpus(facts: Facts) -> Iterator[Text]:
    """The devices, those of one kind together; or that there is none; or why that is unknown."""
    if facts.count("gpu.count") == 0:
        why = facts.get("gpu.name") if "gpu.name" in facts else Unknown("none")
        yield Text(f"{printable(why.reason) if isinstance(why, Unknown) else 'none'}; models run on the processor")
        return
    if not _prefixes(facts) and isinstance(count := facts.get("gpu.count"), Unknown) and "gpu.count" in facts:
        yield Text(f"unknown: {printable(count.reason)}", style="yellow")
        return
    kinds: dict[str, list[str]] = {}
    for prefix in _prefixes(facts):
        kinds.setdefault(_kind(facts, prefix), []).append(prefix)
    for kind, prefixes in kinds.items():
        yield Text(f"{len(prefixes)} x {kind}" if len(prefixes) > 1 else kind)
        for prefix in prefixes:
            yield _device(facts, prefix)
    if kinds and (driver := _driver(facts)):
        yield Text(driver, style="dim")
    for remark in _order(facts, _prefixes(facts)):
        yield Text(remark, style="dim")


def _prefixes(facts: Facts) -> list[str]:
    """`gpu.0`, `gpu.1` ... in order; `gpu` where the devices are not listed one by one."""
    numbers = sorted(
        {int(part) for name in facts if name.startswith("gpu.") and (part := name.split(".")[1]).isdigit()}
    )
    if numbers:
        return [f"gpu.{number}" for number in numbers]
    known = ("name", "vendor", "memory_total_bytes")
    return ["gpu"] if any(facts.value(f"gpu.{name}") is not None for name in known) else []


def _kind(facts: Facts, prefix: str) -> str:
    """Name and what devices of one kind have in common."""
    name = facts.text(f"{prefix}.name") or f"a device of {facts.text(f'{prefix}.vendor') or 'an unknown maker'}"
    parts = [printable(name)]
    if (capability := facts.number(f"{prefix}.capability")) is not None:
        parts.append(f"compute capability {capability:.1f}")
    if bandwidth := facts.number(f"{prefix}.bandwidth_bytes_per_second"):
        parts.append(f"{bandwidth / 1e9:,.0f} GB/s")
    if facts.is_true(f"{prefix}.mig"):
        parts.append("a MIG slice")
    return ", ".join(parts)


def _device(facts: Facts, prefix: str) -> Text:
    """Memory bar of one device, what others hold, and how busy it is."""
    free, total = facts.count(f"{prefix}.memory_free_bytes"), facts.count(f"{prefix}.memory_total_bytes")
    number = prefix.removeprefix("gpu").removeprefix(".")
    line = Text(f"{number:>2} " if number else "")
    line.append_text(_bar(free, total))
    others = facts.count(f"{prefix}.memory_others_bytes")
    if others is not None and others >= GIB / 10:
        line.append(f", others {size(others).removesuffix(' GiB')}")
    if busy := facts.count(f"{prefix}.utilization_percent"):
        line.append(f", {busy} % busy")
    return line


def _bar(free: int | None, total: int | None) -> Text:
    """`[####......] 3.1 of 7.8 GiB free`: taken, then free. Figures of cards of one size stand below each other."""
    if total is None:
        return Text("memory unknown" if free is None else f"{size(free)} free")
    if free is None:
        return Text(f"[{'?' * BAR}] {size(total)}, how much is free is unknown")
    share = min(1.0, max(0.0, free / total)) if total else 0.0
    taken = round(BAR * (1 - share))
    colour = "green" if share >= ROOMY_SHARE else "red" if share < TIGHT_SHARE else "yellow"
    bar = Text.assemble("[", ("#" * taken, "dim"), ("." * (BAR - taken), colour), "] ")
    figure, unit = size(total).split()
    return bar.append(f"{size(free).removesuffix(' ' + unit):>{len(figure)}} of {size(total)} free")


def _driver(facts: Facts) -> str:
    parts = []
    if driver := facts.text("gpu.driver"):
        parts.append(f"driver {printable(driver)}")
    if cuda := facts.text("gpu.driver_cuda"):
        parts.append(f"up to CUDA {printable(cuda)}")
    return ", ".join(parts)


def _order(facts: Facts, prefixes: list[str]) -> Iterator[str]:
    """The devices stand in torch's order: what the driver calls them where that differs, and that they are several."""
    told = [facts.count(f"{prefix}.index") for prefix in prefixes]
    if told != [None] * len(told) and told != list(range(len(told))):
        yield f"the driver's numbers: {', '.join('?' if index is None else str(index) for index in told)}"
    if len(prefixes) > 1:
        first = "torch's first is unknown" if facts.count("gpu.index") is None else "torch uses 0 first"
        yield f"{first}; a model does not spread over them by itself"


def _ram(facts: Facts) -> Iterator[Text]:
    total = facts.count("host.ram_total_bytes")
    if total is not None:
        limit = ", the container's limit" if _source(facts, "host.ram_total_bytes") == "cgroup limit" else ""
        yield _bar(facts.count("host.ram_available_bytes"), total).append(limit)


def _source(facts: Facts, name: str) -> str | None:
    fact = facts.get(name)
    return None if isinstance(fact, Unknown) else fact.source


def _cpu(facts: Facts) -> Iterator[Text]:
    if name := facts.text("host.cpu"):
        yield Text(printable(name))
    if line := ", ".join(part for part in (_cores(facts), _units(facts), _place(facts)) if part):
        yield Text(line)


def _cores(facts: Facts) -> str:
    usable, total = facts.count("host.cores_usable"), facts.count("host.cores_total")
    if usable is None:
        return ""
    if total is not None and usable < total:
        return f"{usable} of {total} cores usable"
    return "1 core" if usable == 1 else f"{usable} cores"


def _units(facts: Facts) -> str:
    """16-bit number units; said to be absent only where all of them are known to be."""
    there = [label for name, label in UNITS if facts.is_true(name)]
    if there:
        return f"16-bit units: {' + '.join(there)}"
    known = all(facts.value(name) is False for name, _ in UNITS if name in facts)
    return "no 16-bit units" if known and any(name in facts for name, _ in UNITS) else ""


def _place(facts: Facts) -> str:
    parts = [printable(facts.text("host.os") or "")]
    parts += ["in a container"] if facts.is_true("host.container") else []
    parts += ["under WSL"] if facts.is_true("host.wsl") else []
    return " ".join(part for part in parts if part)


def _disk(facts: Facts) -> Iterator[Text]:
    free = facts.count("host.disk_free_bytes")
    if free is not None:
        yield Text(f"{size(free)} free where models are cached")


def _software(facts: Facts) -> Iterator[Text]:
    """torch and what it sees, transformers, then what else is there and what is not."""
    if torch := _torch(facts):
        yield Text(torch)
    there = [_library(facts, name) for name in ("python", "transformers") if facts.text(f"{name}.version")]
    if there:
        yield Text(", ".join(there))
    installed = [name for name in (*LIBRARIES, *FURTHER) if facts.is_true(f"{name}.installed")]
    if installed:
        yield Text(", ".join(_library(facts, name) for name in installed))
    absent = [name for name in ("transformers", *LIBRARIES) if facts.value(f"{name}.installed") is False]
    absent += ["a C++ compiler"] if facts.value("compiler.found") is False else []
    if absent:
        yield Text(f"not installed: {', '.join(absent)}", style="dim")


def _torch(facts: Facts) -> str:
    version, build = facts.text("torch.version"), facts.text("torch.build")
    if version is None:
        return "torch is not installed" if facts.value("torch.installed") is False else ""
    parts = [f"torch {printable(version)}"]
    parts += [f"built for {printable(build)}"] if build else []
    match facts.value("torch.sees_gpu"):
        case True:
            parts.append("sees the GPU")
        case False:
            parts.append("finds no GPU")
    return ", ".join(parts)


def _library(facts: Facts, name: str) -> str:
    text = f"{name} {printable(facts.text(f'{name}.version') or '(no version)')}"
    if name == "kernels" and facts.value("kernels.accepted") is False:
        text += f" (transformers takes {printable(facts.text('transformers.kernels_range') or 'another')})"
    return text


def _speed(facts: Facts) -> Iterator[Text]:
    """The measured constants that a person can compare: weights read at decode, products at prefill."""
    read = _rates(facts, "speed.gemv_{}_bytes_per_second", "GB/s")
    products = _rates(facts, "speed.gemm_{}_flops_per_second", "GFLOP/s")
    if read:
        yield Text(f"reads weights at {read}")
    if products:
        yield Text(f"multiplies at {products}")
    if runs := facts.count("speed.learnt_runs"):
        yield Text(f"predictions corrected by {runs} of your own runs")


def _rates(facts: Facts, pattern: str, unit: str) -> str:
    found = [(kind, facts.number(pattern.format(kind))) for kind in ("float32", "bfloat16", "float16")]
    rates = [
        f"{kind} {rate / 1e9:,.3g}" if rate < 1e12 else f"{kind} {rate / 1e9:,.0f}" for kind, rate in found if rate
    ]
    return f"{', '.join(rates)} {unit}" if rates else ""
