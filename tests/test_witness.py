"""What a failure's text tells of machine, setup and workload, and a plan that answers it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from advisor import cli, planfile, rulebook
from advisor.facts import Facts, Known, Unknown
from advisor.reading import read
from advisor.witness import Witness, witness

MACHINES = Path(__file__).parent / "machines"
GIB = 2**30
SHARED = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 40.00 GiB "
    "of which 1.00 GiB is free. Process 4711 has 28.00 GiB memory in use. Including non-PyTorch memory, this process "
    "has 11.00 GiB memory in use. Of the allocated memory 10.00 GiB is allocated by PyTorch, and 200.00 MiB is "
    "reserved by PyTorch but unallocated."
)
OLD = (
    "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 16.00 GiB total capacity; 13.00 GiB already "
    "allocated; 0.50 GiB free; 13.00 GiB reserved in total by PyTorch)"
)


def machine(**known: Any) -> Facts:
    return Facts({name.replace("__", "."): Known(value, "test") for name, value in known.items()})


A100 = machine(
    gpu__count=1, gpu__memory_total_bytes=40 * GIB, gpu__name="NVIDIA A100-PCIE-40GB", gpu__memory_free_bytes=40 * GIB
)
NONE = machine(gpu__count=0, torch__sees_gpu=False, torch__build="cpu", speed__device="cpu")
LLAMA = machine(model__heads=32, model__vocab_size=128_256, model__context_tokens=131_072)


def told(text: str, here: Facts = A100, model: Facts = LLAMA) -> Witness:
    return witness(read(text), "oom.txt", here, model)


def test_a_new_process_finds_all_but_what_others_hold() -> None:
    fact = told(SHARED).machine.get("gpu.memory_free_bytes")
    assert isinstance(fact, Known)
    assert fact.value == 12 * GIB
    assert fact.source == "oom.txt:1: 40.0 GiB in all less 28.0 GiB held by others"


def test_an_old_message_leaves_the_own_context_out() -> None:
    """16 - 0.5 - 13 = 2.5 GiB are not PyTorch's; half a GiB of it is this process's own context."""
    assert told(OLD, machine(gpu__memory_total_bytes=16 * GIB)).machine.value("gpu.memory_free_bytes") == 14 * GIB


def test_without_figures_nothing_is_claimed() -> None:
    found = told("torch.OutOfMemoryError: CUDA out of memory.")
    assert len(found.machine) == 0
    assert found.kind == "gpu_oom"


def test_where_the_own_part_is_not_told_this_card_keeps_its_figure_and_another_s_is_unknown() -> None:
    text = "CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has a total capacity of 40 GiB of which 1 GiB is free."
    assert "gpu.memory_free_bytes" not in told(text).machine
    assert isinstance(told(text, NONE).machine.get("gpu.memory_free_bytes"), Unknown)


def test_the_same_card_keeps_what_is_known_of_it() -> None:
    found = told(SHARED)
    assert not found.elsewhere
    assert "gpu.name" not in found.machine


def test_another_machine_s_card_takes_the_place_of_this_one_s() -> None:
    found = told(f"Using NVIDIA A100-SXM4-40GB\n{SHARED}", NONE)
    joined = NONE | found.machine
    assert found.elsewhere
    assert joined.get("gpu.name") == Known("a100-sxm4-40gb", "oom.txt:1")
    assert joined.number("gpu.capability") == 8.0
    assert joined.text("torch.build") == "cuda"
    assert joined.is_true("torch.sees_gpu")
    assert joined.value("speed.device") is None


MPS = (
    "RuntimeError: MPS backend out of memory (MPS allocated: 17.69 GiB, other allocations: 384.00 KiB, max allowed: "
    "18.13 GiB). Tried to allocate 500.00 MiB on private pool."
)


def test_a_message_of_another_maker_s_device_is_about_another_machine() -> None:
    found = told(MPS, machine(**{"gpu.vendor": "nvidia", "gpu.name": "NVIDIA A100", "torch.build": "cuda"}))
    assert found.elsewhere
    assert isinstance(found.machine.get("gpu.name"), Unknown)
    assert (found.machine.text("torch.build"), found.machine.text("gpu.vendor")) == ("mps", "apple")
    assert found.machine.count("gpu.memory_free_bytes") == round(18.13 * GIB)


def test_on_the_same_maker_s_device_its_limit_counts() -> None:
    found = told(MPS, machine(**{"gpu.vendor": "apple", "gpu.memory_free_bytes": 46 * GIB}))
    assert not found.elsewhere
    assert found.machine.count("gpu.memory_free_bytes") == round(18.13 * GIB)


def test_what_pytorch_held_a_new_process_finds() -> None:
    text = (
        "torch.OutOfMemoryError: XPU out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total "
        "capacity of 11.33 GiB. "
        "Of the allocated memory 10.00 GiB is allocated by PyTorch, and 512.00 MiB is reserved by "
        "PyTorch but unallocated."
    )
    found = told(text, machine(**{"gpu.vendor": "intel"}))
    assert found.machine.count("gpu.memory_free_bytes") == pytest.approx(10.5 * GIB, abs=2)


def test_a_card_whose_memory_disagrees_is_not_believed() -> None:
    assert told(f"Using NVIDIA GeForce RTX 4090\n{SHARED}", NONE).machine.text("gpu.name") is None


@pytest.mark.parametrize(
    ("line", "knob", "value"),
    [
        ("model = AutoModel.from_pretrained(name, load_in_4bit=True)", "quantization", "bnb_nf4"),
        ("model = AutoModel.from_pretrained(name, dtype=torch.bfloat16)", "dtype", "bfloat16"),
        ("model = AutoModel.from_pretrained(name, device_map='auto')", "device_map", "auto"),
        ("File 'modeling_llama.py', line 232, in eager_attention_forward", "attn_implementation", "eager"),
        ("out = F.scaled_dot_product_attention(q, k, v)", "attn_implementation", "sdpa"),
    ],
)
def test_settings_that_the_text_shows_are_knobs_with_their_line(line: str, knob: str, value: str) -> None:
    assert told(f"Traceback (most recent call last):\n{line}\n{SHARED}").knobs[knob] == (value, "oom.txt:2")


def test_advice_in_a_text_is_no_setting() -> None:
    assert "quantization" not in told(f"{SHARED}\nTry using load_in_4bit=True").knobs


def test_sizes_of_the_workload() -> None:
    found = told(f"answers = generate(model, batch_size=16, max_new_tokens=300)\n{SHARED}").workload
    assert found == {"batch": (16, "oom.txt:1"), "new_tokens": (300, "oom.txt:1")}


def test_the_length_follows_from_the_scores_that_did_not_fit() -> None:
    """4 x 32 heads x 2048 x 2048 x 2 bytes are 1 GiB."""
    message = SHARED.replace("2.00 GiB", "1.00 GiB")
    text = f"generate(batch_size=4)\nFile 'm.py', line 2, in eager_attention_forward\n{message}"
    length, place = told(text).workload["prompt_tokens"]
    assert length == 2048
    assert place == "oom.txt:3: 1.00 GiB = 4 x 32 heads x length x length x 2 bytes"


GROWS = """  File "/v/transformers/cache_utils.py", line 133, in update
    self.keys = torch.cat([self.keys, key_states], dim=-2)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 112.00 MiB. GPU 0 has a total capacity of 23.69 GiB of
which 61.00 MiB is free. Including non-PyTorch memory, this process has 23.62 GiB memory in use.
"""


@pytest.mark.parametrize(("call", "length"), [("", 57_344), ("out = model.generate(x, max_new_tokens=2000)\n", 55_344)])
def test_the_length_follows_from_the_cache_that_did_not_fit(call: str, length: int) -> None:
    model = LLAMA | Facts({"model.kv_heads": Known(8, ""), "model.head_dim": Known(128, "")})
    value, place = told(call + GROWS, model=model).workload["prompt_tokens"]
    assert value == length
    assert place.endswith("112 MiB = 1 x 57344 tokens x 2048 bytes of one layer's keys")


def test_no_length_is_made_up_for_another_tensor() -> None:
    assert "prompt_tokens" not in told(SHARED).workload


def test_training_is_seen() -> None:
    assert told(f"Traceback (most recent call last):\n  loss.backward()\n{SHARED}").workload["task"][0] == "train"


def test_an_error_says_what_is_not_installed() -> None:
    facts = witness(read("x"), "x.txt", A100, LLAMA, "flash_attn_not_installed").machine
    assert facts.get("flash_attn.installed") == Known(False, "x.txt: flash_attn_not_installed")
    assert not witness(read("x"), "x.txt", A100, LLAMA, "batch_too_large").machine


def test_the_text_may_come_through_a_pipe() -> None:
    command = [sys.executable, "-m", "advisor.cli", "diagnose", "llama-3.1-8b", "--from-error", "-", "--json"]
    machine_file = str(MACHINES / "a100-40gb-shared.json")
    done = subprocess.run(
        [*command, "--machine", machine_file], input=SHARED, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    fact = json.loads(done.stdout)["machine"]["gpu.memory_free_bytes"]
    assert fact["source"].startswith("standard input:1: ")


def plan(tmp_path: Path, text: str, *words: str) -> dict[str, Any]:
    (tmp_path / "oom.txt").write_text(text)
    output = tmp_path / "plan.json"
    command = ["diagnose", "llama-3.1-8b", "--from-error", str(tmp_path / "oom.txt"), "--no-input", "-o", str(output)]
    assert cli.main([*command, *words]) == 0
    data: dict[str, Any] = json.loads(output.read_text())
    return data


def test_the_plan_answers_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = plan(tmp_path, SHARED, "--machine", str(MACHINES / "a100-40gb-shared.json"))
    assert data["workload"]["goal"] == "fit"
    assert data["baseline"]["estimate"]["memory"]["available_bytes"] == 12 * GIB
    assert data["baseline"]["estimate"]["memory"]["fits"] is False
    assert data["plan"]["estimate"]["memory"]["fits"] is True
    assert data["machine"]["gpu.memory_free_bytes"]["source"].startswith("oom.txt:1")
    assert "--from-error" in capsys.readouterr().err.splitlines()[-1]


def test_what_is_stated_counts_more_than_the_text(tmp_path: Path) -> None:
    words = ["--machine", str(MACHINES / "a100-40gb-shared.json"), "--goal", "memory", "--batch", "2"]
    data = plan(tmp_path, f"run(batch_size=64, dtype=torch.float16)\n{SHARED}", *words, "--set", "dtype=bfloat16")
    assert (data["workload"]["goal"], data["workload"]["batch"]) == ("memory", 2)
    assert data["baseline"]["setup"]["dtype"] == "bfloat16"


def test_doubt_is_said_where_the_estimate_sees_no_shortage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SHARED.replace("28.00", "1.00").replace("11.00", "38.00")
    plan(tmp_path, text, "--machine", str(MACHINES / "a100-40gb-shared.json"))
    assert "these sizes, so they are assumed: --batch N --prompt-tokens N" in capsys.readouterr().err


FRAGMENTED = (
    "RuntimeError: CUDA out of memory. Tried to allocate 1.50 GiB (GPU 0; 23.69 GiB total capacity; 11.20 GiB already "
    "allocated; 812.00 MiB free; 21.40 GiB reserved in total by PyTorch)\n"
)
NOT_INSTALLED = (
    "ImportError: FlashAttention2 has been toggled on, but it cannot be used: flash_attn seems to be not installed.\n"
)
NCCL = (
    "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1203, OpType=ALLREDUCE, "
    "Timeout(ms)=600000) ran for 600042 milliseconds before timing out.\n"
)
HOST = (
    "RuntimeError: [enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to "
    "allocate 58720256 bytes. Error code 12\n"
)
VLLM = (
    "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (5.21 GiB). Based on the available memory, the estimated "
    "maximum model length is 42672.\n"
)


@pytest.mark.parametrize("text", [SHARED, FRAGMENTED, NOT_INSTALLED, NCCL, HOST, VLLM])
def test_the_diagnosis_stands_in_every_plan(text: str, tmp_path: Path) -> None:
    data = plan(tmp_path, text, "--machine", str(MACHINES / "a100-40gb-shared.json"))
    told_ = [part for part in (*data["steps"], *data["notes"]) if part["rule"].startswith("diagnosed-")]
    assert len(told_) == 1 and told_[0]["summary"]


def test_the_step_that_the_diagnosis_names_comes_first(tmp_path: Path) -> None:
    data = plan(tmp_path, FRAGMENTED, "--machine", str(MACHINES / "rtx-3090.json"))
    first = data["steps"][0]
    assert (first["rule"], first["change"]) == ("diagnosed-fragmentation", {"allocator": "expandable_segments:True"})
    assert data["plan"]["setup"]["allocator"] == "expandable_segments:True"
    assert planfile.read(tmp_path / "plan.json", rulebook.full_vocabulary()).steps[0].rule == first["rule"]


def test_what_is_not_installed_is_left_out(tmp_path: Path) -> None:
    data = plan(tmp_path, NOT_INSTALLED, "--machine", str(MACHINES / "rtx-4090.json"))
    assert data["baseline"]["setup"]["attn_implementation"] == "flash_attention_2"
    assert data["plan"]["setup"]["attn_implementation"] == "sdpa"


@pytest.mark.parametrize(("text", "instead"), [(NCCL, "Find the rank"), (HOST, "Where a model is loaded"), (VLLM, "")])
def test_a_failure_that_no_plan_answers_is_said_to_be_one(
    text: str, instead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = plan(tmp_path, text, "--machine", str(MACHINES / "rtx-4090.json"))
    told_, do, *_ = capsys.readouterr().err.splitlines()
    assert told_.startswith("This failure is not answered by a plan: ")
    assert do.startswith(f"Instead: {instead}")
    assert data["notes"][0]["rule"].startswith("diagnosed-") and data["notes"][0]["urgent"]
    assert not any(step["rule"].startswith("diagnosed-") for step in data["steps"])


@pytest.mark.parametrize(("text", "told_"), [("all is well", "no rule knows the text"), (None, "No such file")])
def test_a_text_without_a_known_failure_is_refused(
    text: str | None, told_: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.txt"
    if text:
        path.write_text(text)
    assert cli.main(["diagnose", "llama-3.1-8b", "--from-error", str(path)]) == 2
    assert told_ in capsys.readouterr().err
