"""Whether the installed transformers would take a recipe: asked in one child process for any number of texts."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CHILD = Path(__file__).with_name("inside_accepted.py")
LONGEST_SECONDS = 300


def refused(texts: Sequence[str]) -> dict[str, str]:
    """The texts that the library would refuse, each with the reason; empty where it takes all of them."""
    asked = subprocess.run(
        [sys.executable, "-W", "ignore", str(CHILD)],
        input=json.dumps(list(texts)),
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr[-2000:]
    reasons = json.loads(asked.stdout.splitlines()[-1])
    return {text: reason for text, reason in zip(texts, reasons, strict=True) if reason is not None}
