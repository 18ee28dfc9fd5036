"""What prose, frames and statements around a memory failure say of its cause."""

import time

import pytest

from advisor.reading import read
from advisor.reading.observations import OF_THE_RUN
from advisor.reading.observed_machine import OF_THE_MACHINE

BARE = "\ntorch.cuda.OutOfMemoryError: CUDA out of memory."
FIGURES = (
    "\nRuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 23.69 GiB total capacity; 21.00 GiB "
    "already allocated; 1.20 GiB free; 21.30 GiB reserved in total by PyTorch)"
)


def told(text: str) -> tuple[str, ...]:
    found = read(text + BARE).facts.value("text.tells")
    assert isinstance(found, tuple)
    return found


def frame(where: str, code: str) -> str:
    return f'Traceback (most recent call last):\n  File "{where}", line 9, in forward\n    {code}'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("After restarting the runtime it works again.", "rerun"),
        ("Fold 1 trains fine, fold 2 dies at once.", "rerun"),
        ("Nach einem Neustart des Kernels läuft es.", "rerun"),
        ("显存不断增加", "climbs"),
        ("With batch size 8 it runs.", "batch_size_matters"),
        ("The other cards are nearly idle.", "one_full"),
        ("My GPU is a GTX 1650.", "tiny_card"),
    ],
)
def test_what_was_seen_is_told(text: str, name: str) -> None:
    assert name in told(text)


@pytest.mark.parametrize("text", ["Restarting the kernel does not help.", "It fails with and without torch.no_grad()."])
def test_what_changed_nothing_is_not_told(text: str) -> None:
    assert told(text) == ()


def test_processes_on_one_device_are_told_and_those_of_several_are_not() -> None:
    row = "|    {}   N/A  N/A    {}      C   python    9000MiB |"
    assert "held_elsewhere" in told(row.format(0, 11) + "\n" + row.format(0, 12))
    assert "held_elsewhere" not in told(row.format(0, 11) + "\n" + row.format(1, 11))


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("att = (q @ k.transpose(-2, -1)) * self.scale", "attention"),
        ("dots = torch.matmul(q, k.transpose(-1, -2))", "attention"),
        ("scores = scores.masked_fill(mask, -1e9)", "attention"),
        ("prediction_scores = self.cls(sequence_output)", "logits"),
        ("x = F.scaled_dot_product_attention(q, k, v)", None),
        ("self.keys = torch.cat([self.keys, key_states], dim=-2)", None),
        ("logits = model(ids).logits", None),
    ],
)
def test_the_innermost_call_tells_the_tensor(code: str, wanted: str | None) -> None:
    assert read(frame("/w/attention.py", code) + FIGURES).facts.text("text.tensor") == wanted


def test_inputs_that_are_moved_are_no_move_of_a_model() -> None:
    assert read("y = net(batch.to(device))" + FIGURES).facts.text("text.phase") != "to_device"
    assert read("net = net.to(device)" + FIGURES).facts.text("text.phase") == "to_device"


@pytest.mark.parametrize(
    ("code", "collects"),
    [
        ("feats = torch.cat([feats, out], dim=0)", True),
        ("feats.append(out.hidden_states)   # all of them", True),
        ("feats.append(out.hidden_states.cpu())", False),
        ("texts.append(text)", False),
    ],
)
def test_what_is_kept_on_the_device_is_seen(code: str, collects: bool) -> None:
    assert read(code + FIGURES).facts.is_true("text.collects_outputs") is collects


def test_a_batch_of_16_is_none_of_one() -> None:
    assert "batch_size_1" not in str(read("batch size 16" + BARE).facts.value("text.settings"))


def test_every_observation_is_read_in_time() -> None:
    words = sorted({word for _, cheap, _ in OF_THE_RUN + OF_THE_MACHINE for word in cheap.split("|")})
    start = time.perf_counter()
    for word in words:
        read(f"{word} " * 1000 + BARE)
    assert time.perf_counter() - start < 30
