"""A user's script as facts and stated knobs: read from its text, whatever the text is."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor import code_facts, reading_code
from advisor.errors import RequestError
from advisor.facts import Known, Unknown
from advisor.reading_code.source import parse

LOAD = """
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, StaticCache, pipeline
import torch, time
tokenizer = AutoTokenizer.from_pretrained("m")
model = AutoModelForCausalLM.from_pretrained("m")
"""


def read(text: str, name: str = "use.py") -> reading_code.Code:
    return reading_code.of_source(parse(text, name))


def fact(name: str, text: str) -> object:
    """The value, or None where it is unknown; LOAD stands before the text."""
    return read(LOAD + text).facts.value(f"code.{name}")


def knobs(text: str) -> dict[str, object]:
    return {name: value for name, (value, _) in read(text).knobs.items()}


def test_every_declared_fact_is_told_and_no_other() -> None:
    declared = {declaration.name for declaration in code_facts.DECLARATIONS}
    assert set(read("").facts) == declared == set(reading_code.none_given().facts)


def test_without_a_script_each_fact_is_unknown_for_that_reason() -> None:
    facts = reading_code.none_given().facts
    assert {facts.get(name) for name in facts} == {Unknown("no --code FILE was given")}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("generates", "model.generate(x)"),
        ("calls_forward", "out = model(x)"),
        ("calls_forward", "out = model.forward(x)"),
        ("uses_pipeline", "pipe = pipeline('text-generation')"),
        ("trains", "trainer = Trainer(model)"),
        ("batches_continuously", "model.generate_batch(x)"),
        ("loops_over_prompts", "for p in prompts:\n    model.generate(p)"),
        ("loops_over_prompts", "def ask(p):\n    return model.generate(p)\nout = [ask(p) for p in prompts]"),
        ("loops_over_prompts", "for i in range(len(prompts)):\n    model.generate(prompts[i])"),
        ("pipeline_one_by_one", "pipe = pipeline('t')\nfor p in prompts:\n    pipe(p)"),
        ("pipeline_one_by_one", "pipe = pipeline('t')\npipe(['a', 'b'])"),
        ("pipeline_device", "pipe = pipeline('t', device=0)"),
        ("moves_inputs", "x = tokenizer('a').to('cuda')\nmodel.generate(**x)"),
        ("moves_inputs", "x = tokenizer('a')\nx.to(model.device)\nmodel.generate(**x)"),
        ("moves_inputs", "x = {k: v.to('cuda') for k, v in tokenizer('a').items()}\nmodel.generate(**x)"),
        ("no_gradients", "with torch.inference_mode():\n    model(x)"),
        ("no_gradients", "@torch.no_grad()\ndef f(x):\n    return model(x)"),
        ("no_gradients", "def f(x):\n    return model(x)\nwith torch.no_grad():\n    f(1)"),
        ("no_gradients", "torch.set_grad_enabled(False)\nmodel(x)"),
        ("keeps_all_logits", "out = model(x)\nnext = out.logits[:, -1]"),
        ("collects_logits", "for b in batches:\n    kept.append(model(b).logits)"),
        ("reads_attentions", "model(x, output_attentions=True)"),
        ("pads_to_max_length", "tokenizer(p, padding='max_length')"),
        ("pads_in_batches", "tokenizer(p, padding=True)"),
        ("pads_to_multiple", "tokenizer(p, pad_to_multiple_of=8)"),
        ("sets_left_padding", "tokenizer.padding_side = 'left'"),
        ("sets_left_padding", "t = AutoTokenizer.from_pretrained('m', padding_side='left')"),
        ("compiles_generate", "model.generate = torch.compile(model.generate)"),
        ("compiles_model", "model = torch.compile(model)"),
        ("compiles_forward", "model.forward = torch.compile(model.forward)"),
        ("compiles_forward", "model.compile()"),
        ("reuses_static_cache", "c = StaticCache(1)\nfor p in ps:\n    model.generate(p, past_key_values=c)"),
        ("resets_cache", "c = StaticCache(1)\nc.reset()"),
        ("four_bit_without_compute_dtype", "q = BitsAndBytesConfig(load_in_4bit=True)"),
        ("moves_quantized_model", "m = AutoModelForCausalLM.from_pretrained('m', load_in_8bit=True)\nm.cuda()"),
        ("loads_gguf", "m = AutoModelForCausalLM.from_pretrained('m', gguf_file='m-q4.gguf')"),
        (
            "loads_gguf",
            "q = GgufConfig('a.gguf')\nm = AutoModelForCausalLM.from_pretrained('m', quantization_config=q)",
        ),
        ("times_first_call", "s = time.time()\nmodel.generate(x)\nprint(time.time() - s)"),
        ("loads_again_for_attention", "b = AutoModelForCausalLM.from_pretrained('m', attn_implementation='eager')"),
        ("limits_continuous_batching", "model.generate_batch(x, num_blocks=4, max_batch_tokens=64)"),
        ("checks_request_status", "for r in model.generate_batch(x).values():\n    print(r.status)"),
    ],
)
def test_a_thing_that_is_there_is_found_with_its_place(name: str, text: str) -> None:
    found = read(LOAD + text).facts.get(f"code.{name}")
    assert isinstance(found, Known)
    assert found.value is True
    assert found.source.startswith("use.py:")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("loops_over_prompts", "for _ in range(5):\n    model.generate(x)"),
        ("loops_over_prompts", "for i in range(0, len(p), 8):\n    model.generate(p[i:i + 8])"),
        ("loops_over_prompts", "for batch in batches:\n    model.generate(batch)"),
        ("loops_over_prompts", "while True:\n    model.generate(input())"),
        ("pipeline_one_by_one", "pipe = pipeline('t', batch_size=8)\npipe(['a', 'b'])"),
        ("moves_inputs", "x = tokenizer('a')\nmodel.generate(**x)"),
        ("moves_inputs", "x = tokenizer('a')\nmodel.generate(x.input_ids)"),
        ("no_gradients", "model(x)"),
        ("keeps_all_logits", "out = model(x, logits_to_keep=1)\nnext = out.logits[:, -1]"),
        ("keeps_all_logits", "loss(model(x).logits)"),
        ("compiles_model", "model.forward = torch.compile(model.forward)"),
        ("reuses_static_cache", "for p in ps:\n    c = StaticCache(1)\n    model.generate(p, past_key_values=c)"),
        ("four_bit_without_compute_dtype", "q = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=d)"),
        ("moves_quantized_model", "model.cuda()"),
        ("loads_gguf", "t = AutoTokenizer.from_pretrained('m', gguf_file='m-q4.gguf')"),
        ("times_first_call", "warmup(model)\ns = time.time()\nmodel.generate(x)\nprint(time.time() - s)"),
        ("times_first_call", "model.generate(x)\ns = time.time()\nmodel.generate(x)\nprint(time.time() - s)"),
        ("loads_again_for_attention", "b = AutoModelForCausalLM.from_pretrained('other', attn_implementation='eager')"),
        ("limits_continuous_batching", "model.generate_batch(x)"),
    ],
)
def test_a_thing_that_is_not_there_is_false(name: str, text: str) -> None:
    assert fact(name, text) is False


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("moves_inputs", "def run(inputs):\n    return model.generate(**inputs)"),
        ("pads_to_max_length", "tokenizer('a', **options())"),
        ("four_bit_without_compute_dtype", "q = BitsAndBytesConfig(load_in_4bit=True, **more)"),
        ("pipeline_one_by_one", "pipe = pipeline('t', **more)\npipe(['a', 'b'])"),
    ],
)
def test_what_the_text_does_not_show_is_unknown_with_its_place(name: str, text: str) -> None:
    found = read(LOAD + text).facts.get(f"code.{name}")
    assert isinstance(found, Unknown)
    assert found.reason.startswith("use.py:")


def test_aliases_names_and_dictionaries_are_followed() -> None:
    text = """
import torch as t
from transformers import AutoModelForCausalLM as A
ID = "m"
kind = t.float16
kw = dict(load_in_8bit=True)
kw["attn_implementation"] = "eager"
class Runner:
    def __init__(self):
        self.model = A.from_pretrained(ID, torch_dtype=kind, **kw).to("cuda")
    def run(self, prompts):
        return [self.model.generate(p, max_new_tokens=64) for p in prompts]
"""
    found = read(text)
    stated = {name: value for name, (value, _) in found.knobs.items()}
    assert stated == {
        "dtype": "float16",
        "quantization": "bnb_int8",
        "attn_implementation": "eager",
        "device": "cuda",
        "batching": "loop",
    }
    assert found.workload["new_tokens"] == (64, "use.py:12")
    assert found.facts.get("code.names") == Known(
        ("load_in_8bit", "torch_dtype"), "use.py:6 load_in_8bit, use.py:10 torch_dtype"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from_pretrained('m', device_map='auto', dtype='bfloat16')", {"device_map": "auto", "dtype": "bfloat16"}),
        ("from_pretrained('m', device_map={'': 0})", {"device": "cuda"}),
        ("from_pretrained('m', device_map='cpu')", {"device": "cpu"}),
        ("from_pretrained('m', attn_implementation='sdpa_paged')", {}),
        ("from_pretrained('m', dtype='auto')", {}),
        ("from_pretrained('m').to('cuda' if torch.cuda.is_available() else 'cpu')", {}),
        ("from_pretrained('m').half().cuda()", {"dtype": "float16", "device": "cuda"}),
        ("from_pretrained('m', use_flash_attention_2=True)", {"attn_implementation": "flash_attention_2"}),
    ],
)
def test_loading_states_knobs(text: str, expected: dict[str, object]) -> None:
    assert knobs(f"import torch\nmodel = AutoModelForCausalLM.{text}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.generate(x, use_cache=False)", {"use_cache": False}),
        ("model.generate(x, cache_implementation='static')", {"cache_implementation": "static"}),
        (
            "model.generate(x, prompt_lookup_num_tokens=4)",
            {"prompt_lookup_num_tokens": 4, "speculation": "prompt_lookup"},
        ),
        (
            "model.forward = torch.compile(model.forward, mode='max-autotune', fullgraph=True)",
            {"compile": "forward", "compile_mode": "max-autotune", "compile_fullgraph": True},
        ),
        ("tokenizer.padding_side = 'right'", {"padding_side": "right"}),
        ("model.generate_batch(x, max_batch_tokens=256)", {"batching": "continuous", "max_batch_tokens": 256}),
        ("torch.set_num_threads(2)", {"threads": 2}),
        ("model.generate(x, use_cache=False)\nmodel.generate(x, use_cache=True)", {}),
        (
            "q = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True)\n"
            "model = AutoModelForCausalLM.from_pretrained('m', quantization_config=q)",
            {"quantization": "bnb_nf4_double"},
        ),
    ],
)
def test_other_calls_state_knobs(text: str, expected: dict[str, object]) -> None:
    assert knobs(LOAD + text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BitsAndBytesConfig(load_in_8bit=True)", ()),
        ("AutoModelForCausalLM.from_pretrained('m', load_in_8bit=True)", ("load_in_8bit",)),
        ("pipeline('t', model_kwargs={'torch_dtype': d})", ("torch_dtype",)),
        ("model.to_bettertransformer()", ("to_bettertransformer",)),
        ("AutoModelForCausalLM.from_pretrained('m', attn_implementation='sdpa_paged')", ("sdpa_paged",)),
        ("model.generate(x, cache_implementation='hybrid')", ("hybrid",)),
        ("print('hybrid', block_size=3)", ()),
        ("GenerationConfig(block_size=3)", ("block_size",)),
        ("ContinuousBatchingConfig(block_size=3, num_blocks=2)", ("block_size",)),
        ("with torch.backends.cuda.sdp_kernel(): pass", ("sdp_kernel",)),
        ("from auto_gptq import AutoGPTQForCausalLM", ("AutoGPTQForCausalLM", "auto_gptq")),
        ("DistributedConfig(tp_plan='auto')", ()),
    ],
)
def test_old_names_count_where_they_mean_what_they_meant(text: str, expected: tuple[str, ...]) -> None:
    assert fact("names", text) == expected


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    for name in ("use.py", "use.ipynb"):
        try:
            read(text, name)
        except RequestError as error:
            assert error.mistakes[0].where.startswith("use.")


WORDS = st.sampled_from(
    [
        *("model", "x", "tokenizer", "pipeline", ".generate", ".to", "(", ")", "('cuda')", "(**x)", "[0]", "=", "\n"),
        *("for x in y:\n ", "with torch.no_grad():\n ", "import torch\n", "lambda: ", "dict(", "{'a': 1}", ",", "1"),
        *("AutoModel.from_pretrained", "StaticCache()", "past_key_values=", "@", "def x():\n ", "self.model", "\n "),
    ]
)


@given(st.lists(WORDS, max_size=12).map("".join))
@settings(max_examples=300, deadline=None)
def test_code_like_text_never_crashes(text: str) -> None:
    try:
        read(text)
    except RequestError as error:
        assert error.mistakes


@pytest.mark.parametrize(
    "text",
    [
        "model.generate(**tokenizer('a'), max_new_tokens=3)\n",
        "for p in q:\n    model.generate(p)\n",
        "x = model\n",
        "model = model.to(model)\n",
        "f(**kw)\nkw['a'] = 1\n",
    ],
)
def test_time_grows_with_the_length_and_not_with_its_square(text: str) -> None:
    def seconds(copies: int) -> float:
        start = time.process_time()
        read(text * copies)
        return time.process_time() - start

    few = 100_000 // len(text)
    small, large = seconds(few), seconds(5 * few)
    assert large < 12 * small + 0.5


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("for t in texts:\n    model(**tokenizer(t, return_tensors='pt'))", True),
        ("def embed(t):\n    return model(**tokenizer(t))\nout = [embed(t) for t in texts]", True),
        ("m = SentenceTransformer('m')\nfor t in texts:\n    m.encode(t)", True),
        ("m = SentenceTransformer('m')\nm.encode(texts)", False),
        ("for x in loader:\n    model(**x)", False),
        ("for x in self.eval_dataloader:\n    model(**x)", False),
        ("for x in batches:\n    model(**x)", False),
        ("for t in texts:\n    tokenizer.encode(t)", False),
        ("for i in range(0, len(texts), 8):\n    model(**tokenizer(texts[i:i + 8]))", False),
    ],
)
def test_texts_embedded_one_by_one_are_a_loop_where_texts_are_embedded(text: str, loops: bool) -> None:
    script = read(LOAD + text)
    assert ("batching" in script.knobs_for("encode")) is loops
    assert "batching" not in script.knobs_for("generate")
    assert script.seen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = tokenizer(p, padding='max_length', max_length=2048)", 2048),
        ("LONGEST = 256\nx = tokenizer(p, padding='max_length', truncation=True, max_length=LONGEST)", 256),
        ("x = tokenizer(p, padding='max_length')", None),
        ("x = tokenizer(p, padding=True, truncation=True, max_length=2048)", None),
        (
            "x = tokenizer(p, padding='max_length', max_length=64)\n"
            "y = tokenizer(q, padding='max_length', max_length=128)",
            None,
        ),
    ],
)
def test_padding_to_a_length_states_the_length_of_prompts(text: str, expected: int | None) -> None:
    stated = read(LOAD + text).sizes_for("generate").get("prompt_tokens")
    assert (stated[0] if stated else None) == expected
