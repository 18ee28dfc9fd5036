"""The part of docs/accuracy.md on requests under load, from what bench/serving_cpu.py left."""

from typing import Any


def section(found: dict[str, Any]) -> str:
    """The whole section of one result."""
    rows, load = found["rows"], found["load"]
    versions = rows[0]["versions"]
    requests = rows[0]["serving"]["requests"]
    lines = "".join(_line(row) for row in rows)
    return f"""
## Requests under load on a CPU

`bench/serving_cpu.py`, 2 cores, torch {versions["torch"]}, transformers {versions["transformers"]}, bfloat16, random
weights. {requests} requests arrive by chance at the rate given, the same ones for each way; prompts of
{load["prompt_tokens"] // 4} to {load["prompt_tokens"]} tokens, answers of {load["new_tokens"] // 4} to
{load["new_tokens"]}, at most {load["in_flight"]} at a time. Seconds from a request's own arrival: for half of the
requests, and for 95 of 100. A static batch tells its first tokens when it has them, and hands its answers over when the
longest is done.

| model | requests/s | way | first token, half | 95 of 100 | answer, half | 95 of 100 | tokens/s | peak GiB |
|---|---:|---|---:|---:|---:|---:|---:|---:|
{lines}
{_summary(rows)}
"""


def _line(row: dict[str, Any]) -> str:
    told = row["serving"]
    names = ("ttft_p50_seconds", "ttft_p95_seconds", "latency_p50_seconds", "latency_p95_seconds")
    waits = " | ".join(f"{told[name]:.3f}" for name in names)
    peak = f"{row['peak_bytes'] / 2**30:.2f}" if row["peak_bytes"] else "-"
    return f"| {row['model']} | {row['rate']:g} | {row['way']} | {waits} | {told['tokens_per_second']:.1f} | {peak} |\n"


def _summary(rows: list[dict[str, Any]]) -> str:
    """Continuous over static at each rate that has both, as factors."""
    by_way = {(row["model"], row["rate"], row["way"]): row["serving"] for row in rows}
    said = []
    for model, rate, way in by_way:
        other = by_way.get((model, rate, "static batches"))
        if way != "continuous" or other is None:
            continue
        own = by_way[model, rate, way]
        first = own["ttft_p95_seconds"] / other["ttft_p95_seconds"]
        last = own["latency_p95_seconds"] / other["latency_p95_seconds"]
        speed = own["tokens_per_second"] / other["tokens_per_second"]
        said.append(f"{model} at {rate:g}/s: {first:.2f}, {last:.2f} and {speed:.2f}")
    if not said:
        return ""
    return (
        "Continuous over static batches, in the first token and the answer of 95 of 100 (below 1 is sooner) and in\n"
        f"tokens/s (above 1 is more): {'; '.join(said)}."
    )
