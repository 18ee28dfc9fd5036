"""Plans applied on this machine: is any final setup slower than the user's own? `python bench/no_harm.py RESULT.json
[--for-seconds N] [--again NAME ...]`.

Thirty small random-weight models of several families meet workloads, goals and setups, good and bad ones. Each is
diagnosed and applied as the commands do. Then what was kept is measured against the user's own setup once more, in
fresh processes in turn, since the figures that chose it flatter it. A run that was ended goes on with the cases that
RESULT.json lacks; with --for-seconds no case is begun after so many seconds. Half a minute a case on two cores, three
minutes where the plan compiles.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import advisor
from advisor import applying
from advisor.applying import Applied, Budget
from advisor.commands.failures import explainer
from advisor.conflicts import compiles, conflict
from advisor.files import write_whole
from advisor.plan import Plan
from advisor.run.figures import Measured
from advisor.run.measure import measure
from advisor.run.recipe import recipe
from advisor.run.verify import FAILS, HOLDS, judge_rounds
from advisor.subjects import subject

STRIDE = 7
ROUNDS = 2
CLEAR_GAIN = 1.5
"""Above this gain one more round says enough."""
QUICK = Budget(run_seconds=0.7, patience_seconds=3.0, limit_seconds=90.0, attempts=4, total_seconds=60.0, retries=1)
WIDTHS = {  # hidden, intermediate, layers, heads: about 2, 8, 30 and 150 million parameters
    "tiny": (128, 352, 4, 4),
    "small": (256, 704, 6, 4),
    "medium": (512, 1408, 8, 8),
    "large": (1024, 2816, 10, 16),
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"architectures": ["LlamaForCausalLM"]},
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], "head_dim": 64},
    "gemma2": {"architectures": ["Gemma2ForCausalLM"], "head_dim": 64, "sliding_window": 128},
    "mistral": {"architectures": ["MistralForCausalLM"], "sliding_window": None},
    "phi3": {"architectures": ["Phi3ForCausalLM"], "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    "opt": {"architectures": ["OPTForCausalLM"], "do_layer_norm_before": True},
}
SLOW = {"dtype": "float32", "batching": "loop"}
EAGER = {"attn_implementation": "eager", "dtype": "float32"}


@dataclass(frozen=True)
class Case:
    """A model, what is asked of it, and the user's own setup."""

    family: str
    width: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        words = [f"{name}={value}" for name, value in (*self.load.items(), *self.knobs.items())]
        return " ".join([self.family, self.width, *words])


MANY = {"goal": "throughput", "batch": 8, "prompt_tokens": 48, "new_tokens": 24}
ONE = {"goal": "latency", "batch": 1, "prompt_tokens": 64, "new_tokens": 24}
# Served once, a process has no use for compiled code, which is most of the time of a case.
ONCE = {"goal": "latency", "batch": 1, "prompt_tokens": 64, "new_tokens": 12, "repeats": False}
MANY_ONCE = {**MANY, "repeats": False}
LONG = {"goal": "latency", "batch": 1, "prompt_tokens": 512, "new_tokens": 8, "repeats": False}
SPARE = {"goal": "memory", "batch": 4, "prompt_tokens": 96, "new_tokens": 12, "repeats": False}
MIXED = {
    "goal": "throughput", "batch": 12, "prompt_tokens": 96, "new_tokens": 16, "mixed_lengths": True, "repeats": False,
}  # fmt: skip
CASES = (
    Case("llama", "tiny", SLOW, MANY),
    Case("llama", "tiny", {}, ONE),
    Case("llama", "small", EAGER, LONG),
    Case("llama", "small", {"dtype": "bfloat16", "batching": "padded", "batch_size": 8}, MANY_ONCE),
    Case("llama", "medium", SLOW, MANY_ONCE),
    Case("llama", "medium", {"use_cache": False, "dtype": "float32"}, ONCE),
    Case("llama", "large", {"dtype": "float32"}, ONCE),
    Case("llama", "large", {"dtype": "float16", "batching": "loop"}, MANY_ONCE),
    Case("qwen3", "tiny", {"dtype": "float32"}, ONCE),
    Case("qwen3", "small", SLOW, MIXED),
    Case("qwen3", "medium", {"dtype": "bfloat16"}, ONCE),
    Case("qwen3", "medium", {"dtype": "float32", "batching": "padded", "padding_side": "right"}, MIXED),
    Case("qwen3", "large", EAGER, LONG),
    Case("gemma2", "tiny", {"attn_implementation": "sdpa", "dtype": "float32"}, ONE),
    Case("gemma2", "small", SLOW, MANY),
    Case("gemma2", "medium", {"dtype": "float16"}, SPARE),
    Case("gemma2", "large", {"dtype": "float32"}, SPARE),
    Case("mistral", "tiny", {"threads": 1, **SLOW}, MANY_ONCE),
    Case("mistral", "small", {"cache_implementation": "static", "dtype": "float32"}, ONE),
    Case("mistral", "medium", {"attn_implementation": "flash_attention_2", "dtype": "bfloat16"}, ONCE),
    Case("mistral", "large", {"dtype": "bfloat16", "batching": "loop"}, MIXED),
    Case("phi3", "tiny", {"quantization": "bnb_int8"}, ONE),
    Case("phi3", "small", {"dtype": "float32", "batching": "loop"}, MIXED),
    Case("phi3", "medium", {"quantization": "bnb_nf4", "dtype": "float32"}, {**ONCE, "quantize": "freely"}),
    Case("phi3", "large", {"dtype": "float32"}, {**ONCE, "quantize": "freely"}),
    Case("opt", "tiny", EAGER, ONE),
    Case("opt", "small", SLOW, MANY_ONCE),
    Case("opt", "medium", {"dtype": "float16", "batching": "loop"}, MANY_ONCE),
    Case("opt", "large", {"dtype": "float32"}, ONCE),
    Case("llama", "medium", {"threads": 1, "dtype": "float32"}, LONG),
)


def config(case: Case) -> dict[str, Any]:
    """The model's configuration."""
    hidden, inner, layers, heads = WIDTHS[case.width]
    sizes = {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "vocab_size": 4096,
        "max_position_embeddings": 2048, "torch_dtype": "bfloat16",
    }  # fmt: skip
    if case.family == "opt":
        sizes |= {"ffn_dim": inner, "word_embed_proj_dim": hidden}
    else:
        sizes |= {"intermediate_size": inner, "num_key_value_heads": heads // 2}
    return {"model_type": case.family, **sizes, **FAMILIES[case.family]}


def diagnosed(case: Case, folder: Path, machine: Path) -> Plan:
    """The plan for a case; its model is written to `folder`."""
    (folder / "config.json").write_text(json.dumps(config(case)), encoding="utf-8")
    return advisor.diagnose(
        folder / "config.json", setup=dict(case.knobs), machine=machine, python=sys.executable, **case.load
    )


def checked(plan: Plan, found: Applied) -> dict[str, Any] | None:
    """The setup that was kept against the user's own, measured anew; None where nothing was changed."""
    if found.outcome != "holds":
        return None
    about = subject(plan, "random")
    sides: tuple[list[Measured], list[Measured]] = ([], [])
    clear = (found.comparison.verdict.gain or 0) > CLEAR_GAIN
    for _ in range(1 if clear else ROUNDS):
        for side, chosen in zip(sides, (found.baseline_setup, found.setup), strict=True):
            if conflict(chosen) is None:
                clocked = chosen.batching != "continuous" and chosen.speculation in (None, "none")
                got = measure(sys.executable, recipe(about, chosen), clocked, 1.0, 90.0, 4.0)
                side += [got] if isinstance(got, Measured) else []
    if not sides[0] or not sides[1]:
        return {"verdict": HOLDS if sides[1] else FAILS, "gain": None, "noise": None}
    rounds = list(zip(*sides, strict=False))
    verdict, noise = judge_rounds(rounds, found.aim)
    apart = max(max(one.seconds for one in side) / min(one.seconds for one in side) - 1 for side in sides)
    return {
        "verdict": verdict.word,
        "gain": verdict.gain,
        "noise": max(noise.varies, noise.within, apart),
        "rounds": len(rounds),
    }


def row(case: Case, machine: Path, compiled: bool) -> dict[str, Any] | None:
    """What came of one case, with the seconds that it took; None where its plan is not of the kind asked for."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        plan = diagnosed(case, Path(folder), machine)
        if compiles(plan.setup) is not compiled:
            return None
        found = applying.apply(plan, sys.executable, "random", budget=QUICK, explain=explainer())
        again = checked(plan, found)
    told = found.to_json()
    parts = {name: told[name] for name in ("outcome", "speedup", "verdict", "drift", "drifted", "request_seconds")}
    sides = [side for side in (found.baseline, found.final) if isinstance(side, Measured)]
    tried = ("verdict", "gain", "noise", "reason", "tried_next")
    return {
        "case": case.name,
        "goal": plan.workload.goal,
        "steps": [step.rule for step in plan.steps],
        "kept": [choice.step.rule for choice in found.choices if choice.kept] if found.outcome == "holds" else [],
        "attempts": [{name: one[name] for name in tried} for one in told["attempts"]],
        **parts,
        "change": found.baseline_setup.difference(found.setup),
        "peak_bytes": [side.peak_bytes for side in sides],
        "disturbed_runs": sum(side.disturbed_runs for side in sides),
        "again": again,
        "harmed": harmed(again),
        "seconds": time.monotonic() - began,
    }


def harmed(again: dict[str, Any] | None) -> bool:
    """Whether what is kept is worse than the user's own by more than what either varies by when measured again."""
    if again is None:
        return False
    gain, noise = again["gain"], again["noise"]
    return bool(again["verdict"] == FAILS if gain is None else gain < 1 - noise)


def recorded(place: Path) -> None:
    """Probe this machine once for all cases."""
    words = [sys.executable, "-m", "advisor.cli", "probe", "--json"]
    place.write_bytes(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--for-seconds", type=float, default=3600.0)
    parser.add_argument("--again", nargs="*", default=[], help="cases to run anew, by their names")
    options = parser.parse_args()
    began = time.monotonic()
    result: dict[str, Any] = {"rows": []}
    if options.result.exists():
        result = json.loads(options.result.read_text(encoding="utf-8"))
    rows = [row for row in result["rows"] if row["case"] not in options.again]
    machine = options.result.with_suffix(".machine")
    recorded(machine)
    facts = json.loads(machine.read_text(encoding="utf-8"))["facts"]
    about = {name: facts.get(name, {}).get("value") for name in ("host.cpu", "torch.version", "transformers.version")}
    # In strides, so that a part of the cases is of all families; those that compile take minutes and come last.
    order = [CASES[number * STRIDE % len(CASES)] for number in range(len(CASES))]
    for compiled, case in itertools.product((False, True), order):
        if any(row["case"] == case.name for row in rows):
            continue
        if time.monotonic() - began > options.for_seconds:
            break
        last = row(case, machine, compiled)
        if last is None:
            continue
        rows.append(last)
        again = last["again"] and last["again"]["gain"]
        print(
            f"{last['seconds']:5.1f} s {last['outcome']:>8} {last['speedup']} again {again} {case.name}",
            file=sys.stderr,
            flush=True,
        )
        write_whole(options.result, json.dumps({"cases": len(CASES), "machine": about, "rows": rows}, indent=1) + "\n")
    machine.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
