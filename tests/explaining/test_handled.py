"""A shortage that the program dealt with is no failure, but it is not met with silence either."""

import pytest

from advisor import errorbook, rulebook
from advisor.explaining import explain
from advisor.explaining.handled import WENT_ON

RULES = errorbook.load(rulebook.shipped() / "errors")


@pytest.mark.parametrize(
    "text",
    [
        "W: step 812: CUDA out of memory, skipping batch\nstep 813 loss=0.41\n",
        "step 4: CUDA out of memory. Tried to allocate 2.00 GiB\nattempting to recover in forward pass\nstep 5\n",
        "WARNING ran out of memory with batch size 64, retrying with batch size 32\nINFO epoch 1 done\n",
    ],
)
def test_what_was_dealt_with_is_told_and_no_failure(text: str) -> None:
    found = explain(text, "log", None, RULES)
    assert (found.recognized, found.kind, found.cause) == (False, None, None)
    assert found.what.startswith(WENT_ON)


def test_it_is_counted() -> None:
    text = "".join(f"step {n}: CUDA out of memory, skipping batch\nstep {n + 1} loss=0.4\n" for n in range(3))
    assert explain(text, "log", None, RULES).what.startswith(f"{WENT_ON} (3 times)")


@pytest.mark.parametrize(
    "text",
    [
        "all is well",
        "if 'out of memory' in str(e):\n    print('skipping')\n",
        "To avoid running out of memory, try reducing the batch size.\n",
        "# CUDA out of memory -> retry\n",
    ],
)
def test_code_and_advice_tell_of_no_shortage(text: str) -> None:
    found = explain(text, "log", None, RULES)
    assert not found.recognized
    assert found.what == ""


def test_a_failure_below_counts() -> None:
    text = (
        "W: step 812: CUDA out of memory, skipping batch\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.69 "
        "GiB of which 11.00 MiB is free.\n"
    )
    assert explain(text, "log", None, RULES).kind == "gpu_oom"


KEY = (
    'Traceback (most recent call last):\n  File "t.py", line 4, in <module>\n    y = d["label"]\nKeyError: \'label\'\n'
)
OOM = "CUDA out of memory. Tried to allocate 2.00 GiB\n"
RAISED = f'Traceback (most recent call last):\n  File "t.py", line 2, in step\n    out = net(x)\nRuntimeError: {OOM}'


@pytest.mark.parametrize(
    "text",
    [
        f"step 12 WARNING oom on batch, skipped: {OOM}step 13 loss 2.1\n{KEY}",
        f"caught {OOM}{KEY}",
        f"{RAISED}continuing with the next batch\nstep 13 loss 2.1\n{KEY}",
    ],
)
def test_a_caught_shortage_hides_no_later_error(text: str) -> None:
    found = explain(text, "log", None, RULES)
    assert found.kind is None
    assert "What ended the program is another error, which no rule knows: KeyError: 'label'" in found.what


def test_the_later_error_is_explained_where_a_rule_knows_it() -> None:
    known = KEY.replace("KeyError: 'label'", "ImportError: Using `bitsandbytes` 4-bit quantization requires accelerate")
    found = explain(f"caught {OOM}{known}", "log", None, RULES)
    assert (found.kind, found.cause) == ("error", "bnb_or_accelerate_not_importable")


@pytest.mark.parametrize(
    "text",
    [
        f"{RAISED}\nDuring handling of the above exception, another exception occurred:\n\n{KEY}",
        f"{RAISED}step 13 loss 2.1\n{KEY.replace('KeyError', 'torch.distributed.DistBackendError')}",
        f"[rank1]: RuntimeError: {OOM}step 13 loss 2.1\n{KEY}",
        f"{RAISED}{KEY}",
        f"caught {OOM}step 13 loss 2.1\n{RAISED}",
    ],
    ids=["chained", "follows", "rank", "no sign", "again"],
)
def test_what_follows_from_the_shortage_does_not_hide_it(text: str) -> None:
    assert explain(text, "log", None, RULES).kind == "gpu_oom"
