"""Takes texts apart into token ids with a model's own tokenizer, in the target interpreter.

Runs as `python inside_tokenizer.py request.json answer.json`. The request: `model` (a folder or Hub id), `revision`,
`texts`. The answer: `ids`, a list for each text. Code of a model's repository is never run.
"""

import json
import sys
from pathlib import Path

sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]


def main(request_path: str, answer_path: str) -> None:
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    from transformers import AutoTokenizer

    given = {} if request["revision"] is None else {"revision": request["revision"]}
    tokenizer = AutoTokenizer.from_pretrained(request["model"], trust_remote_code=False, **given)
    ids = [list(map(int, tokenizer(text)["input_ids"])) for text in request["texts"]]
    unfinished = Path(answer_path + ".part")
    unfinished.write_text(json.dumps({"ids": ids}), encoding="utf-8")
    unfinished.replace(answer_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
