"""From a pasted text to a diagnosis."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor import errorbook, rulebook
from advisor.errorbook import ErrorRule
from advisor.explaining import Diagnosis, explain
from advisor.facts import Facts, Known

TEXTS = Path(__file__).parent / "errors"
RULES = errorbook.load(rulebook.shipped() / "errors", kept=False)


def machine(**known: object) -> Facts:
    return Facts({name.replace("__", "."): Known(value, "test") for name, value in known.items()})  # type: ignore[arg-type]


def told(name: str, facts: Facts | None = None) -> Diagnosis:
    return explain((TEXTS / f"{name}.txt").read_text(encoding="utf-8"), name, facts, RULES)


@pytest.mark.parametrize(
    ("name", "kind", "cause"),
    [
        ("torch-0.4", "gpu_oom", "batch_too_large"),
        ("torch-1.1", "gpu_oom", "batch_too_large"),
        ("torch-1.12", "gpu_oom", "fragmentation"),
        ("torch-2.0-async", "gpu_oom", "batch_too_large"),
        ("torch-2.1", "gpu_oom", "other_process"),
        ("torch-2.9", "gpu_oom", "process_memory_fraction_cap"),
        ("mps", "gpu_oom", "batch_too_large"),
        ("cpu-linux", "cpu_oom", "host_ram"),
        ("cpu-windows", "cpu_oom", "host_ram"),
        ("killed", "killed", "host_ram"),
        ("vllm", "kv_cache_budget", "max_model_len_too_large"),
    ],
)
def test_each_generation_of_messages(name: str, kind: str, cause: str) -> None:
    found = told(name)
    assert (found.kind, found.cause) == (kind, cause)
    assert found.what
    assert found.why


def test_what_is_not_known_is_said() -> None:
    found = told("key-error").to_json()
    assert found["recognized"] is False
    assert (found["kind"], found["cause"], found["rule"], found["memory"]) == (None, None, None, {})


def test_the_json_has_the_contract_s_figures_and_null_for_absent_ones() -> None:
    memory = told("torch-1.12").to_json()["memory"]
    assert memory["reserved_bytes"] == 14 * 2**30
    assert memory["process_bytes"] is None
    assert set(memory) >= {"requested_bytes", "other_process_bytes", "reserved_unallocated_bytes", "device_index"}


def test_the_old_word_cached_is_reserved_but_unallocated() -> None:
    assert told("torch-1.1").to_json()["memory"]["reserved_unallocated_bytes"] == 512 * 2**20


def test_the_sentences_hold_this_text_s_figures() -> None:
    what = told("torch-2.1").what
    assert "2.00 GiB" in what
    assert "1.00 GiB of 40.0 GiB is free" in what
    assert "{" not in what


def applies(found: Diagnosis, fix: str) -> str:
    return next(each.applies for each in found.fixes if each.id == fix)


def test_fixes_are_checked_against_the_machine() -> None:
    assert applies(told("torch-1.12"), "expandable_segments") == "unknown"
    assert applies(told("torch-1.12", machine(host__os="linux")), "expandable_segments") == "yes"
    windows = applies(told("torch-1.12", machine(host__os="windows")), "expandable_segments")
    assert windows.startswith("no: ")
    assert "windows" in windows


def test_a_fix_that_is_in_force_is_no_advice() -> None:
    text = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True python run.py\n" + (TEXTS / "torch-1.12.txt").read_text()
    assert applies(explain(text, "x", None, RULES), "expandable_segments") == "already"


def test_a_knob_that_the_text_shows_is_no_advice() -> None:
    text = "generate(model, batch_size=1)\ntorch.OutOfMemoryError: CUDA out of memory."
    assert applies(explain(text, "x", None, RULES), "reduce_batch_size") == "already"
    assert applies(explain(text.replace("=1", "=9"), "x", None, RULES), "reduce_batch_size") == "yes"


def test_an_assertion_of_an_index_comes_before_the_library_that_it_breaks() -> None:
    text = (
        "Indexing.cu:1284: indexSelectLargeIndex: Assertion `srcIndex < srcSelectDimSize` failed.\n"
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"
    )
    found = explain(text, "x", None, RULES)
    assert (found.kind, found.cause) == ("error", "device_side_assert_index_out_of_range")
    assert found.to_json()["memory"] == {}


def test_the_innermost_call_tells_the_cause() -> None:
    text = (
        'File "train.py", line 9, in <module>\n    trainer.train()\n'
        'File "trainer.py", line 90, in _inner_training_loop\n    self.optimizer.step()\n'
        "torch.OutOfMemoryError: CUDA out of memory."
    )
    assert explain(text, "x", None, RULES).cause == "optimizer_states"


def test_secrets_of_the_text_are_not_printed_back() -> None:
    text = "RuntimeError: CUDA out of memory. token=hf_abcdefghijklmnop /home/anna/x password=hunter22"
    shown = str(explain(text, "x", None, RULES).to_json())
    assert not [word for word in ("hf_abcdef", "anna", "hunter22") if word in shown]


QUIET = [
    "INFO Loading model weights took 2.3 GB\nINFO # GPU blocks: 2000, # CPU blocks: 512\n",
    "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 98304, Hardware limit: 49152.",
    "Warning: Ran out of memory when regular VAE decoding, retrying with tiled VAE decoding.",
    "RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)",
    "ValueError: Cannot use chat template functions because tokenizer.chat_template is not set",
    "requests.exceptions.SSLError: Max retries exceeded with url",
    "Segmentation fault (core dumped)",
    "",
]


@pytest.mark.parametrize("text", QUIET)
def test_what_is_no_known_failure_stays_unexplained(text: str) -> None:
    assert not explain(text, "x", None, RULES).recognized


def test_braces_in_a_text_are_never_filled_in() -> None:
    found = explain("{0.__class__} {requested_bytes} CUDA out of memory. {", "x", None, RULES)
    assert found.quoted_line == "{0.__class__} {requested_bytes} CUDA out of memory. {"


@given(st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_text_has_an_answer(text: str) -> None:
    found = explain(text, "x", None, RULES).to_json()
    assert found["recognized"] == (found["cause"] is not None)


def test_without_rules_nothing_is_recognized() -> None:
    none: tuple[ErrorRule, ...] = ()
    assert not explain("CUDA out of memory.", "x", None, none).recognized


def test_a_weak_sign_alone_is_told_as_one_of_two() -> None:
    found = explain("RuntimeError: CUDA out of memory.", "x", None, RULES).to_json()
    assert (found["cause"], found["confidence"]) == ("unknown", "low")
    assert [each["cause"] for each in found["candidates"]] == ["other_process", "batch_too_large"]
    assert "nvidia-smi" in found["question"]


def test_the_cause_that_was_read_is_the_first_of_the_two() -> None:
    found = told("torch-2.0-async").to_json()
    assert found["confidence"] == "low"
    assert found["candidates"][0]["cause"] == found["cause"]
    assert found["candidates"][1]["cause"] != found["cause"]


def test_figures_that_settle_it_leave_no_doubt() -> None:
    found = told("torch-2.1").to_json()
    assert (found["confidence"], found["candidates"], found["question"]) == ("high", [], None)


@pytest.mark.parametrize(
    "text",
    [
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 58720256 bytes. Error code 12",
        "Loading checkpoint shards:  67%|######| 2/3 [00:41<00:20, 20.7s/it]\nKilled\n",
        "RuntimeError: DataLoader worker (pid 3812) is killed by signal: Killed.",
    ],
)
def test_what_the_text_answers_itself_is_not_asked(text: str) -> None:
    found = explain(text, "x", None, RULES)
    assert (found.cause, found.candidates, found.question) == ("host_ram", (), None)


def test_what_the_text_leaves_open_is_asked() -> None:
    text = "RuntimeError: DefaultCPUAllocator: not enough memory"
    assert len(explain(text, "x", None, RULES).candidates) == 2


@pytest.mark.parametrize(
    ("line", "held", "why"),
    [
        ("Out of memory: Killed process 4242 (python) anon-rss:61234567kB", "58.4 GiB", "the machine had no"),
        (
            "Memory cgroup out of memory: Killed process 4242 (python) anon-rss:31234567kB",
            "29.8 GiB",
            "its control group",
        ),
    ],
)
def test_the_kernel_s_own_line_says_what_was_held_and_whose_limit_it_was(line: str, held: str, why: str) -> None:
    found = explain(f"[ 8123.1] {line}\n", "x", None, RULES)
    assert (found.kind, found.cause, found.confidence) == ("killed", "host_ram", "medium")
    assert held in found.what and why in found.what


def test_a_worker_s_end_is_answered_by_fewer_workers() -> None:
    found = explain("RuntimeError: DataLoader worker (pid 3812) is killed by signal: Killed.", "x", None, RULES)
    assert found.fixes[0].command == "DataLoader(..., num_workers=2)"
    other = explain("Loading checkpoint shards: 67%|###| 2/3 [00:41<00:20]\nKilled\n", "x", None, RULES)
    assert not any("num_workers" in (fix.command or "") for fix in other.fixes)


def test_neighbours_are_causes_that_exist() -> None:
    known = {rule.id for rule in RULES}
    assert not [rule.id for rule in RULES if rule.neighbour and rule.neighbour not in known]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('Traceback (most recent call last):\n  File "run.py", line 3, in <module>\n    main()\n', "ends before"),
        ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError:\ntrain.py FAILED", "launcher"),
        (
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s)",
            "further up",
        ),
        ("", "empty"),
    ],
)
def test_a_paste_without_the_decisive_line_says_what_is_missing(text: str, said: str) -> None:
    found = explain(text, "x", None, RULES).to_json()
    assert not found["recognized"]
    assert said in found["missing"]


def test_a_whole_error_that_nobody_knows_lacks_nothing() -> None:
    assert explain("KeyError: 'rope'", "x", None, RULES).missing is None
