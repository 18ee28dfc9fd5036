"""What a model thinks of a fixed text, word by word: kept while generate is made to write that text.

Loaded by worker.py in the target interpreter. The text goes through the recipe's own generate, so that padding, cache,
attention and compilation are those of the setup, and in the shapes of the measured request, so that nothing is compiled
anew. Of each position the best TOP tokens, SAMPLED ones evenly spread over the vocabulary and the text's own token are
kept, as logarithms of their probabilities.
"""

import base64
import sys
from typing import Any

SEQUENCES, POSITIONS, TOP, SAMPLED = 4, 64, 512, 256
PROSE_TOPICS = 40
MOST_SECONDS = 120.0
"""A request that takes longer is not made once more for this."""


def stream(recipe: Any, own: list[list[int]] | None) -> tuple[str, list[int] | None]:
    """Where the text comes from, and its tokens: the user's prompts, else prose where there is a tokenizer."""
    if own:
        return "your prompts", [token for prompt in own for token in prompt]
    if not hasattr(recipe, "AutoTokenizer"):
        return "random tokens", None
    try:
        from pydoc_data.topics import topics
    except ImportError:  # a Python without its documentation
        return "random tokens", None
    tokenizer = recipe.AutoTokenizer.from_pretrained(recipe.MODEL)
    prose = "\n".join(topics[name] for name in sorted(topics)[:PROSE_TOPICS])
    return "English prose", list(tokenizer(prose, add_special_tokens=False)["input_ids"])


def cut(prompts: list[list[int]], tokens: list[int], new_tokens: int) -> list[tuple[list[int], list[int]]]:
    """A text of each prompt's length and its continuation of `new_tokens`, one behind the other from `tokens`."""
    pieces, at = [], 0
    for prompt in prompts:
        size = len(prompt) + new_tokens
        piece = [tokens[(at + i) % len(tokens)] for i in range(size)]
        pieces.append((piece[: len(prompt)], piece[len(prompt) :]))
        at += size + 1  # where few tokens are repeated, no two pieces begin alike
    return pieces


class Forcing:
    """A logits processor that makes generate write the given continuations, and keeps what the model thought of them.

    Prompts are told apart by their tokens, whichever side they are padded on.
    """

    def __init__(self, pieces: list[tuple[list[int], list[int]]], new_tokens: int) -> None:
        self.pieces, self.new_tokens, self.seen = pieces, new_tokens, 0
        self.rows: list[int | None] = []
        self.kept: dict[tuple[int, int], tuple[Any, Any, Any, float]] = {}

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        step = self.seen % self.new_tokens
        if step == 0:
            self.rows = [self._number(ids) for ids in input_ids.tolist()]
        forced = scores.new_full(scores.shape, float("-inf"))
        for row, number in enumerate(self.rows):
            token = 0 if number is None else self.pieces[number][1][step]
            forced[row, token] = 0
            if number is not None and number < SEQUENCES and step < POSITIONS:
                self._keep(number, step, scores[row], token)
        self.seen += 1
        return forced

    def _keep(self, number: int, step: int, scores: Any, token: int) -> None:
        thought = scores.detach().float().log_softmax(-1)
        size = thought.shape[-1]
        best = thought.topk(min(TOP, size))
        spread = thought[[i * size // min(SAMPLED, size) for i in range(min(SAMPLED, size))]]
        self.kept[number, step] = (best.indices.int().cpu(), best.values.cpu(), spread.cpu(), float(thought[token]))

    def _number(self, ids: list[int]) -> int | None:
        """The number of the text in this row; None where generate put another one together."""
        for number, (start, _) in enumerate(self.pieces):
            size = len(start)
            if ids[-size:] == start or ids[:size] == start:
                return number
        return None

    def answer(self, source: str, vocabulary: int) -> dict[str, Any] | None:
        import torch

        places = sorted(self.kept)
        if not places:
            return None
        ids, logs, spread = (torch.stack([self.kept[place][part] for place in places]) for part in range(3))
        return {
            "source": source,
            "places": [list(place) for place in places],
            "top": ids.shape[1],
            "vocabulary": vocabulary,
            "ids_int32": base64.b64encode(ids.numpy().astype("<i4").tobytes()).decode("ascii"),
            "logs_float32": base64.b64encode(logs.numpy().astype("<f4").tobytes()).decode("ascii"),
            "spread_float32": base64.b64encode(spread.numpy().astype("<f4").tobytes()).decode("ascii"),
            "text_logs": [self.kept[place][3] for place in places],
        }


def forced(recipe: Any, model: Any, prompts: list[list[int]], own: list[list[int]] | None) -> dict[str, Any] | None:
    """What the model thinks of the text, through one more request of the recipe; None where the library fails at it.

    The figures of the setup stand without it: quanto's 4-bit layers refuse some (seen: "Cannot set version_counter").
    """
    source, tokens = stream(recipe, own)
    everything = [token for prompt in prompts for token in prompt]
    pieces = cut(prompts, tokens or everything, recipe.NEW_TOKENS)
    forcing = Forcing(pieces, recipe.NEW_TOKENS)
    try:
        recipe.generate(model, None, [start for start, _ in pieces], logits_processor=[forcing])
    except RuntimeError as error:
        print(f"the fixed text was not written: {error}", file=sys.stderr)
        return None
    return forcing.answer(source, model.config.get_text_config().vocab_size)
