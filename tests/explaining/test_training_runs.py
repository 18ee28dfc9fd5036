"""What failed in training is answered with what helps training, and nothing of inference; and the reverse."""

import pytest

from advisor import errorbook, rulebook
from advisor.explaining import Diagnosis, explain
from advisor.facts import Facts
from advisor.reading import read
from advisor.show.diagnosis import screen
from advisor.witness import witness

RULES = errorbook.load(rulebook.shipped() / "errors", kept=False)
OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total capacity of 23.64 GiB "
    "of which 121.00 MiB is free. Including non-PyTorch memory, this process has 23.50 GiB memory in use. Of the "
    "allocated memory 22.80 GiB is allocated by PyTorch, and 200.00 MiB is reserved by PyTorch but unallocated.\n"
)
SITE = "/usr/lib/python3/site-packages"
MLP = (
    f'  File "{SITE}/transformers/models/qwen2/modeling_qwen2.py", line 46, in forward\n'
    "    down_proj = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))\n"
)
OWN = 'Traceback (most recent call last):\n  File "/w/run.py", line 70, in <module>\n    '
DDP = (
    f'{OWN}out = ddp_model(ids)\n  File "{SITE}/torch/nn/parallel/distributed.py", line 1637, in forward\n'
    f"    else self._run_ddp_forward(*inputs, **kwargs)\n{OOM}"
)
EPOCH = f"Epoch 1/3:   2%|2         | 10/500 [00:12<10:11, 1.2s/it, loss=2.31]\n{OWN}logits = model(ids)\n{MLP}{OOM}"
LOSS = (
    f'{OWN}trainer.train()\n  File "{SITE}/transformers/trainer.py", line 3730, in training_step\n'
    f'    loss = self.compute_loss(model, inputs)\n  File "{SITE}/transformers/loss/loss_utils.py", line 36, '
    f"in ForCausalLMLoss\n    logits = logits.float()\n{OOM}"
)
GENERATES = (
    f'{OWN}out = model.generate(**inputs)\n  File "{SITE}/transformers/generation/utils.py", line 9, in _prefill\n'
    f"{MLP}{OOM}"
)
PLAIN = f"{OWN}logits = model(ids)\n{MLP}{OOM}"
OF_INFERENCE = {"logits_to_keep", "chunked_prefill", "inference_mode"}
OF_TRAINING = {"accumulate_gradients", "gradient_checkpointing", "fused_cross_entropy"}


def told(text: str) -> Diagnosis:
    return explain(text, "log", None, RULES)


@pytest.mark.parametrize("text", [DDP, EPOCH, LOSS], ids=["ddp", "epoch", "loss"])
def test_training_gets_no_advice_for_inference(text: str) -> None:
    found = told(text)
    names = {fix.id for fix in found.fixes}
    assert names & OF_TRAINING
    assert not names & OF_INFERENCE
    assert found.cause not in ("no_grad_missing", "activations_long_prompt")


@pytest.mark.parametrize("text", [DDP, EPOCH, LOSS], ids=["ddp", "epoch", "loss"])
def test_the_error_states_that_the_task_is_training(text: str) -> None:
    assert witness(read(text), "log", Facts(), Facts()).workload["task"][0] == "train"


@pytest.mark.parametrize("text", [GENERATES, PLAIN], ids=["generates", "plain"])
def test_inference_gets_no_advice_for_training(text: str) -> None:
    found = told(text)
    assert not {fix.id for fix in found.fixes} & OF_TRAINING
    assert "task" not in witness(read(text), "log", Facts(), Facts()).workload


def test_a_log_line_above_generation_makes_it_no_training() -> None:
    found = told(f"Epoch 1/3: loss=2.31\n{GENERATES}")
    assert found.cause == "activations_long_prompt"
    assert "chunked_prefill" in {fix.id for fix in found.fixes}


def test_evaluation_computes_a_loss_and_is_no_training() -> None:
    text = LOSS.replace("trainer.train()", "trainer.evaluate()").replace("in training_step", "in prediction_step")
    assert "task" not in witness(read(text), "log", Facts(), Facts()).workload


def test_a_batch_of_training_is_told_in_sequences() -> None:
    from rich.console import Console

    console = Console(width=100)
    with console.capture() as shown:
        console.print(screen(told(DDP)))
    assert "one sequence in one pass" in shown.get()
    assert "prompt" not in shown.get()


IN_PROMPT = GENERATES.replace(
    "line 9, in _prefill", "line 8, in _sample\n    outputs = self._prefill(\n{PREFILL}"
).replace("{PREFILL}", f'  File "{SITE}/transformers/generation/utils.py", line 9, in _prefill')
GROWS = f'  File "{SITE}/transformers/cache_utils.py", line 9, in update\n    past_key_values.append(key_states)\n'


@pytest.mark.parametrize(
    ("text", "phase"),
    [(IN_PROMPT, "prefill"), (IN_PROMPT.replace(MLP, GROWS), "decode"), (GENERATES, "prefill")],
    ids=["prompt", "cache", "bare"],
)
def test_what_fails_in_the_prompt_is_called_so(text: str, phase: str) -> None:
    assert told(text).phase == phase


LOADS = (
    'Traceback (most recent call last):\n  File "/w/{name}.py", line 8, in <module>\n'
    "    model = AutoModelForCausalLM.from_pretrained('x').to('cuda')\n"
    f'  File "{SITE}/torch/nn/modules/module.py", line 1341, in convert\n    return t.to(\n{OOM}'
)


@pytest.mark.parametrize(("name", "trains"), [("train_sft", True), ("ask", False)])
def test_weights_that_are_to_be_trained_are_not_only_quantized(name: str, trains: bool) -> None:
    fixes = {fix.id: fix for fix in told(LOADS.replace("{name}", name)).fixes}
    assert (fixes["load_in_4bit"].change or {}).get("adapters") == ("lora" if trains else None)
    assert ("device_map_auto" in fixes) is not trains
