"""Plans for embedding texts: what is advised where nothing is generated, and what is not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from advisor import cli, rulebook

MACHINES = Path(__file__).parent / "machines"
GENERATION = ("4-compile", "6-serve", "cache", "speculation", "training")
LOOP = ("--set", "batching=loop")


def diagnosed(machine: str, *words: str, model: str = "bge-base-en-v1.5") -> list[str]:
    sizes = ("--task", "encode", "--batch", "64", "--prompt-tokens", "256", "--goal", "throughput")
    return ["diagnose", model, *sizes, *words, "--machine", str(MACHINES / f"{machine}.json"), "--no-input"]


def plan_of(capsys: pytest.CaptureFixture[str], machine: str, *words: str, model: str = "bge-base-en-v1.5") -> Any:
    assert cli.main([*diagnosed(machine, *words, model=model), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def steps(plan: Any) -> list[str]:
    return [step["rule"] for step in plan["steps"]]


def test_on_a_cpu_with_bf16_units_texts_go_in_batches_and_bf16(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(capsys, "cpu-only", "--set", "dtype=float32", *LOOP)
    assert steps(plan) == ["fp32-weights-on-bf16-device", "texts-embedded-one-at-a-time"]
    setup = plan["plan"]["setup"]
    assert (setup["dtype"], setup["batching"], setup["batch_size"]) == ("bfloat16", "padded", 64)


def test_a_t4_computes_in_fp16(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(capsys, "t4")
    assert steps(plan) == ["fp32-weights-on-fp16-gpu"]
    assert plan["plan"]["estimate"]["speed"]["decode_tokens_per_second"] is None
    assert plan["plan"]["estimate"]["memory"]["kv_cache_bytes"] == 0


def test_eager_attention_gives_way_to_sdpa(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(capsys, "a100-80gb", "--set", "attn_implementation=eager")
    assert "eager-attention-where-sdpa-runs" in steps(plan)


@pytest.mark.parametrize(
    ("batching", "rule"),
    [("loop", "texts-of-mixed-lengths-one-at-a-time"), ("padded", "texts-of-mixed-lengths-in-one-batch")],
)
def test_mixed_lengths_are_sorted(capsys: pytest.CaptureFixture[str], batching: str, rule: str) -> None:
    plan = plan_of(capsys, "a100-80gb", "--batch", "4096", "--mixed-lengths", "yes", "--set", f"batching={batching}")
    assert rule in steps(plan)
    assert plan["plan"]["setup"]["batching"] == "sorted"
    assert plan["plan"]["setup"]["batch_size"] == 512


def test_a_batch_too_large_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--batch", "4096", "--prompt-tokens", "4096", "--set", "dtype=float16")
    plan = plan_of(capsys, "t4", *words, model="modernbert-base")
    assert "batch-larger-than-memory" in steps(plan)
    assert plan["plan"]["estimate"]["memory"]["fits"] is True


def test_a_decoder_that_embeds_gives_up_its_cache_where_memory_counts(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(capsys, "rtx-4090", "--goal", "memory", model="qwen3-0.6b")
    assert "cache-kept-although-nothing-is-generated" in steps(plan)
    assert plan["plan"]["estimate"]["memory"]["kv_cache_bytes"] == 0
    assert "cache-kept-although-nothing-is-generated" not in steps(plan_of(capsys, "rtx-4090", "--goal", "memory"))


@pytest.mark.parametrize("machine", ["cpu-only", "t4", "h100-80gb", "m2-max-64gb"])
def test_nothing_is_said_about_generation(capsys: pytest.CaptureFixture[str], machine: str) -> None:
    plan = plan_of(capsys, machine, "--concurrency", "8", *LOOP)
    spoken = {*steps(plan), *(note["rule"] for note in plan["notes"])}
    rungs = {rule.id: rule.rung for rule in rulebook.load(rulebook.shipped())}
    assert not [name for name in spoken if rungs[name] in GENERATION]
    assert not {"workload.turns", "workload.repeats", "workload.quantize"} & {q["fact"] for q in plan["questions"]}


def test_a_server_is_named_where_many_ask_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    notes = plan_of(capsys, "t4", "--concurrency", "8")["notes"]
    advice = next(n["advice"] for n in notes if n["rule"] == "encoder-served-one-request-at-a-time")
    assert advice[0] == "text-embeddings-router --model-id BAAI/bge-base-en-v1.5 --port 8080"
    assert not plan_of(capsys, "t4")["notes"]


def test_what_a_script_says(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = tmp_path / "embed.py"
    script.write_text(
        "from transformers import AutoModel, AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained('BAAI/bge-base-en-v1.5')\n"
        "model = AutoModel.from_pretrained('BAAI/bge-base-en-v1.5').to_bettertransformer()\n"
        "inputs = tokenizer(texts, padding='max_length', return_tensors='pt')\n"
        "vectors = model(**inputs).last_hidden_state[:, 0]\n",
        encoding="utf-8",
    )
    notes = {note["rule"] for note in plan_of(capsys, "cpu-only", "--code", str(script))["notes"]}
    assert {
        "bettertransformer-no-longer-needed",
        "long-texts-padded-to-max-length",
        "forward-pass-records-gradients",
    } <= notes
    assert not {"old-name-to-bettertransformer", "padding-to-max-length"} & notes


def test_the_screen_speaks_of_texts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(diagnosed("t4", *LOOP)) == 0
    out, talk = capsys.readouterr()
    assert "64 texts of 256 tokens; goal: throughput" in out
    assert "one batch of 1, of 64" in out
    assert re.search(r"^texts +[\d.]+ texts/s +[\d,]+ texts/s +x\d", out, re.MULTILINE)
    assert not re.search(r"decode|first token|prompt", out.partition("Assumed")[0])
    assert "perf-advisor apply" not in talk
    assert cli.main(["apply", "--plan", "plan.json"]) == 2
    out, talk = capsys.readouterr()
    assert out == ""
    assert "only generation is measured" in talk and "embed one batch of your own texts" in talk
    assert talk.count("\n") == 1


def test_a_text_longer_than_the_encoder_takes_is_said_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for tokens, said in (("512", False), ("513", True)):
        assert cli.main(diagnosed("t4", "--prompt-tokens", tokens)) == 0
        assert ("the model was made for 512" in capsys.readouterr().out) is said


def test_an_encoder_is_taken_for_embedding_and_refused_for_generating(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["diagnose", "bert-base-uncased", "--machine", str(MACHINES / "t4.json"), "--no-input", "--json"]
    assert cli.main(words) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["workload"]["task"] == "encode"
    assert "--task encode" in found.err
    assert cli.main([*words, "--task", "generate"]) == 2
    assert "generates none" in capsys.readouterr().err
