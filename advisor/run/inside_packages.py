"""Asks pip of the target interpreter, in it: `python inside_packages.py request.json answer.json`.

The request: `names`; `ask`, which is `look`, `try` or `install`; `agreed`, what to install. Nothing that is installed
may change: every distribution is pinned to its version, and nothing is built from source, which would run its code.
The answer: `installed` (versions by name), `would_install` (name and version of all that pip would add), and `problem`,
pip's own words where it found no way. Pip's lines go to stdout as progress. Uses the standard library alone.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PIP = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:")


def installed() -> dict[str, str]:
    """Versions by normalized name (PEP 503)."""
    found: dict[str, str] = {}
    for package in importlib.metadata.distributions():
        name = package.metadata["Name"]
        if name and re.fullmatch(r"[\w.!+-]+", package.version or ""):
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), package.version)
    return found


def pip(arguments: list[str]) -> tuple[int, str]:
    """Run pip; its exit code and what it wrote to stderr. Its lines are passed on as they come."""
    words = [sys.executable, *PIP, *arguments]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip())
        print(json.dumps({"pip": lines[-1]}), flush=True)
    return process.wait(), "\n".join(lines)


def reason(said: str) -> str:
    """What pip says is wrong."""
    errors = [line for line in said.splitlines() if line.startswith("ERROR:") or "No module named pip" in line]
    return (errors[0] if errors else said.strip().splitlines()[-1] if said.strip() else "it said nothing")[:300]


def main(request_path: str, answer_path: str) -> None:
    request: dict[str, Any] = json.loads(Path(request_path).read_text(encoding="utf-8"))
    folder = Path(request_path).parent
    have = installed()
    answer: dict[str, Any] = {"installed": have, "would_install": [], "problem": None}
    missing = [name for name in request["names"] if name not in have]
    if missing and request["ask"] != "look":
        pins, report = folder / "constraints.txt", folder / "report.json"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in have.items()), encoding="utf-8")
        code, said = pip(["--constraint", str(pins), "--dry-run", "--report", str(report), *missing])
        if code or not report.exists():
            answer["problem"] = reason(said)
        else:
            found = json.loads(report.read_text(encoding="utf-8"))["install"]
            answer["would_install"] = [[one["metadata"]["name"], one["metadata"]["version"]] for one in found]
    if request["ask"] == "install" and not answer["problem"]:
        # Exactly what was shown: each by its version, nothing else.
        pinned = [f"{name}=={version}" for name, version in request["agreed"]]
        code, said = pip(["--constraint", str(pins), "--no-deps", *pinned])
        answer["problem"] = reason(said) if code else None
        answer["installed"] = installed()
    unfinished = Path(answer_path + ".part")
    unfinished.write_text(json.dumps(answer), encoding="utf-8")
    unfinished.replace(answer_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
