"""Mutated texts for `explain`: none may crash it, hang it or take long.

    python bench/explain_fuzz.py [--texts 100000] [--seed 0] [--seconds N] [--jobs N] [-o FILE]
    python bench/explain_fuzz.py --processes [-o FILE]        whole-process times instead

Each text is one of the labelled texts of tests/errors, changed in one to four ways: cut, repeated, joined,
wrapped, coloured, prefixed by ranks, digits changed, odd characters put in. What takes more than LONG_SECONDS, or
raises, is written to the result with its seed, so that it can be made again. With --seconds a call ends after about
that time and the next one, with the same -o, goes on from there.
"""

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONG_SECONDS = 1.0
BLOCK = 500
"""Texts that a process is given at a time."""
SHARES = {"median": 0.5, "p99": 0.99, "p99.9": 0.999, "most": 1.0}
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


@dataclass
class Tally:
    """What was found so far. `times` counts texts by tenths of a millisecond, so that a part may be kept and joined."""

    texts: int = 0
    recognized: int = 0
    times: Counter[int] = field(default_factory=Counter)
    bad: list[dict[str, object]] = field(default_factory=list)

    def add(self, more: "Tally") -> None:
        """Count what another process found as well."""
        self.texts += more.texts
        self.recognized += more.recognized
        self.times += more.times
        self.bad += more.bad

    def report(self, first: int) -> dict[str, object]:
        """The result: seeds from `first` on."""
        return {
            "texts": self.texts, "first_seed": first, "recognized": self.recognized, "bad": self.bad,
            "milliseconds": {"mean": round(sum(tenths * n for tenths, n in self.times.items()) / self.texts / 10, 2)}
            | {name: self._below(share) for name, share in SHARES.items()},
        }  # fmt: skip

    def _below(self, share: float) -> float:
        """Milliseconds within which this share of the texts was explained."""
        ordered = sorted(self.times.elements())
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] / 10


def fuzz(first: int, count: int) -> dict[str, object]:
    """Times and failures of `count` texts."""
    return _explained((first, count)).report(first)


def _explained(block: tuple[int, int]) -> Tally:
    """What became of the texts of a block: its first seed, and how many."""
    first, count = block
    sys.path.insert(0, str(ROOT))
    from advisor import errorbook, rulebook
    from advisor.explaining import explain

    rules, texts, tally = errorbook.load(rulebook.shipped() / "errors"), originals(), Tally()
    for seed in range(first, first + count):
        text = mutated(seed, texts)
        # Time of the processor: what else the machine does is no matter of the text's.
        began = time.process_time()
        try:
            tally.recognized += explain(text, "x", None, rules).recognized
        except Exception as error:  # every crash is a result of this bench
            tally.bad.append({"seed": seed, "raised": repr(error)[:200]})
        took = time.process_time() - began
        tally.texts += 1
        tally.times[round(took * 10_000)] += 1
        if took > LONG_SECONDS:
            tally.bad.append({"seed": seed, "seconds": round(took, 3), "characters": len(text)})
    return tally


def go_on(tally: Tally, first: int, count: int, seconds: float | None, jobs: int) -> None:
    """Explain the texts that are left of `count`, for about `seconds` where that is given, in so many processes."""
    stop = None if seconds is None else time.monotonic() + seconds
    end = first + count
    blocks = [(seed, min(BLOCK, end - seed)) for seed in range(first + tally.texts, end, BLOCK)]
    with multiprocessing.Pool(jobs) as pool:
        for found in pool.imap(_explained, blocks):
            tally.add(found)
            if stop is not None and time.monotonic() > stop:
                break


def fuzz_in_parts(
    first: int, count: int, seconds: float | None, output: Path | None, jobs: int = 1
) -> dict[str, object] | None:
    """The result, or None where texts are left: what was done so far lies beside `output` for the next call."""
    part = output.with_name(f"{output.name}.part") if output else None
    state = [first, count, _state()]
    tally = _kept(part, state)
    go_on(tally, first, count, seconds, jobs)
    if tally.texts < count and part:
        kept = asdict(tally) | {"times": sorted(tally.times.items()), "state": state}
        part.write_text(json.dumps(kept), encoding="utf-8")
        print(f"{tally.texts} of {count} texts, {len(tally.bad)} bad", file=sys.stderr)
        return None
    if part:
        part.unlink(missing_ok=True)
    return tally.report(first) | {"originals": len(originals())}


def _kept(part: Path | None, state: list[object]) -> Tally:
    """What an earlier call left; nothing where rules, code or texts have changed since."""
    if part is None or not part.exists():
        return Tally()
    kept = json.loads(part.read_text(encoding="utf-8"))
    if kept["state"] != state:
        return Tally()
    return Tally(kept["texts"], kept["recognized"], Counter(dict(kept["times"])), kept["bad"])


def _state() -> str:
    """A name for the rules, the code and the texts as they are now."""
    seen = hashlib.sha256(Path(__file__).read_bytes())
    for folder in ("rules/errors", "tests/errors", "advisor/reading", "advisor/explaining", "advisor/errorbook"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yaml", ".jsonl", ".txt"):
                seen.update(path.read_bytes())
    return seen.hexdigest()[:16]


def processes() -> dict[str, object]:
    """Seconds of whole processes: one short file, 100 files, and logs of several sizes (median of five)."""
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        paths = []
        for number, text in enumerate(originals()[:100]):
            paths.append(Path(name) / f"{number:03d}.txt")
            paths[-1].write_text(text, encoding="utf-8")
        found["one_file"] = _seconds(paths[:1], name)
        found["one_file_on_the_screen"] = _seconds(paths[:1], name, json_lines=False)
        found["hundred_files"] = _seconds(paths, name)
        log = "INFO 10:00:00 step 17 loss 0.3 it/s 4.2 | /data/x.py:12 retrying, batch 3\n"
        for size in SIZES:
            path = Path(name) / f"{size}.log"
            path.write_text(log * (size // len(log)) + originals()[3], encoding="utf-8")
            found[f"log_of_{size}_characters"] = _seconds([path], name)
    return {"seconds": found}


def _seconds(paths: list[Path], folder: str, json_lines: bool = True) -> float:
    words = [sys.executable, "-m", "advisor.cli", "explain", "--no-input", *map(str, paths)]
    words += ["--json"] if json_lines else []
    # As installed: compiled code is kept, here in `folder`; the first run, which is not counted, makes it.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
    times = []
    for _ in range(6):
        began = time.perf_counter()
        subprocess.run(words, capture_output=True, cwd=ROOT, env=variables, check=False)
        times.append(time.perf_counter() - began)
    return round(statistics.median(times[1:]), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.processes:
        result: dict[str, object] | None = processes()
    else:
        result = fuzz_in_parts(options.seed, options.texts, options.seconds, options.output, options.jobs)
    if result is None:
        return
    text = json.dumps(result, indent=2)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
