"""The constants: what is made of measurements, when they are taken again, and what a spoiled cache or child does."""

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import kept
from advisor.facts import Facts, Known, Unknown, Vocabulary, from_json, to_json
from advisor.probe import inside_speed, speed
from advisor.vocabulary import CALIBRATION

cpu = inside_speed.cpu
PARAMETERS = 48 * 2**20
NAMES = {declaration.name for declaration in CALIBRATION}
VALUES = {
    "layer_host_seconds": 3e-4,
    "step_host_seconds": 5e-4,
    "gemv_float32_bytes_per_second": 1.5e10,
    "process_bytes": 350_000_000,
}
GOOD = {"device": "cpu", "threads": 2, "values": VALUES, "missing": {"bfloat16": "RuntimeError: not implemented"}}
WHOLE = {**GOOD, "missing": {}}
MACHINE = Facts({"torch.version": Known("2.13.0", "torch"), "host.cores_usable": Known(2, "affinity")})

Program = Callable[..., Path]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of its own, and a machine on which nothing else runs, whatever runs beside the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(speed.Clock, "busy", lambda self, threads: 0.0)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Program:
    """Stands a program in for the child's: it notes its request and answers, or runs other lines."""

    def make(answer: object = WHOLE, lines: str | None = None) -> Path:
        asked = tmp_path / "asked"
        body = lines or f"open(sys.argv[2], 'w').write({json.dumps(answer)!r})"
        text = f"import sys\nopen({str(asked)!r}, 'a').write(open(sys.argv[1]).read() + '\\n')\n{body}\n"
        path = tmp_path / "program.py"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(speed, "PROGRAM", path)
        return asked

    return make


def requests(asked: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in asked.read_text(encoding="utf-8").splitlines()] if asked.exists() else []


def test_every_constant_is_answered_with_its_source(program: Program) -> None:
    program(GOOD)
    found = speed.constants(sys.executable, MACHINE)
    assert set(found) == NAMES
    assert found.get("speed.layer_host_seconds") == Known(3e-4, "measured on cpu")
    assert found.get("speed.device") == Known("cpu", "torch")
    assert found.get("speed.gemm_bfloat16_flops_per_second") == Unknown("RuntimeError: not implemented")
    assert found.get("speed.gemm_float16_flops_per_second") == Unknown("not measured")


def test_they_go_to_json_and_back(program: Program) -> None:
    program(GOOD)
    found = speed.constants(sys.executable, MACHINE)
    assert to_json(from_json(json.loads(json.dumps(to_json(found))), Vocabulary(CALIBRATION), "here")) == to_json(found)


def test_they_are_measured_once_and_say_so(program: Program) -> None:
    asked = program()
    heard: list[str] = []
    first = speed.constants(sys.executable, MACHINE, heard.append)
    assert to_json(speed.constants(sys.executable, MACHINE, heard.append)) == to_json(first)
    assert requests(asked) == [{"cores": 2, "disturbed": False}]
    assert len(heard) == 1


@pytest.mark.parametrize("changed", speed.DEPENDS_ON)
def test_they_are_measured_again_when_the_machine_changes(program: Program, changed: str) -> None:
    asked = program()
    speed.constants(sys.executable, MACHINE)
    speed.constants(sys.executable, MACHINE | Facts({changed: Known("another", "test")}))
    assert len(requests(asked)) == 2


def test_incomplete_constants_are_not_kept(program: Program) -> None:
    asked = program(GOOD)
    speed.constants(sys.executable, MACHINE)
    speed.constants(sys.executable, MACHINE)
    assert len(requests(asked)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "null",
        '{"facts": {}, "until": null}',
        '{"facts": {"speed.device": {"value": 7, "source": "torch"}}, "until": null}',
        '{"facts": {"speed.secret": {"value": 7, "source": "torch"}}, "until": null}',
        '{"facts": {"speed.device": {"value": "cpu", "source": "torch"}}, "until": "never"}',
        '{"facts": {"speed.device": {"value": "cpu", "source": "torch"}}, "until": 1e300}',
        '{"facts": {"speed.device": {"value": "cpu", "source": "torch"}}, "until": 5.0}',
        '{"facts": 7, "until": null}',
        "\x00\xff",
    ],
)
def test_a_damaged_or_old_file_costs_a_measurement_and_nothing_else(
    program: Program, damage: str, tmp_path: Path
) -> None:
    asked = program()
    first = speed.constants(sys.executable, MACHINE)
    (path,) = (tmp_path / "cache" / "perf-advisor").glob("speed-*.json")
    path.write_text(damage, encoding="latin-1")
    assert to_json(speed.constants(sys.executable, MACHINE)) == to_json(first)
    assert len(requests(asked)) == 2


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(program: Program, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be", encoding="utf-8")
    asked = program()
    assert speed.constants(sys.executable, MACHINE).number("speed.layer_host_seconds") == 3e-4
    assert speed.constants(sys.executable, MACHINE).number("speed.layer_host_seconds") == 3e-4
    assert len(requests(asked)) == 2


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("sys.exit('torch is broken')", "torch is broken"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("raise ImportError('libcudart.so: cannot open shared object file')", "libcudart"),
    ],
)
def test_a_child_that_dies_leaves_every_constant_unknown_with_the_reason(
    program: Program, lines: str, reason: str
) -> None:
    program(lines=lines)
    found = speed.constants(sys.executable, MACHINE)
    assert set(found) == NAMES
    for name in NAMES:
        match found.get(name):
            case Unknown(why):
                assert reason in why
            case Known():
                pytest.fail(f"{name} is known")


def test_a_child_that_hangs_is_ended(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "LIMIT_SECONDS", 0.5)
    program(lines="import time; time.sleep(60)")
    assert speed.constants(sys.executable, MACHINE).get("speed.device") == Unknown("no answer within 0 s")


def test_without_torch_nothing_is_started(program: Program) -> None:
    asked = program()
    found = speed.constants(sys.executable, Facts({"torch.installed": Known(False, "metadata")}))
    assert requests(asked) == []
    assert found.get("speed.device") == Unknown("torch or transformers is not installed")


def test_busy_neighbours_are_waited_for_once_and_then_named(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed.Clock, "busy", lambda self, threads: 0.4)
    monkeypatch.setattr(speed, "PATIENCE_SECONDS", 0.0)
    asked = program()
    found = speed.constants(sys.executable, MACHINE)
    assert [request["disturbed"] for request in requests(asked)] == [False, True]
    match found.get("speed.layer_host_seconds"):
        case Known(_, source):
            assert "40% of the cores" in source and "not reliable" in source
        case Unknown():
            pytest.fail("a disturbed constant is still a constant")


def test_disturbed_constants_are_kept_for_a_while_only(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed.Clock, "busy", lambda self, threads: 0.4)
    monkeypatch.setattr(speed, "PATIENCE_SECONDS", 0.0)
    asked = program()
    speed.constants(sys.executable, MACHINE)
    speed.constants(sys.executable, MACHINE)
    assert len(requests(asked)) == 2
    later = speed.time.time() + speed.DISTURBED_SECONDS + 1
    monkeypatch.setattr(speed.time, "time", lambda: later)
    speed.constants(sys.executable, MACHINE)
    assert len(requests(asked)) == 4


def test_threads_that_lost_their_core_must_not_spin(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed.Clock, "busy", lambda self, threads: 0.4)
    monkeypatch.setattr(speed, "PATIENCE_SECONDS", 0.0)
    program(lines="import os; sys.exit(os.environ.get('OMP_WAIT_POLICY', 'as usual'))")
    assert speed.constants(sys.executable, MACHINE).get("speed.device") == Unknown("exit code 1: PASSIVE")


class Ticks:
    """/proc/stat of a machine with four cores, second by second: busy and idle ticks of 1/100 s."""

    def __init__(self, *moments: tuple[int, int]) -> None:
        self.moments = iter(moments)

    def __call__(self) -> str:
        busy, idle = next(self.moments)
        return f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0"


@pytest.mark.parametrize(
    ("others", "threads", "share"),
    [
        (0, 2, 0.0),
        (100, 2, 0.0),
        (200, 2, 0.0),
        (300, 2, 0.5),
        (400, 2, 1.0),
        (100, 4, 0.25),
        (100, 1, 0.0),
        (400, 1, 1.0),
    ],
)
def test_work_of_others_counts_where_the_other_cores_do_not_suffice(
    monkeypatch: pytest.MonkeyPatch, others: int, threads: int, share: float
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(speed, "TICKS_PER_SECOND", 100)
    monkeypatch.setattr(speed.os, "times", lambda: (0.0, 0.0, 0.0, 0.0, 0.0))
    clock = speed.Clock(Ticks((1000, 5000), (1000 + others, 5000 + 400 - others)), cores=4)
    assert clock.busy(threads) == pytest.approx(share)


def test_own_work_is_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(speed, "TICKS_PER_SECOND", 100)
    own = iter([(0.0, 0.0, 0.0, 0.0, 0.0), (0.5, 0.5, 2.0, 1.0, 0.0)])
    monkeypatch.setattr(speed.os, "times", lambda: next(own))
    clock = speed.Clock(Ticks((0, 0), (400, 0)), cores=4)
    assert clock.busy(4) == pytest.approx(0.0)


def test_where_nobody_tells_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert speed.Clock(lambda: None).busy(2) is None


def steps(dtype: str, layer: float, around: float, seconds: dict[str, float]) -> dict[str, list[float]]:
    """Samples as they would be if a parameter of every width took so many seconds, by kind of step."""
    found = {"tiny": [cpu.TINY_LAYERS * layer + around]}
    for width in cpu.HIDDEN:
        layers = cpu.layers_of(width, PARAMETERS)
        launch, body = layers * layer + around, layers * cpu.layer_parameters(width)
        for rows in ("one", "eight"):
            found[f"{dtype} {width} {rows}"] = [launch + body * seconds[rows]]
    launch = cpu.PROMPT_LAYERS * layer + around
    body = cpu.PROMPT_LAYERS * cpu.layer_parameters("middle")
    found[f"{dtype} long"] = [found[f"{dtype} middle eight"][0] + seconds["long"]]
    found[f"{dtype} prompt"] = [launch + body * seconds["prompt"]]
    for name in cpu.HEAD_HIDDEN:
        found |= {f"{dtype} {name} {rows}": [cpu.HEAD_PARAMETERS * seconds[rows]] for rows in ("one", "eight")}
    return found


def test_the_parts_of_a_step_are_told_apart() -> None:
    """Step times that are made from constants give the constants back."""
    seconds = {"one": 4 / 1.5e10, "eight": 16 / 3.4e10, "prompt": 512 / 1.5e11, "long": 0.01}
    samples = steps("float32", 7e-4, 3e-4, seconds)
    found = cpu.values(samples, statistics.median, "float32", 7e-4, PARAMETERS)
    for prefix in ("", "narrow_", "wide_", "head_", "narrow_head_"):
        assert found[f"{prefix}gemv_float32_bytes_per_second"] == pytest.approx(1.5e10)
        assert found[f"{prefix}small_gemm_float32_flops_per_second"] == pytest.approx(3.4e10)
    assert found["gemm_float32_flops_per_second"] == pytest.approx(1.5e11)
    kept_bytes = 2 * cpu.layers_of("middle", PARAMETERS) * 8 * 1024 * (cpu.LONG - cpu.SHORT) * 4
    assert found["kv_float32_bytes_per_second"] == pytest.approx(kept_bytes / 0.01)
    assert {f"speed.{name}" for name in found} <= NAMES


def test_a_type_with_one_width_has_no_rates_by_size() -> None:
    whole = steps("float16", 7e-4, 3e-4, {"one": 1e-10, "eight": 5e-10, "prompt": 3e-9, "long": 0.01})
    samples = {name: found for name, found in whole.items() if not any(w in name for w in ("narrow", "wide", "head"))}
    found = cpu.values(samples, min, "float16", 7e-4, PARAMETERS)
    assert len(found) == 4
    assert {f"speed.{name}" for name in found} <= NAMES


def test_the_pool_is_larger_than_the_cache_and_holds_the_widest_layer() -> None:
    assert cpu.MOST >= cpu.pool_parameters() >= cpu.FEWEST > cpu.layer_parameters("wide")
    assert cpu.layers_of("narrow", PARAMETERS) > cpu.layers_of("middle", PARAMETERS) > cpu.layers_of("wide", PARAMETERS)


def test_a_quarter_of_the_samples_is_quicker() -> None:
    assert inside_speed.lower_quarter([4.0, 1.0, 3.0, 2.0]) == 2.0
    assert inside_speed.lower_quarter([5.0]) == 5.0


def test_the_host_is_told_by_two_depths() -> None:
    samples = {"host few": [5e-4 + 2 * 3e-4], "host more": [5e-4 + 6 * 3e-4]}
    found = inside_speed.host_values(samples, statistics.median)
    assert found == pytest.approx({"layer_host_seconds": 3e-4, "step_host_seconds": 5e-4})


@given(st.lists(st.floats(1e-6, 10), min_size=13, max_size=13))
def test_disturbed_times_give_positive_rates_or_a_refusal(times: list[float]) -> None:
    names = steps("float32", 1.0, 1.0, {"one": 1.0, "eight": 1.0, "prompt": 1.0, "long": 1.0})
    samples = {name: [time] for name, time in zip(names, times, strict=True)}
    try:
        found = cpu.values(samples, min, "float32", 1e-4, PARAMETERS)
    except ValueError as error:
        assert "disturbed" in str(error)
    else:
        assert all(value > 0 for value in found.values())


def test_kinds_of_measurement_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside_speed, "TURN_SECONDS", 0.0)
    order: list[str] = []

    def job(name: str, seconds: float) -> Callable[[], float]:
        def run() -> float:
            order.append(name)
            return seconds

        return run

    samples = inside_speed.in_turns({"a": job("a", 0.01), "slow": job("slow", 0.5), "b": job("b", 0.02)})
    assert order == ["a", "slow", "b", "a", "b"]
    assert samples == {"a": [0.01] * 2, "slow": [0.5], "b": [0.02] * 2}


def test_a_type_that_fails_costs_only_itself() -> None:
    missing: dict[str, str] = {}

    def fail() -> None:
        raise RuntimeError('"addmm" not implemented for Half\nand much more')

    assert inside_speed.attempt(missing, "float16", fail) == {}
    assert inside_speed.attempt(missing, "float32", dict, [("x", 1.0)]) == {"x": 1.0}
    assert missing == {"float16": 'RuntimeError: "addmm" not implemented for Half'}


def test_every_name_of_the_child_is_declared() -> None:
    host = inside_speed.host_values({"host few": [1.0], "host more": [2.0]}, min)
    assert {f"speed.{name}" for name in {**host, "process_bytes": 1}} <= NAMES


@pytest.mark.models
def test_the_real_child_measures_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "LIMIT_SECONDS", 300.0)
    found = speed.constants(sys.executable, Facts())
    assert set(found) == NAMES
    assert found.text("speed.device") is not None
    assert (found.count("speed.process_bytes") or 0) > 50_000_000
    for name in NAMES - {"speed.device", "speed.threads"}:
        match found.get(name):
            case Known(value):
                assert isinstance(value, int | float) and value > 0, name
            case Unknown(reason):
                assert reason, name


@pytest.mark.gpu
def test_constants_of_a_gpu_are_below_its_catalog_and_not_far() -> None:
    from advisor import probe
    from advisor.estimate import devices

    machine = probe.machine(sys.executable)
    found, catalog = speed.constants(sys.executable, machine), devices.rates(machine)
    bandwidth, arithmetic = (catalog.number(name) for name in (devices.BANDWIDTH, devices.FLOPS["bf16"]))
    gemv = found.number("speed.gemv_bfloat16_bytes_per_second")
    gemm = found.number("speed.gemm_bfloat16_flops_per_second")
    host = found.number("speed.layer_host_seconds")
    assert found.text("speed.device") != "cpu"
    assert host is not None and 1e-5 < host < 1e-2
    assert bandwidth is None or (gemv is not None and 0.3 * bandwidth < gemv < 1.05 * bandwidth)
    assert arithmetic is None or (gemm is not None and 0.1 * arithmetic < gemm < 1.05 * arithmetic)


def test_kept_constants_are_replaced_whole() -> None:
    """Readers beside a writer see the old file or the new one, never half of one."""
    name = kept.question(1)
    for size in (1, 10_000, 3):
        kept.write(speed.KIND, name, {"facts": {}, "until": None, "filler": "x" * size})
        assert kept.read(speed.KIND, name) == {"facts": {}, "until": None, "filler": "x" * size}
