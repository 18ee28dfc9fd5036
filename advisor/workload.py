"""What the user does with the model. Sizes that were not given are assumed openly and listed as assumed."""

from dataclasses import dataclass, fields, replace
from typing import Any

from advisor.errors import Mistake
from advisor.facts import Declaration, Fact, Facts, Kind, Known, Question, Value, fits

GOALS = ("latency", "throughput", "memory", "fit")
TASKS = ("generate", "encode", "train")
QUANTIZE = ("never", "to_fit", "freely")
LARGEST = 10_000_000
USUAL_REQUESTS = 32
"""Requests of one run where the user names no number: a choice. The 95th percentile of 32 is the second longest."""
MOST_REQUESTS = 1000
"""Requests of one run at most: each waits in a thread of its own where a server is asked."""
MOST_PER_SECOND = 10_000.0


@dataclass(frozen=True)
class Arrivals:
    """`requests` in one run, `rate_per_second` of them on average; without a rate all are there at once."""

    requests: int
    rate_per_second: float | None


def wrong_arrivals(arrivals: Arrivals) -> str | None:
    """Why these arrivals cannot be made, or None."""
    rate = arrivals.rate_per_second
    if not 1 <= arrivals.requests <= MOST_REQUESTS:
        return f"{arrivals.requests} requests are not between 1 and {MOST_REQUESTS}"
    if rate is not None and not 0 < rate <= MOST_PER_SECOND:
        return f"{rate} requests a second are not above 0 and up to {MOST_PER_SECOND:.0f}"
    return None


@dataclass(frozen=True)
class Workload:
    """A request as the user makes it. What the sizes mean depends on the task:

    generate: `batch` prompts of `prompt_tokens` each, `new_tokens` generated for each.
    encode: `batch` texts of `prompt_tokens` each, read in one forward pass; `new_tokens` has no meaning.
    train: `batch` sequences of `prompt_tokens` each in one step of one device; `new_tokens` has no meaning.

    `concurrency` is the number of independent requests in flight at a time. `repeats` says whether many requests of
    the same shape follow one another in one process (which is what compilation needs to pay back).
    """

    task: str = "generate"
    goal: str = "latency"
    batch: int = 1
    prompt_tokens: int = 512
    new_tokens: int = 128
    concurrency: int = 1
    repeats: bool = True
    mixed_lengths: bool = False
    reads_attention_weights: bool = False
    turns: bool = False
    grounded: bool = False
    sampling: bool = False
    quantize: str = "to_fit"
    stated: tuple[str, ...] = ()
    """The names that the user gave or answered; all others are assumed."""
    arrivals: Arrivals | None = None
    """Requests that come by themselves while others are answered, in place of the prompts at hand. Only measuring knows
    them: no plan file holds them."""

    @property
    def total_tokens(self) -> int:
        """Length of one sequence in tokens: when generation ends, or as it is read."""
        return self.prompt_tokens + (self.new_tokens if self.task == "generate" else 0)

    def told(self, name: str, value: Value) -> "Workload":
        """This workload with one field stated by the user."""
        return replace(self, **{name: value, "stated": (*self.stated, name)})  # type: ignore[arg-type]

    def facts(self) -> Facts:
        """The fields as facts `workload.NAME`, with the source `you` or `assumed`."""
        found: dict[str, Fact] = {
            name: Known(getattr(self, name.split(".")[1]), "you" if name.split(".")[1] in self.stated else "assumed")
            for name in (declaration.name for declaration in DECLARATIONS)
        }
        return Facts(found)

    def to_json(self) -> dict[str, Any]:
        names = [f.name for f in fields(self) if f.name != "arrivals"]
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in names}


YES_NO = ((True, "yes"), (False, "no"))

DECLARATIONS: tuple[Declaration, ...] = (
    Declaration("workload.task", Kind.NAME, "what the model is used for", TASKS),
    Declaration(
        "workload.goal",
        Kind.NAME,
        "what should get better",
        GOALS,
        Question(
            "What matters most?",
            (
                ("latency", "one request should answer sooner"),
                ("throughput", "more tokens per second over all requests"),
                ("memory", "less memory"),
                ("fit", "that it runs at all"),
            ),
            "latency",
        ),
    ),
    Declaration("workload.batch", Kind.COUNT, "prompts at hand at one time"),
    Declaration("workload.prompt_tokens", Kind.COUNT, "length of one prompt in tokens"),
    Declaration("workload.new_tokens", Kind.COUNT, "tokens generated for one prompt"),
    Declaration("workload.concurrency", Kind.COUNT, "independent requests in flight at one time"),
    Declaration(
        "workload.repeats",
        Kind.FLAG,
        "many requests of the same shape follow one another in one process",
        question=Question("Will one process serve many requests of about the same shape?", YES_NO, True),
    ),
    Declaration(
        "workload.mixed_lengths",
        Kind.FLAG,
        "the prompts of one batch differ much in length",
        question=Question("Do the prompts of one batch differ much in length?", YES_NO, False),
    ),
    Declaration(
        "workload.reads_attention_weights",
        Kind.FLAG,
        "the caller reads attention weights (output_attentions=True)",
        question=Question("Does your code read attention weights (output_attentions=True)?", YES_NO, False),
    ),
    Declaration("workload.turns", Kind.FLAG, "requests are turns of conversations, each with all turns before it"),
    Declaration("workload.grounded", Kind.FLAG, "answers repeat passages of the prompt (summaries, edited code)"),
    Declaration("workload.sampling", Kind.FLAG, "tokens are drawn by chance (do_sample=True), not the likeliest taken"),
    Declaration(
        "workload.quantize",
        Kind.NAME,
        "when weights may be quantized, at a small loss of quality",
        QUANTIZE,
        Question(
            "May weights be quantized, at a small loss of quality?",
            (("never", "no"), ("to_fit", "only to make it fit"), ("freely", "also for speed or memory")),
            "to_fit",
        ),
    ),
)


def read_workload(data: object, where: str, mistakes: list[Mistake]) -> Workload:
    """A workload from the JSON of `Workload.to_json`; what is wrong is added to `mistakes` with its place."""
    if not isinstance(data, dict):
        mistakes.append(Mistake(where, "no object"))
        return Workload()
    known = {declaration.name.split(".")[1]: declaration for declaration in DECLARATIONS}
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name == "stated":
            continue
        if name not in known or not fits(value, known[name]):
            mistakes.append(Mistake(f"{where}.{name}", "no such field" if name not in known else f"{value!r} is wrong"))
        elif wrong := out_of_range(known[name], value):
            mistakes.append(Mistake(f"{where}.{name}", wrong))
        else:
            values[name] = value
    stated = data.get("stated", [])
    names = tuple(name for name in stated if name in known) if isinstance(stated, list) else ()
    return Workload(**values, stated=names)


def out_of_range(declaration: Declaration, value: Value) -> str | None:
    """Why a value of the right kind still makes no sense, or None."""
    if declaration.kind is Kind.COUNT and not (isinstance(value, int) and 1 <= value <= LARGEST):
        return f"{value!r} is not between 1 and {LARGEST}"
    if declaration.values and value not in declaration.values:
        return f"{value!r} is not one of: {', '.join(declaration.values)}"
    return None
