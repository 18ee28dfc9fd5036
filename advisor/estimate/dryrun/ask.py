"""A dry run: the target's own library runs the model on tensors without memory, to see what a setup stores and needs.

It runs in a child process, one for all setups that are asked about at a time, because the imports take longer than the
runs. Answers are kept by everything that they depend on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from advisor import child, kept
from advisor.facts import Unknown

PROGRAMS = tuple(
    Path(__file__).with_name(f"inside_{name}.py")
    for name in ("dry_run", "following", "answering", "caching", "building", "quantizing")
)
LIMIT_SECONDS = 60.0
"""Four seconds of imports and one to two for each case of a dense model of 8 billion parameters, on two cores."""
QUIET_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "CUDA_VISIBLE_DEVICES": "",  # nothing is computed, and starting a driver takes a second and memory of the card
}
KIND = "dry-run"
PASSING = ("MemoryError", "OSError")
"""Errors that another try may not meet; what else a model's code raises is kept like an answer."""
UNREAD = Unknown("the child gave an unexpected answer")


@dataclass(frozen=True)
class Case:
    """One call of generate: `cache` is that of the knob or `none`, `padded` that prompts of one call differ in length.

    `device` is whose kernels run (`cpu`, `cuda`), `experts` how those of a mixture are computed (None: as the library
    decides), `quantization` the scheme of the knob, `packages` names and versions of what quantizes,
    `chunk_tokens` how many tokens of a prompt one pass reads.
    """

    dtype: str
    attn_implementation: str
    cache: str
    rows: int
    prompt_tokens: int
    new_tokens: int
    padded: bool
    last_logits: bool = True
    device: str = "cpu"
    experts: str | None = None
    quantization: str | None = None
    packages: tuple[str, ...] = ()
    cache_backend: str | None = None
    cache_bits: int | None = None
    chunk_tokens: int | None = None


@dataclass(frozen=True)
class Pass:
    """One forward pass. Bytes of the cache's storages after it, and of everything else beside the weights at its peak.

    `at` is the operator that made the peak, `operators` how many ran, `attention` the fused attention kernels of them.
    `away_bytes` of the cache are in RAM, and no part of the peak.
    """

    cache_bytes: int
    beside_bytes: int
    at: str
    operators: int
    attention: tuple[str, ...]
    away_bytes: int = 0

    @property
    def peak_bytes(self) -> int:
        return self.cache_bytes - self.away_bytes + self.beside_bytes


@dataclass(frozen=True)
class ByLayer:
    """Bytes of the weights as the allocator rounds each: of the layers in their order, and of what stands around them.

    `head` is 0 where the output is tied to the embedding, `rest` norms, buffers and smaller stacks (of a model that
    sees). Together they are `weights_held_bytes`.
    """

    layers: tuple[int, ...]
    embedding: int
    head: int
    rest: int


@dataclass(frozen=True)
class DryRun:
    """What one case stores and needs. The steps are None where only one token is generated.

    `weights` are bytes by type and group of modules (`embedding`, `head`, `linear`, `experts`, `scales`, `other`,
    `buffers`); `weights_held_bytes` counts each tensor as the allocator rounds it. `drawn_out` says that the peak of
    the prompt was drawn out in a straight line from shorter ones. The first step is left out where a cache only grows,
    so that it holds less than the last one; `fullest_step` is one in which a quantized cache
    takes in the tokens that it kept as they were.
    """

    weights: Mapping[str, Mapping[str, int]]
    weights_held_bytes: int
    prompt: Pass
    first_step: Pass | None
    last_step: Pass | None
    drawn_out: bool
    by_layer: ByLayer | None = None
    fullest_step: Pass | None = None

    @property
    def passes(self) -> tuple[Pass, ...]:
        found = (self.prompt, self.first_step, self.last_step, self.fullest_step)
        return tuple(one for one in found if one is not None)


Outcome = DryRun | Unknown


def ask(
    config: Mapping[str, Any],
    cases: Sequence[Case],
    python: str,
    versions: Mapping[str, str],
    heard: Callable[[str], None] = lambda _: None,
) -> tuple[Outcome, ...]:
    """The dry run of each case, in their order: kept ones, the others from one child process.

    `versions` are those of torch and transformers in the target environment, by name; `heard` gets a line of progress
    where a child must be started.
    """
    programs = [program.read_text(encoding="utf-8") for program in PROGRAMS]
    names = {case: kept.question(config, asdict(case), versions, programs) for case in cases}
    found: dict[Case, Outcome] = {}
    for case, name in names.items():
        answer = kept.read(KIND, name)
        if answer is not None and (before := _outcome(answer)) != UNREAD:
            found[case] = before
    missing = [case for case in names if case not in found]
    if missing:
        heard("Running the model's code without memory ...")
        for case, given in zip(missing, _asked(config, missing, python, versions), strict=True):
            found[case] = _outcome(given)
            if isinstance(given, dict) and _lasts(given):
                kept.write(KIND, names[case], given)
    return tuple(found[case] for case in cases)


def _asked(
    config: Mapping[str, Any], cases: Sequence[Case], python: str, versions: Mapping[str, str]
) -> list[dict[str, Any] | str]:
    """An answer of the child for each case; a text says why there is none."""
    request = {"config": dict(config), "cases": [asdict(case) for case in cases]}
    match child.run(python, PROGRAMS[0], request, LIMIT_SECONDS, QUIET_ENVIRONMENT):
        case child.Answered(answer={"versions": dict(found), "cases": list(answers)}) if len(answers) == len(cases):
            if found != versions:
                return ["the target environment has changed since it was probed"] * len(cases)
            return [answer if isinstance(answer, dict) else "the child gave no answer" for answer in answers]
        case child.Answered(answer={"versions": dict(found)}):
            lacking = [name for name in ("torch", "transformers") if found.get(name) is None]
            why = f"no {lacking[0]} in the target environment" if lacking else "the child gave no answer"
        case child.Answered():
            why = "the child gave no answer"
        case child.Died(reason):
            why = reason
    return [why] * len(cases)


def _lasts(answer: Mapping[str, Any]) -> bool:
    """Whether the child would say the same again: figures, or that the model's code refuses this case."""
    error = answer.get("error")
    return _outcome(dict(answer)) != UNREAD and not (isinstance(error, str) and error.startswith(PASSING))


def _outcome(answer: dict[str, Any] | str) -> Outcome:
    if isinstance(answer, str):
        return Unknown(answer)
    if isinstance(why := answer.get("error"), str):
        return Unknown(why)
    return read(answer) or UNREAD


def read(answer: Any) -> DryRun | None:
    """The dry run in an answer; None where the answer is not as it should be (a damaged file of the cache)."""
    match answer:
        case {
            "weights": dict(weights),
            "weights_held_bytes": int(held),
            "by_layer": dict(by_layer),
            "prompt": dict(prompt),
            "first_step": dict() | None as first,
            "last_step": dict() | None as last,
            "fullest_step": dict() | None as fullest,
            "drawn_out": bool(drawn_out),
        } if all(map(_are_sizes, weights.values())) and held > 0:
            given = (prompt, first, last, fullest)
            passes = [None if one is None else _pass(one) for one in given]
            lost = any(one is None and before is not None for one, before in zip(passes, given, strict=True))
            layers = _by_layer(by_layer)
            if passes[0] is None or lost or layers is None:
                return None
            return DryRun(weights, held, passes[0], passes[1], passes[2], drawn_out, layers, passes[3])
    return None


def _by_layer(one: Mapping[str, Any]) -> ByLayer | None:
    match one:
        case {"layers": list(layers), "embedding": int(embedding), "head": int(head), "rest": int(rest)}:
            sizes = (*layers, embedding, head, rest)
            if all(type(size) is int and size >= 0 for size in sizes):
                return ByLayer(tuple(layers), embedding, head, rest)
    return None


def _are_sizes(types: Any) -> bool:
    return isinstance(types, dict) and all(type(size) is int and size >= 0 for size in types.values())


def _pass(one: Mapping[str, Any]) -> Pass | None:
    match one:
        case {
            "peak_bytes": int(peak),
            "at": str(at),
            "operators": int(operators),
            "attention": list(attention),
            "cache_bytes": int(cache),
            "away_bytes": int(away),
        } if cache >= away >= 0 and peak >= cache - away:
            return Pass(cache, peak - cache + away, at, operators, tuple(map(str, attention)), away)
    return None
