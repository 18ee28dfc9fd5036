"""Predicted against measured speed on this machine: `python bench/cpu_speed.py RESULT.json [--only SHAPE ...]`.

Six shapes of 20 to 600 million parameters in three families with random weights, two types, one prompt and eight. The
prediction comes from what was measured of the machine, never of these models. Less than eight minutes on two cores;
`--only` measures some shapes and keeps the others' rows of RESULT.json, `--again` predicts anew what stands there.
Rows that other programs disturbed throughout are marked and not counted.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from advisor import applying, baseline, child, probe
from advisor import learnt as own
from advisor import run as running
from advisor.estimate import formula
from advisor.facts import Facts, Vocabulary, from_json, to_json
from advisor.probe import model as models
from advisor.probe import speed
from advisor.vocabulary import DECLARATIONS
from advisor.workload import Workload

PROGRAM = Path(__file__).with_name("inside_cpu_speed.py")
WORKER = Path(running.__path__[0]) / "worker.py"
TYPES = ("float32", "bfloat16")
BATCHES = (1, 8)
PROMPT_TOKENS, NEW_TOKENS = 128, 32
RUN_SECONDS, LIMIT_SECONDS = 2.5, 300.0
FIGURES = ("ttft_seconds", "decode_tokens_per_second", "total_tokens_per_second")


def sized(hidden: int, inner: int, layers: int, heads: int, kv_heads: int, words: int) -> dict[str, Any]:
    """The part of a configuration that these families share."""
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "vocab_size": words}
    return {**sizes, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "max_position_embeddings": 2048}


SHAPES: dict[str, dict[str, Any]] = {
    "llama-20m": {"model_type": "llama", **sized(384, 1024, 9, 6, 2, 8192)},
    "gpt2-60m": {
        "model_type": "gpt2",
        "n_embd": 640,
        "n_layer": 10,
        "n_head": 10,
        "vocab_size": 16384,
        "n_positions": 2048,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "qwen2-150m": {"model_type": "qwen2", **sized(1024, 2816, 12, 16, 4, 8192), "tie_word_embeddings": False},
    "gpt-neox-160m": {
        "model_type": "gpt_neox",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 50304,
        "max_position_embeddings": 2048,
    },
    "gemma3-270m": {
        "model_type": "gemma3_text",
        **sized(640, 2048, 18, 4, 1, 262144),
        "head_dim": 256,
        "sliding_window": 512,
    },
    "qwen3-600m": {
        "model_type": "qwen3",
        **sized(1024, 3072, 28, 16, 8, 151936),
        "head_dim": 128,
        "tie_word_embeddings": True,
    },
}
"""gemma3-270m and qwen3-600m have the sizes of published models, the others are cut down from them."""


def described(config: dict[str, Any], folder: Path) -> Facts:
    """What the probe says of a model with this configuration."""
    place = folder / "config.json"
    place.write_text(json.dumps(config), encoding="utf-8")
    return models.find(str(place), sys.executable)[1]


def measured(config: dict[str, Any], dtype: str, pace: float | None) -> tuple[list[dict[str, Any]], float]:
    """What one child process measured, a row for each number of prompts, and the best pace of the machine so far.

    Raises:
        SystemExit: it gave no answer.
    """
    request = {
        "config": config,
        "dtype": dtype,
        "batches": BATCHES,
        "prompt_tokens": PROMPT_TOKENS,
        "new_tokens": NEW_TOKENS,
        "budget_seconds": RUN_SECONDS,
        "pace_seconds": pace,
        "worker": str(WORKER),
    }
    match child.run(sys.executable, PROGRAM, request, LIMIT_SECONDS):
        case child.Answered({"measured": list(found), "pace_seconds": float(best)}):
            return found, best
        case child.Died(reason, log):
            raise SystemExit(f"{config['model_type']}, {dtype}: {reason}\n{log}")
    raise SystemExit(f"{config['model_type']}, {dtype}: no answer")


def predicted(model: Facts, machine: Facts, dtype: str, batch: int) -> dict[str, float | None]:
    """The figures that a plan would show before anything ran."""
    workload = Workload(batch=batch, prompt_tokens=PROMPT_TOKENS, new_tokens=NEW_TOKENS)
    setup, _ = baseline.baseline({"dtype": dtype}, machine, model)
    told = formula.estimate(model, machine, workload, setup)
    return {name: getattr(told.speed, name) for name in FIGURES}


def rows_of(name: str, model: Facts, machine: Facts, pace: float | None) -> tuple[list[dict[str, Any]], float | None]:
    """Predicted and measured figures of one shape, printed as they come, and the best pace of the machine so far."""
    rows = []
    for dtype in TYPES:
        by_batch, pace = measured(SHAPES[name], dtype, pace)
        for batch, found in zip(BATCHES, by_batch, strict=True):
            row = {"model": name, "dtype": dtype, "batch": batch}
            counts = {what: found.pop(what) for what in ("runs", "disturbed_runs", "spread")}
            rows.append({**row, **counts, "predicted": predicted(model, machine, dtype, batch), "measured": found})
            print(shown(rows[-1]), flush=True)
    return rows, pace


def error(entry: dict[str, Any], name: str) -> float:
    """Predicted over measured, less one."""
    return float(entry["predicted"][name] / entry["measured"][name] - 1)


def shown(entry: dict[str, Any]) -> str:
    about = f"{entry['model']:>14} {entry['dtype']:>8} batch {entry['batch']}"
    pairs = [f"{name.split('_')[0]} {entry['measured'][name]:8.3g} ({error(entry, name):+4.0%})" for name in FIGURES]
    return f"{about}  " + "  ".join(pairs) + f"  {entry['disturbed_runs']} of {entry['runs']} disturbed"


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each figure, as predicted and with what the other shapes' runs teach."""
    counted = [entry for entry in rows if entry["runs"] > entry["disturbed_runs"]]
    lines = []
    for way in ("predicted", "learnt"):
        for name in FIGURES:
            found = sorted(abs(entry[way][name] / entry["measured"][name] - 1) for entry in counted if way in entry)
            if found:
                tail = found[min(len(found) - 1, len(found) * 90 // 100)]
                figures = f"median {statistics.median(found):6.1%}   90 % {tail:6.1%}   of {len(found)}"
                lines.append(f"{way:10} {name:26} {figures}")
    return "\n".join(lines)


def again(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a result with today's predictions, from the machine and the models as they were recorded."""
    vocabulary = Vocabulary(DECLARATIONS)
    machine = from_json(result["machine"], vocabulary, "the recorded machine")
    models_of = {name: from_json(facts, vocabulary, name) for name, facts in result["models"].items()}
    return learnt(
        [
            {**row, "predicted": predicted(models_of[row["model"]], machine, row["dtype"], row["batch"])}
            for row in result["rows"]
        ]
    )


def learnt(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what own runs of the other shapes make of their predictions (`learnt`), each shape left out."""
    found = []
    for row in rows:
        others = [one for one in rows if one["model"] != row["model"] and one["runs"] > one["disturbed_runs"]]
        known = {one.kind: one for one in own.summarized(map(_ratios, others))}
        told = row["predicted"]
        factors = known[_kind(row)].factors if _kind(row) in known else {}
        found.append({**row, "learnt": {name: told[name] * factors.get(name, 1.0) for name in FIGURES}})
    return found


def _kind(row: Mapping[str, Any]) -> str:
    return f"{row['dtype']}/none/eager/{'one' if row['batch'] == 1 else 'many'}"


def _ratios(row: Mapping[str, Any]) -> own.Ratios:
    return own.Ratios(_kind(row), {name: row["measured"][name] / row["predicted"][name] for name in FIGURES})


def main() -> None:
    options = _options()
    place = Path(options.result)
    before = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {"models": {}, "rows": []}
    if options.again:
        rows = again(before)
        print("\n".join(map(shown, rows)))
        print(summary(rows))
        return
    machine = probe.machine(sys.executable)
    machine = machine | speed.constants(sys.executable, machine, lambda line: print(line, file=sys.stderr))
    wanted = options.only or list(SHAPES)
    rows = [row for row in before["rows"] if row["model"] not in wanted]
    facts, pace = before["models"], before.get("pace_seconds")
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            model = described(SHAPES[name], Path(folder))
            facts[name] = to_json(model)
            found, pace = rows_of(name, model, machine, pace)
            rows += [{**row, "before": _measured_before(before["rows"], row)} for row in found]
    result = {"machine": to_json(machine), "pace_seconds": pace, "models": facts, "rows": rows}
    result["rows"] = again(result)
    print(summary(result["rows"]))
    applying.write_export(place, json.dumps(result, indent=1) + "\n")


def _measured_before(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> dict[str, float] | None:
    """What the same setup gave, undisturbed, when this result was last written: how far the machine repeats itself."""
    quiet = [one for one in rows if one["runs"] > one["disturbed_runs"]]
    names = ("model", "dtype", "batch")
    return next((one["measured"] for one in quiet if all(one[name] == row[name] for name in names)), None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result")
    parser.add_argument("--only", nargs="+", choices=list(SHAPES), help="measure these shapes alone")
    parser.add_argument("--again", action="store_true", help="predict anew and print, measure and write nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
