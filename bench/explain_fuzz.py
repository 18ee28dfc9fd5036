"""Mutated texts for `explain`: none may crash it, hang it or take long.

    python bench/explain_fuzz.py [--texts 100000] [--seed 0] [-o bench/results/explain-fuzz.json]
    python bench/explain_fuzz.py --processes [-o ...]        whole-process times instead

Each text is one of the labelled texts of tests/errors, changed in one to four ways: cut, repeated, joined,
wrapped, coloured, prefixed by ranks, digits changed, odd characters put in. What takes more than LONG_SECONDS, or
raises, is written to the result with its seed, so that it can be made again.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONG_SECONDS = 1.0
SIZES = (50_000, 500_000, 2_000_000)
PIECES = (
    "CUDA out of memory. ", "Tried to allocate ", "2.00 GiB", "99,,9", "((((", "\x1b[31m", "\r", "\x00", "│ ", "token=",
    "Traceback (most recent call last):\n", 'File "x.py", line 1, in f\n', "shape[1,", "Process 1 has ", "　", "🚨",
    "Killed\n", "bs 1 takes 3 s, ", "\ud800", "0" * 400, "a" * 5000, "batch 1 2 3 4 5 6 7 8 9 ",
)  # fmt: skip

Change = Callable[[random.Random, str, list[str]], str]


def _cut(dice: random.Random, text: str, _: list[str]) -> str:
    first, last = sorted((dice.randrange(len(text) + 1), dice.randrange(len(text) + 1)))
    return text[:first] + text[last:] if dice.random() < 0.5 else text[first:last]


def _repeat(dice: random.Random, text: str, _: list[str]) -> str:
    at = dice.randrange(len(text) + 1)
    part = text[at : at + dice.randrange(1, 60)]
    return text[:at] + part * dice.randrange(2, 120) + text[at:]


def _join(dice: random.Random, text: str, texts: list[str]) -> str:
    other = dice.choice(texts)
    return text[: dice.randrange(len(text) + 1)] + other[dice.randrange(len(other) + 1) :]


def _interleave(dice: random.Random, text: str, texts: list[str]) -> str:
    lines = text.splitlines() + dice.choice(texts).splitlines()
    dice.shuffle(lines)
    return "\n".join(lines)


def _wrap(dice: random.Random, text: str, _: list[str]) -> str:
    width = dice.randrange(3, 120)
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


def _dress(dice: random.Random, text: str, _: list[str]) -> str:
    prefix = dice.choice(("[rank3]: ", "\x1b[1;31m", "2026-01-01T00:00:00.000Z ", "| ", "> > ", "(Worker pid=7) "))
    return "".join(prefix + line for line in text.splitlines(keepends=True))


def _digits(dice: random.Random, text: str, _: list[str]) -> str:
    return "".join(dice.choice("0123456789.,") if c.isdigit() and dice.random() < 0.3 else c for c in text)


def _insert(dice: random.Random, text: str, _: list[str]) -> str:
    at = dice.randrange(len(text) + 1)
    return text[:at] + dice.choice(PIECES) * dice.randrange(1, 30) + text[at:]


CHANGES: tuple[Change, ...] = (_cut, _repeat, _join, _interleave, _wrap, _dress, _digits, _insert)


def originals() -> list[str]:
    """The texts of tests/errors."""
    folder = ROOT / "tests" / "errors"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]
    for path in sorted(folder.rglob("*.jsonl")):
        texts += [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    return texts


def mutated(seed: int, texts: list[str]) -> str:
    """The text of a seed, always the same."""
    dice = random.Random(seed)
    text = dice.choice(texts)
    for _ in range(dice.randrange(1, 5)):
        text = dice.choice(CHANGES)(dice, text, texts)
    return text


def fuzz(first: int, count: int) -> dict[str, object]:
    """Times and failures of `count` texts."""
    sys.path.insert(0, str(ROOT))
    from advisor import errorbook, rulebook
    from advisor.explaining import explain

    rules, texts = errorbook.load(rulebook.shipped() / "errors"), originals()
    times: list[float] = []
    bad: list[dict[str, object]] = []
    known = 0
    for seed in range(first, first + count):
        text = mutated(seed, texts)
        began = time.perf_counter()
        try:
            known += explain(text, "x", None, rules).recognized
        except Exception as error:  # every crash is a result of this bench
            bad.append({"seed": seed, "raised": repr(error)[:200]})
        times.append(time.perf_counter() - began)
        if times[-1] > LONG_SECONDS:
            bad.append({"seed": seed, "seconds": round(times[-1], 3), "characters": len(text)})
    times.sort()
    return {
        "texts": count, "first_seed": first, "originals": len(texts), "recognized": known, "bad": bad,
        "milliseconds": {
            "median": round(1e3 * statistics.median(times), 3),
            "p99": round(1e3 * times[-max(1, count // 100)], 2),
            "p99.9": round(1e3 * times[-max(1, count // 1000)], 2),
            "most": round(1e3 * times[-1], 1),
        },
    }  # fmt: skip


def processes() -> dict[str, object]:
    """Seconds of whole processes: one short file, 100 files, and logs of several sizes (median of five)."""
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        paths = []
        for number, text in enumerate(originals()[:100]):
            paths.append(Path(name) / f"{number:03d}.txt")
            paths[-1].write_text(text, encoding="utf-8")
        found["one_file"] = _seconds(paths[:1])
        found["hundred_files"] = _seconds(paths)
        log = "INFO 10:00:00 step 17 loss 0.3 it/s 4.2 | /data/x.py:12 retrying, batch 3\n"
        for size in SIZES:
            path = Path(name) / f"{size}.log"
            path.write_text(log * (size // len(log)) + originals()[3], encoding="utf-8")
            found[f"log_of_{size}_characters"] = _seconds([path])
    return {"seconds": found}


def _seconds(paths: list[Path]) -> float:
    words = [sys.executable, "-m", "advisor.cli", "explain", "--json", "--no-input", *map(str, paths)]
    times = []
    for _ in range(6):
        began = time.perf_counter()
        subprocess.run(words, capture_output=True, cwd=ROOT, check=False)
        times.append(time.perf_counter() - began)
    return round(statistics.median(times[1:]), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    result = processes() if options.processes else fuzz(options.seed, options.texts)
    text = json.dumps(result, indent=2)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
