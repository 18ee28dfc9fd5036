"""Figures, kinds and settings of pasted texts, from every generation of the messages."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.reading import Passage, masked, read
from advisor.reading.quantities import in_bytes
from advisor.reading.squeezed import GRAM, LONG, Squeezed, phrase, squeeze

TEXTS = Path(__file__).parent / "errors"
GIB, MIB = 2**30, 2**20

FIGURES = {
    "torch-0.4": {},
    "torch-1.1": {
        "requested_bytes": 30 * MIB, "total_bytes": 11 * GIB, "allocated_bytes": 9 * GIB + GIB // 2,
        "free_bytes": 20 * MIB, "cached_unused_bytes": 512 * MIB, "device_index": 1,
    },
    "torch-1.12": {
        "requested_bytes": 3 * GIB, "total_bytes": 16 * GIB, "allocated_bytes": 8 * GIB + GIB // 2,
        "free_bytes": GIB, "reserved_bytes": 14 * GIB, "device_index": 0,
    },
    "torch-2.0-async": {
        "requested_bytes": GIB, "total_bytes": 8 * GIB, "allocated_bytes": 6 * GIB, "free_bytes": 512 * MIB,
        "device_index": 0,
    },
    "torch-2.1": {
        "requested_bytes": 2 * GIB, "total_bytes": 40 * GIB, "free_bytes": GIB, "process_bytes": 10 * GIB,
        "other_process_bytes": 28 * GIB + 512 * MIB, "allocated_bytes": 9 * GIB,
        "reserved_unallocated_bytes": 256 * MIB, "device_index": 2,
    },
    "torch-2.9": {
        "requested_bytes": 64 * MIB, "total_bytes": 24 * GIB, "free_bytes": 32 * MIB,
        "process_bytes": 23 * GIB + 768 * MIB, "limit_bytes": 12 * GIB, "allocated_bytes": 11 * GIB,
        "private_pool_bytes": 128 * MIB, "reserved_unallocated_bytes": 256 * MIB, "device_index": 0,
    },
    "mps": {
        "requested_bytes": 3 * GIB, "allocated_bytes": 6 * GIB, "other_allocations_bytes": GIB, "limit_bytes": 9 * GIB,
    },
    "cpu-linux": {"requested_bytes": GIB},
    "cpu-windows": {"requested_bytes": 24 * MIB},
    "killed": {},
    "vllm": {
        "max_seq_len": 131072, "kv_needed_bytes": 16 * GIB, "kv_available_bytes": 4 * GIB, "estimated_max_len": 32768,
    },
}  # fmt: skip


def text_of(name: str) -> str:
    return (TEXTS / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_those_of_the_message_and_no_others(name: str) -> None:
    assert read(text_of(name)).figures == FIGURES[name]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("torch-0.4", "gpu_oom"), ("torch-2.9", "gpu_oom"), ("mps", "gpu_oom"), ("cpu-linux", "cpu_oom"),
        ("cpu-windows", "cpu_oom"), ("killed", "killed"), ("vllm", "kv_cache_budget"), ("key-error", None),
    ],
)  # fmt: skip
def test_kinds(name: str, kind: str | None) -> None:
    assert read(text_of(name)).facts.value("text.kind") == kind


def coloured(text: str) -> str:
    return "".join(f"\x1b[1;31m{line}\x1b[0m\r\n" for line in text.splitlines())


def stamped(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(f"2026-01-02T03:04:{number:02d}.000000Z [rank0]: {line}" for number, line in enumerate(lines))


def boxed(text: str) -> str:
    wrapped = [line[start : start + 70] for line in text.splitlines() for start in range(0, len(line), 70)]
    return "\n".join(f"│ {line:<70} │" for line in wrapped)


@pytest.mark.parametrize("noise", [coloured, stamped, boxed])
@pytest.mark.parametrize("name", ["torch-1.12", "torch-2.1", "torch-2.9", "mps"])
def test_figures_survive_what_terminals_put_around_them(name: str, noise: object) -> None:
    assert callable(noise)
    assert read(noise(text_of(name))).figures == FIGURES[name]


def test_advice_in_a_message_is_no_setting() -> None:
    assert read(text_of("torch-2.9")).facts.value("text.settings") == ()


def test_a_setting_in_force_is_seen() -> None:
    shown = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True python run.py\n" + text_of("torch-1.12")
    assert read(shown).facts.value("text.settings") == ("expandable_segments",)


def test_a_missing_figure_is_unknown_and_not_zero() -> None:
    passage = read(text_of("torch-0.4"))
    assert passage.facts.value("text.requested_bytes") is None
    assert passage.facts.value("text.free_covers_request") is None


@pytest.mark.parametrize(
    ("value", "unit", "of_torch", "wanted"),
    [
        ("2.00", "gib", False, 2 * GIB), ("1900,00", "mib", False, 1900 * MIB), ("902.", "mib", False, 902 * MIB),
        ("41.2", "gb", False, 41_200_000_000), ("1.00", "gb", True, GIB), ("1,234,567", "bytes", False, 1_234_567),
    ],
)  # fmt: skip
def test_amounts(value: str, unit: str, of_torch: bool, wanted: int) -> None:
    assert in_bytes(value, unit, of_torch) == wanted


@given(st.text(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read(text: str) -> None:
    assert isinstance(read(text), Passage)


PIECES = (
    "CUDA out of memory. ", "Tried to allocate ", "2.00 GiB", "99,,9", " GPU ", "(", "...", "\n", "\r", "\x1b[31m",
    "shape[", "1,2,", "]", " and type float ", "Process 1 has ", "memory in use", "Killed", "token=", "│",
    "Traceback (most recent call last):",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=60))
@settings(max_examples=150, deadline=None)
def test_pieces_of_messages_in_any_order_are_read(pieces: list[str]) -> None:
    assert isinstance(read("".join(pieces)), Passage)


@pytest.mark.parametrize(
    "unit",
    ["(", "a", "... ", "1,234,", "Tried to allocate 2.00 GiB ", "\x1b[31m", "token=", "shape[1,", "[[[[0", "│ \n"],
)
def test_two_megabytes_of_anything_take_seconds_at_most(unit: str) -> None:
    text = unit * (2_000_000 // len(unit)) + "\n" + text_of("torch-2.9")
    began = time.perf_counter()
    read(text)
    # A runaway pattern takes minutes or for ever; an idle machine needs less than a second.
    assert time.perf_counter() - began < 10


SECRETS = [
    "hf_AbCdEfGhIjKlMnOpQrStUvWxYz123456", "sk-proj-abcdefghijklmnop1234", "AKIAIOSFODNN7EXAMPLE",
    "Authorization: Bearer abcdef.123456", "https://anna:hunter22@example.org/x", "password=hunter22",
    "github_pat_11ABCDEFG0123456789",
    "https://user:hf_AbCdEfGhIjKl@huggingface.co/api", "aws_secret_access_key=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF123", "nvapi-AbCdEfGhIjKlMnOpQrSt", "sk_live_AbCdEfGhIjKl",
    "AccountKey=AbCdEfGh12345678", "ya29.a0AfB_byCDefGHijKLmn", "https://hub/x?token=hf_AbCdEfGhIjKlMnOp",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_masked(secret: str) -> None:
    shown = masked(f"before {secret} after")
    value = secret.rpartition(" ")[2].rpartition("=")[2]
    assert value not in shown
    assert "hunter22" not in shown
    assert shown.startswith("before ")


@pytest.mark.parametrize(
    "path",
    [
        "/home/anna/run.py",
        "/Users/anna/run.py",
        r"C:\Users\anna\run.py",
        "C:\\\\Users\\\\anna\\\\run.py",
        r"C:\Users\anna maria\run.py",
        "/data/home/anna/x.py",
        "/users/anna/x.py",
    ],
)
def test_home_folders_are_masked(path: str) -> None:
    assert "anna" not in masked(f'File "{path}", line 3')


@pytest.mark.parametrize(
    ("shown", "hidden"),
    [
        ("connect to 10.20.30.40:29500", "10.20.30.40"), ("MASTER_ADDR=192.168.7.21", "192.168.7.21"),
        ("172.20.1.9 refused", "172.20.1.9"), ("anna@bigbox:~$ python run.py", "anna"),
        ("ask anna.b@example.org", "example"),
    ],
)  # fmt: skip
def test_people_and_private_machines_are_masked(shown: str, hidden: str) -> None:
    assert hidden not in masked(shown)


@pytest.mark.parametrize("before", range(3960, 4010, 3))
def test_a_secret_in_an_endless_line_is_not_cut_in_two(before: int) -> None:
    line = "x " * (before // 2) + "password=hunter22hunter22 CUDA out of memory."
    assert not any("hunter22" in masked(piece.shown) for piece in read(line).lines)


def test_versions_are_no_addresses() -> None:
    assert masked("nvidia-cublas-cu12==12.4.5.8 driver 10.1.243") == "nvidia-cublas-cu12==12.4.5.8 driver 10.1.243"


@pytest.mark.parametrize(
    "message",
    [
        "ggml_backend_cuda: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory",
        "Failed to allocate memory for requested buffer of size 4294967296",
        "memory allocation of 4294967296 bytes failed",
        "Unable to allocate 4.00 GiB for an array with shape (1073741824,) and data type float32",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4294967296 bytes. Error code 12",
        "Error: model requires more system memory (4.0 GiB) than is available (2.0 GiB)",
    ],
)
def test_figures_are_found_in_the_middle_of_a_long_log(message: str) -> None:
    around = "llama_model_loader: - kv  12: general.something str = value of this key\n" * 60
    assert read(f"{around}{message}\n{around}").figures["requested_bytes"] == 4 * GIB


def test_the_weights_of_an_engine_are_found_far_above_its_failure() -> None:
    between = "INFO step 17 loss 0.3\n" * 300
    text = (
        f"Model loading took 4.5 GiB\n{between}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    )
    assert read(text).figures["model_weights_bytes"] == int(4.5 * GIB)


@given(
    st.lists(
        st.sampled_from(["cudaoutofmemory", "cuda", "outof", "memory", "triedtoallocate", "x", "yz"]), max_size=40
    ),
    st.integers(0, 20),
    st.integers(1, 30),
)
@settings(max_examples=200, deadline=None)
def test_a_long_text_lacks_no_word_that_stands_in_it(parts: list[str], start: int, length: int) -> None:
    text = "".join(parts) * (LONG // max(1, len("".join(parts))) + 1) if parts else ""
    squeezed = Squeezed.of([text[: LONG + 7]])
    word = squeezed.text[start : start + length]
    assert not squeezed.lacks(word)
    if len(word) >= 2 * GRAM and parts:
        assert squeezed.lacks("q" + word[1:-1] * 2 + "q" * GRAM * 2)


def test_a_phrase_is_found_at_its_last_place() -> None:
    wanted = phrase("failed ... out of memory")
    text = squeeze("failed: out of memory; failed; it failed for want: out of memory. it failed")
    assert wanted.last(text, 0, len(text)) == (text.index("failedforwant"), text.rindex("outofmemory") + 11)
    assert phrase("GPU <n> ... is full").last(squeeze("GPU 1 is full, GPU 2 is full, GPU 3"), 0, 30) == (11, 21)
