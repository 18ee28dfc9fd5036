"""What the probes could not find out: each reason once, with the facts that it stands for."""

from collections.abc import Iterator

from rich.text import Text

from advisor.facts import Facts, Unknown, plain_name

NAMED_AT_MOST = 3
"""Facts named beside a reason before the rest is counted."""


def unknown(facts: Facts) -> Iterator[Text]:
    """Each reason once, with the facts it stands for; what merely follows from a known absence is left out."""
    reasons: dict[str, list[str]] = {}
    for name in facts:
        fact = facts.get(name)
        if isinstance(fact, Unknown) and not _follows(name, facts):
            names = reasons.setdefault(printable(fact.reason), [])
            if (plain := plain_name(name)) not in names:
                names.append(plain)
    for reason, names in reasons.items():
        yield Text(f"{_names(names, facts)}: {reason}", style="dim")


def _follows(name: str, facts: Facts) -> bool:
    """Whether a fact is unknown only because its subject is known to be absent, or is told elsewhere on the card."""
    subject = name.split(".")[0]
    match name:
        case "torch.cuda":
            return facts.text("torch.build") != "cuda" and facts.value("torch.installed") is not None
        case "torch.bf16" if facts.value("torch.sees_gpu") is False:
            return not facts.count("gpu.count")
        case "kernels.accepted" | "transformers.kernels_range":
            return any(facts.value(f"{library}.installed") is False for library in ("kernels", "transformers"))
    if subject == "gpu":
        return facts.count("gpu.count") == 0 or facts.get(name) == facts.get("gpu.count")
    return facts.value(f"{subject}.installed") is False


def _names(names: list[str], facts: Facts) -> str:
    """The facts in words: a whole family by its name, else the first few."""
    families = {name.split(".")[0] for name in names}
    if len(families) == 1:
        family = families.pop()
        known = [name for name in facts if name.startswith(f"{family}.") and not isinstance(facts.get(name), Unknown)]
        if len(names) > 1 and not known:
            return f"{family} (all)"
    more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
    return ", ".join(sorted(names)[:NAMED_AT_MOST]) + more


def printable(text: str) -> str:
    """Foreign text without control characters: a recorded machine may come from anybody."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
