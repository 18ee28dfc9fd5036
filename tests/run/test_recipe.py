"""The program for a setup: complete, only with the knobs that are set, and deaf to what a hostile plan says."""

import ast
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from advisor.conflicts import conflict
from advisor.errors import PlanError
from advisor.plan import ModelReference
from advisor.run.generating import own_arguments_lines, prompts_at_hand, prompts_per_call
from advisor.run.recipe import recipe
from advisor.run.refusals import TRAINING
from advisor.run.subject import Subject
from advisor.setup import Setup, knobs
from advisor.workload import Workload

FOLDER = ModelReference("folder", "model", None, False)
LOAD = Workload(batch=8, prompt_tokens=128, new_tokens=16)
SUBJECT = Subject(FOLDER, LOAD, False, transformers=Version("5.22.2"))
ONE_DICT = {"model_type": "llama", "hidden_size": 64, "tie_word_embeddings": False, "rope_theta": 1e4}


def written(subject: Subject = SUBJECT, **values: Any) -> str:
    text = recipe(subject, Setup(**values))
    ast.parse(text)
    return text


def node_types(text: str) -> list[str]:
    """The program's structure without its constants."""
    return [type(node).__name__ for node in ast.walk(ast.parse(text))]


@pytest.mark.parametrize(("task", "instead"), [("encode", "embed one batch"), ("train", "a few steps")])
def test_there_are_no_programs_for_other_tasks(task: str, instead: str) -> None:
    """One sentence and what to do instead, whatever else a recipe would refuse."""
    with pytest.raises(PlanError) as refused:
        written(replace(SUBJECT, workload=replace(LOAD, task=task)), adapters="lora")
    (mistake,) = refused.value.mistakes
    assert f"--task {task}" in mistake.what
    assert instead in (mistake.hint or "")


def test_an_empty_setup_sets_nothing() -> None:
    text = written()
    for name in ("dtype", "device_map", "attn_implementation", "compile", "quantization", "threads", "use_cache"):
        assert name not in text


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"dtype": "bfloat16"}, "dtype=torch.bfloat16,"),
        ({"attn_implementation": "sdpa"}, 'attn_implementation="sdpa",'),
        ({"device_map": "auto"}, 'device_map="auto",'),
        ({"device_map": "auto", "max_memory": ("0=10GiB", "cpu=2GiB")}, 'max_memory={0: "10GiB", "cpu": "2GiB"},'),
        ({"use_cache": False}, "use_cache=False,"),
        ({"cache_implementation": "static"}, 'cache_implementation="static",'),
        ({"threads": 3}, "torch.set_num_threads(3)"),
        ({"device": "cuda"}, 'model.to("cuda")'),
        ({"quantization": "bnb_int8"}, "load_in_8bit=True,"),
        ({"quantization": "bnb_int8", "device": "cpu"}, 'device_map={"": "cpu"},'),
        ({"quantization": "bnb_nf4"}, 'bnb_4bit_quant_type="nf4",'),
        ({"quantization": "bnb_nf4"}, "bnb_4bit_compute_dtype=torch.bfloat16,"),
        ({"quantization": "bnb_nf4", "dtype": "float16"}, "bnb_4bit_compute_dtype=torch.float16,"),
        ({"quantization": "bnb_nf4_double"}, "bnb_4bit_use_double_quant=True,"),
        ({"compile": "forward", "compile_mode": "default"}, 'torch.compile(model.forward, mode="default")'),
        (
            {"compile": "generate", "cache_implementation": "static", "compile_fullgraph": True},
            "CompileConfig(fullgraph=True)",
        ),
        ({"batching": "loop"}, "range(0, len(prompts), 1)"),
        ({"batching": "padded", "batch_size": 4}, "range(0, len(prompts), 4)"),
        ({"batching": "sorted", "batch_size": 4}, "key=lambda i: len(prompts[i])"),
        ({"padding_side": "right"}, "prompt + [pad]"),
        ({"padding_side": "left"}, "[pad] * (width - len(prompt)) + prompt"),
        ({"pad_to_multiple_of": 64}, "-width % 64"),
        ({"batching": "continuous"}, "page_size=page,"),
        ({"batching": "continuous"}, "num_blocks=8"),
        ({"batching": "continuous", "page_size": 32}, "page = 32\n"),
        ({"batching": "continuous", "max_batch_tokens": 512}, "max_batch_tokens=512,"),
        ({"quantization": "quanto_int4"}, 'quantization_config=QuantoConfig(weights="int4"),'),
        ({"quantization": "fp8", "device": "cuda"}, "quantization_config=FineGrainedFP8Config(),"),
        ({"prefill_chunk_size": 512}, "prefill_chunk_size=512,"),
        (
            {"cache_implementation": "quantized", "cache_backend": "hqq", "cache_bits": 8},
            'cache_config={"backend": "hqq", "nbits": 8},',
        ),
        ({"use_kernels": True}, "use_kernels=True,"),
        ({"experts_implementation": "batched_mm"}, 'experts_implementation="batched_mm",'),
        ({"matmul_precision": "high"}, 'torch.set_float32_matmul_precision("high")'),
        ({"interop_threads": 2}, "        torch.set_num_interop_threads(2)"),
        (
            {"sdpa_backend": "flash"},
            "    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):\n            output = model.gen",
        ),
        ({"sdpa_backend": "math"}, "from torch.nn.attention import SDPBackend, sdpa_kernel\n"),
        ({"device_map": "auto"}, "offload_folder=offload.name,"),
        ({"device_map": "auto"}, "model.offload_folder = offload"),
        ({"device_map": "auto"}, "import tempfile\n"),
        ({"device_map": "auto"}, 'device = "cpu" if model.device.type == "meta"'),
        ({"keep_cache": True, "cache_implementation": "static"}, "past_key_values=cache,"),
        ({"keep_cache": True, "cache_implementation": "static"}, "cache = empty_cache(model, ids.shape[0], "),
        (
            {"speculation": "assistant", "assistant_model": "org/small", "batching": "loop", "dtype": "float16"},
            'AutoModelForCausalLM.from_pretrained("org/small", dtype=torch.float16)',
        ),
        (
            {"speculation": "assistant", "assistant_model": "org/small", "batching": "loop"},
            "assistant_model=model.assistant[0],",
        ),
    ],
)
def test_a_knob_that_is_set_stands_in_the_program(values: dict[str, Any], line: str) -> None:
    assert line in written(**values)


def test_a_static_cache_without_compilation_says_so() -> None:
    asked: dict[str, Any] = {"cache_implementation": "static", "compile": "none"}
    assert "disable_compile=True" in written(**asked)
    assert "disable_compile" not in written(replace(SUBJECT, transformers=Version("4.48")), **asked)


def test_attention_is_set_while_loading_or_afterwards() -> None:
    asked: dict[str, Any] = {"attn_implementation": "eager", "attn_at_run_time": True}
    for random in (False, True):
        text = written(replace(SUBJECT, random_weights=random), **asked)
        assert 'model.set_attn_implementation("eager")' in text and "attn_implementation=" not in text


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"huge_pages": True}, 'os.environ["THP_MEM_ALLOC_ENABLE"] = "1"'),
        ({"huge_pages": False}, 'os.environ["THP_MEM_ALLOC_ENABLE"] = "0"'),
        ({"allocator": "expandable_segments:True"}, '_ALLOC_CONF"] = "expandable_segments:True"'),
    ],
)
def test_what_torch_reads_on_import_is_set_before(values: dict[str, Any], line: str) -> None:
    text = written(**values)
    assert 0 < text.index("import os\n") < text.index(line) < text.index("import torch\n")


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (None, "PYTORCH_CUDA_ALLOC_CONF"),
        ("2.11.0+cu128", "PYTORCH_CUDA_ALLOC_CONF"),
        ("2.12.0", "PYTORCH_ALLOC_CONF"),
    ],
)
def test_the_allocators_variable_follows_the_version_of_torch(version: str | None, name: str) -> None:
    subject = replace(SUBJECT, torch=version and Version(version))
    assert f'os.environ["{name}"]' in written(subject, allocator="max_split_size_mb:128")


@pytest.mark.parametrize(("backend", "least"), [("flash", "2.3"), ("cudnn", "2.5")])
def test_kernels_of_sdpa_need_a_torch_that_has_them(backend: str, least: str) -> None:
    written(replace(SUBJECT, torch=Version(least)), sdpa_backend=backend)
    with pytest.raises(PlanError, match=f"needs torch {least} or newer"):
        written(replace(SUBJECT, torch=Version("2.2")), sdpa_backend=backend)


def test_an_assistant_is_told_nothing_of_the_growing_cache() -> None:
    """Its own call is made with the same settings and a cache, and refuses both together (seen by running it)."""
    asked: dict[str, Any] = {"speculation": "assistant", "assistant_model": "org/small", "batching": "loop"}
    assert written(**asked, cache_implementation="dynamic") == written(**asked)


def test_ones_own_calls_get_a_cache_each() -> None:
    lines = own_arguments_lines(SUBJECT, Setup(cache_implementation="static", keep_cache=True))
    assert '    cache_implementation="static",' in lines and "past_key_values" not in "".join(lines)


@pytest.mark.parametrize(("version", "name"), [("4.55.1", "torch_dtype="), ("4.56", " dtype="), ("5.22.2", " dtype=")])
def test_the_name_of_dtype_follows_the_installed_version(version: str, name: str) -> None:
    assert name in written(replace(SUBJECT, transformers=Version(version)), dtype="float16")


def test_continuous_batching_follows_the_installed_version() -> None:
    assert "block_size=page" in written(replace(SUBJECT, transformers=Version("5.16")), batching="continuous")
    with pytest.raises(PlanError, match=r"5\.4"):
        written(replace(SUBJECT, transformers=Version("4.57.6")), batching="continuous")


def test_weights_come_from_the_folder_or_are_random() -> None:
    assert 'MODEL = "model"' in written()
    assert "from_config" not in written()
    text = written(replace(SUBJECT, random_weights=True), dtype="bfloat16")
    assert "from_config(config)" in text and "manual_seed" in text and "model.to(torch.bfloat16)" in text


def test_a_quantized_checkpoint_is_put_on_the_gpu_while_it_is_loaded() -> None:
    found = replace(SUBJECT, quantized=True)
    text = written(found, device="cuda")
    assert 'device_map={"": "cuda"},' in text and "model.to(" not in text
    assert "device_map" not in written(found, device="cpu")


def test_random_weights_are_saved_before_they_are_quantized_or_spread() -> None:
    subject = replace(SUBJECT, random_weights=True)
    for values in ({"quantization": "bnb_nf4"}, {"device_map": "auto"}):
        assert "save_pretrained(folder.name)" in written(subject, **values)
    assert "save_pretrained" not in written(subject, quantization="none", device_map="none")


def test_a_shape_brings_its_configuration() -> None:
    subject = Subject(ModelReference("shape", "x", None, True), LOAD, True, config=ONE_DICT)
    text = written(subject)
    assert '"model_type": "llama",' in text and "for_model(**CONFIG)" in text and "MODEL" not in text


@pytest.mark.parametrize("kind", ["config", "shape", "folder"])
def test_a_configuration_alone_has_no_real_weights(kind: str) -> None:
    subject = Subject(ModelReference(kind, "x", None, True), LOAD, False, config=ONE_DICT)
    if kind == "folder":
        written(subject)
    else:
        with pytest.raises(PlanError, match="--weights random"):
            written(subject)


def test_a_tokenizer_gives_room_for_ones_own_texts() -> None:
    assert "AutoTokenizer" in written(replace(SUBJECT, tokenizer=True))
    assert "AutoTokenizer" not in written()


def test_conflicting_knobs_are_refused_with_the_reason() -> None:
    with pytest.raises(PlanError, match="cannot be compiled"):
        written(quantization="bnb_int8", compile="forward")


def test_prompts_of_all_requests_in_flight_are_at_hand() -> None:
    load = Workload(batch=2, concurrency=16)
    assert prompts_at_hand(load) == 32
    assert prompts_per_call(load, Setup()) == 2
    assert prompts_per_call(load, Setup(batching="loop", batch_size=4)) == 1
    assert prompts_per_call(load, Setup(batching="padded", batch_size=8)) == 8


class Model:
    """As much of a model as make_prompts asks for."""

    class config:  # noqa: N801
        @staticmethod
        def get_text_config() -> Any:
            return type("Text", (), {"vocab_size": 1000})


def prompts_of(workload: Workload) -> list[list[int]]:
    text = written(replace(SUBJECT, workload=workload))
    start = text.index("def make_prompts")
    namespace: dict[str, Any] = {
        "PROMPTS": prompts_at_hand(workload),
        "PROMPT_TOKENS": workload.prompt_tokens,
        "random": __import__("random"),
    }
    exec(text[start : text.index("def padded")], namespace)
    made: list[list[int]] = namespace["make_prompts"](Model)
    return made


@given(st.integers(1, 40), st.integers(1, 300), st.booleans())
@settings(max_examples=40)
def test_prompts_have_the_lengths_of_the_workload(batch: int, tokens: int, mixed: bool) -> None:
    workload = Workload(batch=batch, prompt_tokens=tokens, mixed_lengths=mixed)
    prompts = prompts_of(workload)
    lengths = [len(prompt) for prompt in prompts]
    assert len(prompts) == batch
    assert max(lengths) == tokens
    assert min(lengths) >= (max(1, tokens // 4) if mixed else tokens)
    assert all(100 <= token <= 500 for prompt in prompts for token in prompt)
    assert prompts == prompts_of(workload)


def allowed(name: str) -> st.SearchStrategy[Any]:
    """Values that a plan may give a knob."""
    declaration = knobs()[name]
    if name == "max_memory":
        return st.just(("0=10GiB", "cpu=1.5GiB"))
    if name == "assistant_model":
        return st.sampled_from(("org/small", "/models/my draft", "..\\\\draft"))
    if declaration.values:
        return st.sampled_from(declaration.values)
    return st.booleans() if declaration.kind.value == "flag" else st.integers(1, 64)


setups = st.fixed_dictionaries({}, optional={name: allowed(name) for name in knobs() if name not in TRAINING}).map(
    lambda values: Setup(**values)
)


def one_at_a_time(setup: Setup) -> Setup:
    """The setup with one prompt in a call where tokens are drafted ahead."""
    return replace(setup, batching="loop") if setup.speculation in ("prompt_lookup", "assistant") else setup


@given(setups.map(one_at_a_time).filter(lambda setup: conflict(setup) is None), st.booleans(), st.booleans())
def test_every_setup_without_conflict_is_a_program(setup: Setup, random: bool, tokenizer: bool) -> None:
    subject = replace(SUBJECT, random_weights=random, tokenizer=tokenizer or setup.engine == "serve")
    compile(recipe(subject, setup), "recipe.py", "exec")


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"adapters": "lora"}, "setup.adapters"),
        ({"optimizer": "adamw_8bit"}, "setup.optimizer"),
        ({"gradient_checkpointing": True}, "setup.gradient_checkpointing"),
        ({"eval_accumulation_steps": 1}, "setup.eval_accumulation_steps"),
        ({"padding_free": True}, "setup.padding_free"),
    ],
)
def test_training_is_not_run(values: dict[str, Any], where: str) -> None:
    with pytest.raises(PlanError, match="only generation is run") as raised:
        written(**values)
    assert [mistake.where for mistake in raised.value.mistakes] == [where]


def test_defaults_of_training_do_not_stand_in_the_way() -> None:
    defaults: dict[str, Any] = {
        "adapters": "none", "optimizer": "adamw", "gradient_checkpointing": False, "padding_free": False,
    }  # fmt: skip
    assert written(**defaults) == written()


def test_tokens_are_drafted_for_one_prompt_at_a_time() -> None:
    with pytest.raises(PlanError, match="one prompt in a call, not 8"):
        written(speculation="prompt_lookup")
    assert "prompt_lookup_num_tokens=10," in written(speculation="prompt_lookup", batching="loop")
    alone = replace(SUBJECT, workload=Workload(batch=1))
    assert "prompt_lookup_num_tokens=4," in written(alone, speculation="prompt_lookup", prompt_lookup_num_tokens=4)


@pytest.mark.parametrize(
    ("version", "values", "since"),
    [
        ("4.57.1", {"experts_implementation": "eager"}, "5.0"),
        ("4.52", {"use_kernels": True}, "4.53"),
        ("4.50", {"prefill_chunk_size": 256}, "4.51"),
        ("4.28", {"speculation": "assistant", "assistant_model": "a/b", "batching": "loop"}, "4.29"),
        ("4.53", {"attn_at_run_time": True, "attn_implementation": "eager"}, "4.54"),
        ("4.55.4", {"keep_cache": True, "cache_implementation": "static"}, "4.56"),
        ("4.36", {"speculation": "prompt_lookup", "batching": "loop"}, "4.37"),
        ("4.41", {"cache_implementation": "quantized"}, "4.42"),
        ("5.20", {"cache_implementation": "quantized", "cache_backend": "fp8"}, "5.21"),
        ("4.44", {"quantization": "torchao_int8"}, "4.45"),
        ("4.39", {"quantization": "quanto_int4"}, "4.40"),
        ("4.48", {"quantization": "fp8"}, "4.49"),
    ],
)
def test_what_the_installed_version_does_not_know_is_refused(version: str, values: dict[str, Any], since: str) -> None:
    with pytest.raises(PlanError, match=f"needs transformers {since} or newer"):
        written(replace(SUBJECT, transformers=Version(version)), **values)
    written(replace(SUBJECT, transformers=Version(since)), **values)


@pytest.mark.parametrize(
    ("version", "scheme", "line"),
    [
        ("4.49", "torchao_int8", 'TorchAoConfig("int8_weight_only"),'),
        ("4.50", "torchao_int8", "TorchAoConfig(Int8WeightOnlyConfig()),"),
        ("4.49", "torchao_int4", 'TorchAoConfig("int4_weight_only", group_size=128),'),
        ("5.3", "torchao_int4", "TorchAoConfig(Int4WeightOnlyConfig(group_size=128)),"),
        ("5.4", "torchao_int4", 'Int4WeightOnlyConfig(group_size=128, int4_packing_format="tile_packed_to_4d")),'),
    ],
)
def test_torchao_is_configured_as_the_installed_version_takes_it(version: str, scheme: str, line: str) -> None:
    text = written(replace(SUBJECT, transformers=Version(version)), quantization=scheme)
    assert line in text
    assert ("from torchao.quantization import" in text) == (version != "4.49")


def test_random_weights_get_kernels_and_experts_too() -> None:
    text = written(replace(SUBJECT, random_weights=True), use_kernels=True, experts_implementation="eager")
    assert 'from_config(config, experts_implementation="eager")' in text
    assert "model.use_kernels = True" in text


hostile = st.text(min_size=1, max_size=80) | st.sampled_from(
    [
        '"\nimport os\n"',
        "'); __import__('os').system('id'); ('",
        '"""',
        "\\",
        "#\nraise SystemExit",
        "{setup}",
        "\u2028x=1",
    ]
)


@given(hostile.filter(lambda text: "\0" not in text), st.sampled_from(["folder", "hub", "config"]))
def test_a_hostile_model_name_stays_a_string(name: str, kind: str) -> None:
    tame = Subject(ModelReference(kind, "model", "main", kind == "config"), LOAD, kind == "config")
    wild = replace(tame, reference=replace(tame.reference, name=name, revision=name))
    text = recipe(wild, Setup(dtype="bfloat16"))
    assert node_types(text) == node_types(recipe(tame, Setup(dtype="bfloat16")))
    assigned = next(node for node in ast.parse(text).body if isinstance(node, ast.Assign))
    assert ast.literal_eval(assigned.value) == name


@given(st.dictionaries(hostile, hostile, min_size=1, max_size=3))
def test_a_hostile_configuration_stays_data(config: dict[str, str]) -> None:
    text = recipe(Subject(ModelReference("shape", "x", None, True), LOAD, True, config=config), Setup())
    assigned = next(node for node in ast.parse(text).body if isinstance(node, ast.Assign))
    assert ast.literal_eval(assigned.value) == config


@given(st.sampled_from(sorted(knobs())), hostile)
def test_a_hostile_knob_is_refused_or_harmless(name: str, value: str) -> None:
    try:
        text = recipe(SUBJECT, Setup(**{name: value}))  # type: ignore[arg-type]  # that is the point
    except PlanError as refused:
        assert name in str(refused) or "setup" in str(refused)
    else:
        assert value in knobs()[name].values or name in ("attn_implementation", "assistant_model")
        ast.parse(text)


def test_every_mistake_is_reported_at_once() -> None:
    setup = Setup(dtype="float8", threads=-1, attn_implementation="x; y")
    with pytest.raises(PlanError) as raised:
        recipe(Subject(ModelReference("shape", "a\0b", None, True), LOAD, False), setup)
    assert {mistake.where for mistake in raised.value.mistakes} == {
        "setup.dtype", "setup.threads", "setup.attn_implementation", "model.kind", "model.name", "model",
    }  # fmt: skip
