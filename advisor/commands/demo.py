"""`perf-advisor demo`: the whole loop on a small model that is made here in seconds, without a download."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from advisor import child
from advisor import run as running
from advisor.commands import options as common
from advisor.errors import Mistake, RequestError
from advisor.show import terminal

WORKLOAD = ["--batch", "8", "--prompt-tokens", "128", "--new-tokens", "64", "--goal", "throughput", "--repeats", "yes"]
AS_IT_IS = ["--set", "dtype=float32", "--set", "batching=loop"]
MAKING_LIMIT_SECONDS = 300.0


def run(options: argparse.Namespace) -> int:
    """Make the model, then run diagnose and apply as a user would; the exit code of apply."""
    talk = terminal.talk()
    python = common.target_python(options)
    folder = Path(options.folder)
    model, plan = folder / "model", folder / "plan.json"
    if not (model / "config.json").exists():
        talk.print(f"Making a model of 20 million random weights in {model} ...")
        _make(python, model)
    for words in (
        ["diagnose", str(model), "--no-input", *WORKLOAD, *AS_IT_IS, "-o", str(plan)],
        ["apply", "--plan", str(plan)],
    ):
        words += ["--python", options.python] if options.python else []
        talk.print(f"\n[bold]$ perf-advisor {shlex.join(words)}[/]", soft_wrap=True)
        code = subprocess.run([sys.executable, "-m", "advisor.cli", *words], check=False).returncode
        if code:
            return code
    return 0


def _make(python: str, model: Path) -> None:
    model.parent.mkdir(parents=True, exist_ok=True)
    program = Path(running.__path__[0]) / "inside_demo_model.py"
    match child.run(python, program, {"folder": str(model.resolve()), "size": "20m"}, MAKING_LIMIT_SECONDS):
        case child.Died(reason):
            hint = "the demo needs torch and transformers: pip install 'perf-advisor[run]'"
            raise RequestError(Mistake("demo", f"the model cannot be made: {reason}", hint))
        case child.Answered():
            return
