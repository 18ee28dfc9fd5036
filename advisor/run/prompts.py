"""A file of the user's own prompts: read as data, never run, and never written into a plan or shown again.

Three forms: one prompt a line; JSON lines with {"prompt": "text"} or {"input_ids": [1, 2]}; a JSON list of texts or of
such objects.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advisor import child
from advisor.errors import Mistake, RequestError
from advisor.plan import ModelReference
from advisor.workload import Workload

LARGEST_BYTES = 64 << 20
MOST_PROMPTS = 100_000
LARGEST_TOKEN = 2**31 - 1
LIMIT_SECONDS = 600.0
"""For counting the tokens in a process of its own; a tokenizer on the Hub is loaded there."""
MIXED = 0.9
"""Prompts count as of mixed lengths where the mean length is below this share of the longest: padding them to one
length then computes over a tenth more than needed. A choice."""
FORMS = 'one prompt a line, or JSON with {"prompt": "text"} or {"input_ids": [1, 2, 3]}'
TOKENIZER = Path(__file__).with_name("inside_tokenizer.py")

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """One prompt: a text, or token ids. `place` says where in the file it stands."""

    place: str
    content: str | Ids


def read(path: Path) -> tuple[Prompt, ...]:
    """The prompts in `path`.

    Raises:
        RequestError: the file cannot be read, is too large, or what is wrong in it, each with its place.
    """
    text = _text(path)
    mistakes: list[Mistake] = []
    found = tuple(_prompts(path, text, mistakes))
    if not found and not mistakes:
        mistakes.append(Mistake(str(path), "holds no prompt", FORMS))
    if len(found) > MOST_PROMPTS:
        mistakes.append(Mistake(str(path), f"holds {len(found):,} prompts, {MOST_PROMPTS:,} are taken", "take a part"))
    if mistakes:
        raise RequestError(*mistakes[:10])
    return found


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise RequestError(Mistake(str(path), "is no file", FORMS))
        if (size := path.stat().st_size) > LARGEST_BYTES:
            raise RequestError(
                Mistake(str(path), f"is {size:,} bytes large, {LARGEST_BYTES:,} are taken", "take a part")
            )
        raw = path.read_bytes()
    except OSError as error:
        raise RequestError(Mistake(str(path), f"cannot be read: {error.strerror}")) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RequestError(Mistake(f"{path}:{line}", "is not UTF-8", "save it as UTF-8 text")) from None


def _prompts(path: Path, text: str, mistakes: list[Mistake]) -> Iterator[Prompt]:
    """Every prompt that is in order; the others are added to `mistakes`."""
    whole = _loaded(text) if text.lstrip().startswith("[") else None
    if isinstance(whole, list):
        for number, entry in enumerate(whole, 1):
            yield from _entry(entry, f"{path}: entry {number}", mistakes)
        return
    if path.suffix == ".json":
        mistakes.append(Mistake(str(path), "is no JSON list", FORMS))
        return
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    objects = path.suffix == ".jsonl" or (bool(lines) and isinstance(_loaded(lines[0][1]), dict))
    for number, line in lines:
        place = f"{path}:{number}"
        if objects:
            yield from _entry(_loaded(line), place, mistakes)
        else:
            yield Prompt(place, line.rstrip("\r"))


def _loaded(text: str) -> Any:
    """JSON as values, or None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _entry(entry: Any, place: str, mistakes: list[Mistake]) -> Iterator[Prompt]:
    match entry:
        case str(text) | {"prompt": str(text)} if text.strip():
            yield Prompt(place, text)
        case {"input_ids": [_, *_] as ids} if all(type(one) is int and 0 <= one <= LARGEST_TOKEN for one in ids):
            yield Prompt(place, tuple(ids))
        case {"input_ids": _}:
            mistakes.append(Mistake(place, "input_ids is no list of token ids", FORMS))
        case str() | {"prompt": str()}:
            mistakes.append(Mistake(place, "the prompt is empty", FORMS))
        case None:
            mistakes.append(Mistake(place, "is no JSON", FORMS))
        case _:
            mistakes.append(Mistake(place, "is no prompt", FORMS))


def as_ids(
    prompts: Sequence[Prompt], reference: ModelReference, python: str, vocabulary: int | None = None
) -> tuple[Ids, ...]:
    """The prompts as token ids; texts are taken apart by the model's own tokenizer, in a child process of `python`.

    Raises:
        RequestError: there are texts and no tokenizer, the tokenizer makes nothing of a text, or a token is not among
            the `vocabulary` tokens of the model.
    """
    texts = [prompt.content for prompt in prompts if isinstance(prompt.content, str)]
    made = iter(_tokenized(texts, reference, python) if texts else [])
    found = tuple(next(made) if isinstance(prompt.content, str) else prompt.content for prompt in prompts)
    if empty := [prompt.place for prompt, ids in zip(prompts, found, strict=True) if not ids]:
        raise RequestError(*(Mistake(place, "is no token to the model's tokenizer") for place in empty[:10]))
    if vocabulary:
        over = [prompt.place for prompt, ids in zip(prompts, found, strict=True) if max(ids) >= vocabulary]
        if over:
            what = f"holds a token that the model's vocabulary of {vocabulary:,} does not"
            raise RequestError(*(Mistake(place, what) for place in over[:10]))
    return found


def _tokenized(texts: list[str], reference: ModelReference, python: str) -> list[Ids]:
    instead = 'give the token ids instead, a line each: {"input_ids": [1, 2, 3]}'
    if reference.kind not in ("folder", "hub"):
        raise RequestError(Mistake("--prompts", "only a configuration is at hand, which brings no tokenizer", instead))
    request = {"model": reference.name, "revision": reference.revision, "texts": texts}
    match child.run(python, TOKENIZER, request, LIMIT_SECONDS, {"TOKENIZERS_PARALLELISM": "false"}):
        case child.Died(reason):
            raise RequestError(Mistake("--prompts", f"the model's tokenizer cannot be used: {reason}", instead))
        case child.Answered({"ids": list(rows)}) if len(rows) == len(texts):
            return [tuple(map(int, row)) for row in rows]
        case _:
            raise RequestError(Mistake("--prompts", "the model's tokenizer gave no token ids", instead))


def sizes(ids: Sequence[Ids]) -> dict[str, Any]:
    """What prompts say of a workload: their number, the longest, and whether their lengths differ much."""
    lengths = [len(one) for one in ids]
    longest = max(lengths)
    return {
        "batch": len(lengths),
        "prompt_tokens": longest,
        "mixed_lengths": sum(lengths) < MIXED * longest * len(lengths),
    }


def fitted(workload: Workload, ids: Sequence[Ids]) -> Workload:
    """The workload with the prompts at hand; requests in flight stay as they are where their prompts are as many."""
    found = sizes(ids)
    if workload.batch * workload.concurrency == len(ids):
        del found["batch"]
        return replace(workload, **found)
    return replace(workload, **found, concurrency=1)


def other_sizes(planned: Workload, workload: Workload) -> str | None:
    """A warning where the prompts are not of the sizes that the plan was made for."""
    if planned == workload:
        return None
    one, other = _told(planned), _told(workload)
    return (
        f"The plan and its predictions are for {one}, the file holds {other}: diagnose --prompts makes one for these."
    )


def _told(load: Workload) -> str:
    most = "up to " if load.mixed_lengths else ""
    return f"{load.batch * load.concurrency} prompts of {most}{load.prompt_tokens} tokens"


COUNTED = ("batch", "prompt_tokens", "mixed_lengths")


def stated(
    workload: Workload, path: Path, reference: ModelReference, python: str, options: Mapping[str, object]
) -> Workload:
    """The workload with what the prompts in `path` say of it, stated by the user.

    Raises:
        RequestError: the prompts cannot be read, or the user's `options` say the same in another way.
    """
    if twice := [name for name in COUNTED if options.get(name) is not None]:
        what = "is counted in the prompts themselves"
        raise RequestError(*(Mistake(f"--{name.replace('_', '-')}", what, "leave it out") for name in twice))
    for name, value in sizes(as_ids(read(path), reference, python)).items():
        workload = workload.told(name, value)
    return workload
