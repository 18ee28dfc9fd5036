"""The demo model: a folder that transformers loads, with a tokenizer that has learnt English."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from advisor import child

PROGRAM = Path(child.__file__).parent / "run" / "inside_demo_model.py"
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
CHECK = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
text = "The function returns a value."
ids = tokenizer(text)["input_ids"]
print(json.dumps({"dtype": str(model.dtype), "text": tokenizer.decode(ids), "count": len(ids), "letters": len(text),
                  "pad": tokenizer.pad_token_id, "parameters": model.num_parameters()}))
"""


@pytest.mark.models
def test_folder_loads_and_its_tokenizer_merges_words(tmp_path: Path) -> None:
    request = {"folder": str(tmp_path / "demo"), "size": "20m", "shape": SMALL}
    answered = child.run(sys.executable, PROGRAM, request, 120, {"OMP_NUM_THREADS": "1"})
    assert isinstance(answered, child.Answered), answered
    assert answered.answer["vocabulary_tokens"] == 8192

    checked = subprocess.run(
        [sys.executable, "-c", CHECK, str(tmp_path / "demo")], capture_output=True, text=True, check=True
    )
    seen = json.loads(checked.stdout.splitlines()[-1])
    assert seen["dtype"] == "torch.bfloat16"
    assert seen["text"] == "The function returns a value."
    assert seen["count"] < seen["letters"] / 3
    assert seen["pad"] == 2
    assert seen["parameters"] == answered.answer["parameters"]
    assert sorted(os.listdir(tmp_path)) == ["demo"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    outcome = child.run(sys.executable, PROGRAM, {"folder": str(tmp_path)}, 60)
    assert isinstance(outcome, child.Died)
    assert "not empty" in outcome.reason
    assert os.listdir(tmp_path) == ["mine.txt"]
