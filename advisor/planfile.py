"""Plan files: written whole or not at all, and read as if a stranger had written them.

Every name is checked against the vocabulary and the knobs, every number for its kind, and the model's place for being
one that the user named. All that is wrong is reported at once, each with its place in the file.
"""

import json
import re
from pathlib import Path
from typing import Any, cast

from advisor.conflicts import conflict
from advisor.errors import MachineError, Mistake, PlanError
from advisor.facts import Facts, Value, Vocabulary, from_json
from advisor.files import write_whole
from advisor.named_folders import was_named
from advisor.plan import MODEL_KINDS, SCHEMA, Effect, Estimate, Memory, ModelReference, Plan, Speed, Step
from advisor.rule import RUNGS
from advisor.setup import Setup, read_change
from advisor.workload import Workload, read_workload

LARGEST_BYTES = 20_000_000
AGAIN = "write it again with: perf-advisor diagnose MODEL -o plan.json"
RULE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
SHAPE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
REVISION = re.compile(r"\w[\w./-]*", re.ASCII)


def write(plan: Plan, path: Path) -> None:
    """Write the plan to `path`, whole or not at all.

    Raises:
        PlanError: the place cannot be written to.
    """
    try:
        write_whole(path, json.dumps(plan.to_json(), indent=2) + "\n")
    except OSError as error:
        raise PlanError(Mistake(str(path), f"cannot be written: {error.strerror}", "name another with -o")) from error


def read(path: Path, vocabulary: Vocabulary, named: str | None = None, assistant: str | None = None) -> Plan:
    """The plan in `path`. `named` is the model's folder if the user named it on the command line, `assistant` that of
    the model that drafts.

    Raises:
        PlanError: everything that is wrong with the file, each with its place.
    """
    data = _load(path)
    reader = _PlanReader(data, str(path), vocabulary, path.resolve().parent, assistant)
    plan = reader.plan(named)
    if reader.mistakes:
        raise PlanError(*reader.mistakes)
    return plan


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise PlanError(Mistake(str(path), f"larger than {LARGEST_BYTES:,} bytes: no plan", AGAIN))
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(Mistake(str(path), error.strerror or str(error), AGAIN)) from error
    except (ValueError, RecursionError) as error:
        raise PlanError(Mistake(str(path), f"not JSON: {error}", AGAIN)) from None
    if not isinstance(data, dict):
        raise PlanError(Mistake(str(path), "no plan: the top is no object", AGAIN))
    if data.get("schema") != SCHEMA:
        what = f"{data.get('schema')!r}, this version reads {SCHEMA}"
        raise PlanError(Mistake(f"{path}: schema", what, AGAIN))
    return data


class _PlanReader:
    """Takes a plan apart, noting every mistake."""

    def __init__(
        self, data: dict[str, Any], shown: str, vocabulary: Vocabulary, folder: Path, assistant: str | None
    ) -> None:
        self.folder, self.assistant = folder, assistant
        self.data = data
        self.shown = shown
        self.vocabulary = vocabulary
        self.mistakes: list[Mistake] = []

    def wrong(self, where: str, what: str, hint: str = "") -> None:
        self.mistakes.append(Mistake(f"{self.shown}: {where}", what, hint))

    def plan(self, named: str | None) -> Plan:
        baseline, planned = self._object("baseline"), self._object("plan")
        model = self._object("model")
        return Plan(
            model=self._reference(model, named),
            model_facts=self._facts(model.get("facts"), "model.facts"),
            workload=self._workload(),
            machine=self._facts(self.data.get("machine"), "machine"),
            baseline=self._setup(baseline, "baseline"),
            baseline_sources={},
            baseline_estimate=self._estimate(baseline, "baseline.estimate"),
            setup=self._planned(planned),
            estimate=self._estimate(planned, "plan.estimate"),
            steps=self._steps(),
            notes=(),
            decisions=(),
            questions=(),
            limits={},
            passed_over=(),
        )

    def _object(self, key: str) -> dict[str, Any]:
        found = self.data.get(key)
        if isinstance(found, dict):
            return found
        self.wrong(key, "missing or no object", AGAIN)
        return {}

    def _facts(self, data: object, where: str) -> Facts:
        try:
            return from_json(data, self.vocabulary, f"{self.shown}: {where}")
        except MachineError as error:
            self.mistakes.extend(error.mistakes)
            return Facts()

    def _workload(self) -> Workload:
        return read_workload(self.data.get("workload"), f"{self.shown}: workload", self.mistakes)

    def _setup(self, part: dict[str, Any], where: str) -> Setup:
        return Setup().changed(self._change(part.get("setup"), f"{where}.setup"))

    def _planned(self, part: dict[str, Any]) -> Setup:
        """The setup to be reached. Only here must all knobs go together: a user's own may not, and is mended."""
        setup = self._setup(part, "plan")
        if problem := conflict(setup):
            self.wrong("plan.setup", problem)
        return setup

    def _reference(self, model: dict[str, Any], named: str | None) -> ModelReference:
        kind, name, revision = model.get("kind"), model.get("name"), model.get("revision")
        if kind not in MODEL_KINDS or not isinstance(name, str):
            self.wrong("model", f"kind {kind!r} with name {name!r} is no model", f"kinds are: {', '.join(MODEL_KINDS)}")
            return ModelReference("shape", "", None, True)
        if revision is not None and not (isinstance(revision, str) and REVISION.fullmatch(revision)):
            self.wrong("model.revision", f"{revision!r} is no revision")
        pattern = {"hub": HUB_ID, "shape": SHAPE_NAME}.get(str(kind))
        if pattern is not None and not pattern.fullmatch(name):
            self.wrong("model.name", f"{name!r} is no name of a {kind} model")
        if pattern is None:
            name = self._local(name, "model.name", f"--model {name}", named)
        return ModelReference(str(kind), name, revision, model.get("random_weights") is True)

    def _local(self, name: str, where: str, option: str, named: str | None) -> str:
        """A path in the plan, followed only where the user named it (see named_folders)."""
        place = (self.folder / name).resolve()
        allowed = place.is_relative_to(self.folder) or was_named(place)
        if named is not None:
            allowed = allowed or Path(named).resolve() == place
        if not allowed:
            hint = f"if you trust it, name it yourself: {option}"
            self.wrong(where, f"{name!r} lies outside the plan's folder and you have not named it", hint)
        elif not place.exists():
            self.wrong(where, f"{name!r} does not exist")
        return str(place)

    def _steps(self) -> tuple[Step, ...]:
        found = self.data.get("steps")
        if not isinstance(found, list):
            self.wrong("steps", "missing or no list", AGAIN)
            return ()
        return tuple(self._step(entry, f"steps[{number}]") for number, entry in enumerate(found))

    def _step(self, entry: object, where: str) -> Step:
        data = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
        rule, rung = data.get("rule"), data.get("rung")
        if not (isinstance(rule, str) and RULE_ID.fullmatch(rule)):
            self.wrong(f"{where}.rule", f"{rule!r} is no rule's id")
        if rung not in RUNGS:
            self.wrong(f"{where}.rung", f"{rung!r} is no rung", f"rungs are: {', '.join(RUNGS)}")
        fallbacks = data.get("fallbacks", [])
        if not isinstance(fallbacks, list):
            self.wrong(f"{where}.fallbacks", "no list")
            fallbacks = []
        rank = data.get("rank")
        return Step(
            rule=str(rule),
            rung=rung if rung in RUNGS else RUNGS[-1],
            summary=str(data.get("summary", "")),
            change=self._change(data.get("change"), f"{where}.change"),
            effect=self._effect(data.get("effect")),
            evidence=str(data.get("evidence", "")),
            because=(),
            fallbacks=tuple(self._change(item, f"{where}.fallbacks[{n}]") for n, item in enumerate(fallbacks)),
            rank=rank if isinstance(rank, int) else 0,
        )

    def _change(self, data: object, where: str) -> dict[str, Value]:
        """Knobs and values; the folder of an assistant is followed like the model's."""
        change = read_change(data, f"{self.shown}: {where}", self.mistakes)
        assistant = change.get("assistant_model")
        if isinstance(assistant, str) and not HUB_ID.fullmatch(assistant):
            option = f"--assistant {assistant}"
            change["assistant_model"] = self._local(assistant, f"{where}.assistant_model", option, self.assistant)
        return change

    def _effect(self, data: object) -> Effect:
        found = data if isinstance(data, dict) else {}
        memory = found.get("memory_bytes")
        quality = found.get("quality")
        return Effect(
            _number(found.get("speed")),
            memory if isinstance(memory, int) else None,
            quality if isinstance(quality, str) else None,
        )

    def _estimate(self, part: dict[str, Any], where: str) -> Estimate:
        data = part.get("estimate")
        if not isinstance(data, dict):
            self.wrong(where, "missing or no object", AGAIN)
            data = {}
        memory, speed, band = (_table(data.get(part)) for part in ("memory", "speed", "band"))
        fits, bound, note = memory.get("fits"), speed.get("bound"), data.get("basis_note")
        return Estimate(
            Memory(**{name: _count(memory.get(name)) for name in _SIZES}, fits=fits if fits in (True, False) else None),
            Speed(**{name: _number(speed.get(name)) for name in _RATES}, bound=bound if bound in _BOUNDS else None),
            str(data.get("basis")),
            _band(band.get("memory")),
            _band(band.get("speed")),
            note if isinstance(note, str) else None,
            basis if isinstance(basis := data.get("speed_basis"), str) else None,
        )


_SIZES = (
    "weights_bytes",
    "kv_cache_bytes",
    "kv_cache_peak_bytes",
    "activation_peak_bytes",
    "overhead_bytes",
    "total_bytes",
    "available_bytes",
    "gradients_bytes",
    "optimizer_bytes",
    "fetched_bytes",
)
_RATES = ("ttft_seconds", "last_ttft_seconds", "decode_tokens_per_second", "total_tokens_per_second")
_BOUNDS = ("host", "bandwidth", "compute")


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _band(value: object) -> tuple[float, float] | None:
    numbers = [_number(part) for part in value] if isinstance(value, list) else []
    return (numbers[0], numbers[1]) if len(numbers) == 2 and numbers[0] and numbers[1] else None


def looks_like_a_plan(path: Path) -> bool:
    """Whether the file may be replaced by a new plan: it is one itself."""
    try:
        data = _load(path)
    except PlanError:
        return False
    return "baseline" in data and "steps" in data
