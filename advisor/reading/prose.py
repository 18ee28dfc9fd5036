"""What people tell in their own words: that something is slow, how times grow, what a table of devices shows.

Only words that complain or compare count; what is slow, and why, is for the rules to name.
"""

import re
from collections.abc import Sequence

from advisor.facts import Value
from advisor.patterns import when_used
from advisor.reading.cleaning import Line
from advisor.reading.topics import TOPICS

LONGEST_STORY = 12_000
"""Characters of a description that are looked at."""
ALIKE = 0.25
"""Times that grow like the batch: the time of one sample differs by at most this share between the sizes told."""
FULL, ROOM = 0.85, 0.7
"""A device is full, and has room, at these shares of its memory in a table."""

_SLOW = "|".join(
    (
        r"\bslow|\bsluggish|\blag(?:s|gy)?\b|\bidl(?:e|es|ing)\b|\bloses?\b|\butili[sz]ation|\bunderutili[sz]"
        r"|\blatency\b|\bthroughput\b",
        r"\blonger\b|\bforever\b|\bages\b|\btoo long\b|\bvery long\b|\blong time\b|\bbottleneck|\bfaster\b",
        r"\bspeed-?\s?ups?\b|\b(?:no|not|not any) (?:gain|benefit|improvement)",
        r"\d\s?(?:t|tok(?:en)?s?|it|samples|prompts|requests|images)\s?(?:/|per )\s?s|\b(?:s|sec|seconds|ms)/it\b",
        r"\b(?:takes?|took|needs?|needed|spends?|spent|lasts|wait(?:s|ing)?)\b(?:[^.]|\.\d){0,60}?\b(?:seconds|secs?"
        r"|s|ms|minutes|mins?|hours|h|days)\b",
        r"\d\s?(?:x|times) (?:as long|the time|slower|longer)|\btwice (?:as long|the time)",
        r"\d\s?ms\b|\b(?:in|after|within|about|only) \d{1,5}(?:\.\d{1,3})?\s?(?:s|secs?|seconds|minutes|min)\b",
        r"\d\s?% of (?:the |its |my )?(?:\w{1,12} )?time|\btokens? (?:per|a) second|\bquicker\b|\bspeed\b",
        r"\blinear(?:ly)?\b|\bjust the same\b|\bas long as\b|\bcosts? what\b|\bhalv(?:es|ed)\b|\b\d{1,4}x\b",
        r"\d\s?(?:ms|s|secs?|seconds|minutes|min|hours) (?:per|each|for|instead|vs)\b",
        r"\d\s?(?:seconds|secs)\b",
        r"\d\s?(?:minutes?|mins?|hours?)\b|\b(?:quarter of an|half an|an) hour\b|\b(?:minutes?|hours?) (?:per|for|a"
        r"|each)\b|\b(?:per|for every) (?:word|token|answer|sentence|reply)\b",
        r"\bexecution times?\b|\bno better\b|\blower than\b|\bstall\w*|\bcrawl\w*|\bcreep\w*|\bhangs?\b|\bterribl\w+",
        r"n't gain\b|n't improve\b|\bnot improve\b|n't scale\b|\bfull load\b|\bfully loaded\b|\btok(?:en)?s?/s\b"
        r"|\bnot gain\b|\bgains? (?:nothing"
        r"|little|anything)|\bcosts? (?:the same|just as)|\bsame (?:time|cost)\b",
        r"\bregardless\b|\bno matter how\b|n't depend\b|\bdoes not depend\b|\bindependent of\b|\bsnail|\bpoor\b",
        r"\bpainful\w*|\bunusabl\w+|\b\d+ ?x less\b|\bas fast as\b|\bstruggl\w*|\bsits? at 0\b|\bat 0 ?%",
        r"\bperformance\b[^.]{0,40}\b(?:drop|worse|bad|poor|degrad)",
    )
)
_TIMES = when_used(
    r"(?<![\d.])(\d{1,5})(?:\s?(?:samples|prompts|images|sequences|inputs))?\s?(?:[:=]|->|=>|takes?|took|needs?|is"
    r"|in|,)?\s{0,3}(?:about |around |~)?(\d{1,6}(?:\.\d{1,4})?)\s?(ms|s|secs?|seconds|min|minutes)\b",
    re.IGNORECASE,
)
_COUNTED = {"one": 1, "two": 2, "three": 3, "four": 4, "six": 6, "eight": 8, "sixteen": 16, "thirty-two": 32}
_TIMES_FOR = when_used(
    r"(?<![\d.])(\d{1,6}(?:\.\d{1,4})?)\s?(ms|s|secs?|seconds|min|minutes)? (?:for|with|at|on) (?:a batch of |batch "
    r"|bs ?=? ?)?"
    rf"(\d{{1,4}}|{'|'.join(_COUNTED)})\b",
    re.IGNORECASE,
)
_BATCHED = when_used(
    r"batch|\bbs\b|\b(?:images?|samples|prompts|sequences|inputs) at (?:once|a time)|\bN ?=|for two\b",
    re.IGNORECASE,
)
# Who is content, or speaks of how good answers are, complains of no slowness.
_CONTENTED = when_used(
    r"\bworks? (?:great|perfectly|like a charm|really well|very well)|\bno complaints?\b|\b(?:very|so) happy\b"
    r"|\bgreat (?:improvement|speed\w*|gain)|\bimpressive\b|\b(?:is|was|runs?|just|are) as fast as\b",
    re.IGNORECASE,
)
_QUALITY = when_used(r"\b(?:quality|accuracy|perplexity|bleu|rouge|f1|wer)\b", re.IGNORECASE)
_PACE = when_used(
    r"\bslow|\bspeed|\bfast|\blatency|\bthroughput|\btimes?\b|\bseconds|/s\b|/it\b|\bms\b|\butili[sz]ation",
    re.IGNORECASE,
)
_FIGURES = when_used(
    r"\d\s?(?:(?:ms|s|secs?|seconds|min|minutes)\b|(?:t|tok(?:en)?s?|it|samples|images)\s?(?:/|per |a )\s?s)",
    re.IGNORECASE,
)
_SIZES = when_used(r"(?<![\d.])(\d{1,4}(?:\.\d{1,3})?)\s?gi?b\b", re.IGNORECASE)
_OF_MACHINE = when_used(
    r"\b(?:have|has|had|with|my|only|on an?|on the) (?:\w{1,10} ){0,2}?\d{1,3} ?gi?b (?:of )?(?:v?ram|cards?|gpus?"
    r"|memory)\b",
    re.IGNORECASE,
)
"""What a machine has, which is no size of a model."""
DOUBLE = (1.8, 2.2)
"""Two sizes of which one is this many times the other are those of one model in 32 and in 16 bits."""
_UNITS = {"m": 60.0, "s": 1.0}
_TABLE = when_used(r"(\d{1,7})\s?Mi?B\s?/\s?(\d{3,7})\s?Mi?B", re.IGNORECASE)
_SHORT_TABLE = when_used(
    r"(?:gpu|cuda|card|device)[ :#]{0,2}\d{1,2}\W{1,3}(\d{1,3}(?:\.\d{1,2})?)\s?(?:Gi?B?)?"
    r"\s?/\s?(\d{1,3}(?:\.\d{1,2})?)\s?Gi?B?",
    re.IGNORECASE,
)
_LISTED = when_used(
    r"(?:\bgpu|\bcuda:|\bcard) ?#?(\d{1,2})(?:'s)?:?(?: memory)?(?: \(?(?:has|uses|used|using"
    r"|holds|takes|at|is at|with|shows|sits at"
    r"|=))? (\d{1,3}(?:\.\d{1,2})?) ?Gi?B?\b(?! (?:card|of vram|total|free|gpu|of \d|/))",
    re.IGNORECASE,
)
"""What is in use on each of several devices, one after the other in a sentence."""
_LOADS = when_used(
    r"^(?:>>>\s?)?[\w., ]{1,60}=\s?(?:\w{1,60}\.)?(?:\w{0,60}(?:Model|Pipeline)\w{0,60}\.from_pretrained\(|pipeline\()"
)
_NO_MODEL = when_used(r"(?:Tokenizer|Config|Processor|FeatureExtractor|Peft|Lora)\w*\.from_pretrained")


def complaints(story: str) -> dict[str, Value]:
    """Whether a description complains of slowness, what it speaks of, and whether its times grow like the batch."""
    story = story[:LONGEST_STORY]
    if _CONTENTED.search(story) or (_QUALITY.search(story) and not _PACE.search(story)):
        return {"slow": False, "compares": False, "topics": ()}
    compared = len(_FIGURES.findall(story)) >= 2
    return {
        "slow": compared or bool(re.search(_SLOW, story, re.IGNORECASE)),
        "compares": compared,
        "topics": tuple(name for name, words in TOPICS.items() if _speaks_of(words, story)),
        "double_size": _double(story),
        "scales_with_batch": _BATCHED.search(story) is not None and _in_proportion(story),
        "fewer_gpus_fine": fine_on_fewer(story),
    }


def _speaks_of(words: str, story: str) -> bool:
    """Whether any of the words stands in the story as a whole word. Compiled on first use: other texts need none."""
    return re.search(rf"(?<!\w)(?:{words})(?!\w)", story, re.IGNORECASE) is not None


def _double(story: str) -> bool:
    sizes = [float(size) for size in _SIZES.findall(_OF_MACHINE.sub(" ", story))[:12]]
    return any(small and DOUBLE[0] <= large / small <= DOUBLE[1] for large in sizes for small in sizes)


def _in_proportion(story: str) -> bool:
    told = [(int(size), _seconds(value, unit)) for size, value, unit in _TIMES.findall(story)[:20]]
    if len(told) < 2:
        told, unit = [], ""
        for value, named, count in _TIMES_FOR.findall(story)[:20]:
            unit = named or unit
            if unit:
                told.append((_COUNTED.get(count.lower()) or int(count), _seconds(value, unit)))
    if len({size for size, _ in told}) < 2:
        return False
    each = [time / size for size, time in told if size]
    return bool(each) and max(each) <= min(each) * (1 + ALIKE)


_ONE_GPU = (
    r"(?:\b(?:one|1|single|just one|only one|first|fewer)(?: of them| \w+)? ?(?:x ?)?(?:gpus?|cards?|devices?"
    r"|[ahvlt]\d{2,4}s?|\d{4}s?)\b|cuda_visible_devices\S{0,20}|\bone of them\b|\beine[rn]? (?:karte|gpu)\b"
    r"|\bune seule carte\b|\buna sola\b|одной (?:карте|gpu)|单卡|一张卡|单张|1 ?张|一张|一块)"
)
_FINE = (
    r"(?:\bfine\b|\bworks?\b|\bworked\b|\bok(?:ay)?\b|no (?:problem|issue|error|nan)\w*|\bgood\b|\bcorrect\b"
    r"|\bnormal\w*|\bnever (?:happen|occur|fail)\w*|does(?: not|n't) (?:happen|occur)|goes away|disappears?|\bgone\b"
    r"|problemlos|funktioniert|正常|没问题|没有问题|可以)"
)
_FEWER = when_used(
    rf"{_ONE_GPU}[^.]{{0,90}}?{_FINE}|{_FINE}[^.]{{0,60}}?{_ONE_GPU}"
    r"|only (?:happens|occurs|fails|when|with|on|if)(?: \w+){0,5} (?:two|2|several|multiple|more than one|4|four"
    r"|both) (?:\w+ )?(?:gpus|cards|devices)",
    re.IGNORECASE,
)
_MORE = when_used(
    r"\b(?:[2-9]|1[0-6]|two|three|four|eight|several|multiple|both|all|more|zwei|vier|deux|dos|двух)(?: x"
    r"| \w+)? ?(?:gpus|cards|devices"
    r"|[ahvlt]\d{2,4}s?|\d{4}s?)\b|\b[2-8] ?x ?\w+|\bx ?[2-8]\b|multi-?\s?gpu|device_map|tensor[-_ ]parallel"
    r"|[两二三四八2-8] ?[张块]|多卡|双卡|多张",
    re.IGNORECASE,
)


def fine_on_fewer(story: str) -> bool:
    """Whether somebody tells that the same works on fewer GPUs than on those where it fails."""
    story = story[-LONGEST_STORY:]
    return _MORE.search(story) is not None and _FEWER.search(story) is not None


def _seconds(value: str, unit: str) -> float:
    unit = unit.lower()
    return float(value) / 1000 if unit == "ms" else float(value) * _UNITS[unit[0]]


def uneven_devices(lines: Sequence[Line]) -> bool:
    """A table of used and whole memory in which one device is nearly full while another has room."""
    bare = (line.bare for line in lines if "/" in line.bare)
    rows = [row for text in bare for form in (_TABLE, _SHORT_TABLE) for row in form.findall(text)]
    if not rows and _listed_unevenly(" ".join(line.bare for line in lines if "site-packages" not in line.bare)):
        return True
    shares = [float(used) / float(whole) for used, whole in rows if float(whole)]
    return len(shares) >= 2 and max(shares) >= FULL and min(shares) <= ROOM


def _listed_unevenly(story: str) -> bool:
    """Whether one device is told to hold much more than another."""
    held = {number: float(size) for number, size in _LISTED.findall(story[:LONGEST_STORY])}
    return len(held) >= 2 and min(held.values()) <= ROOM * max(held.values())


def model_loads(lines: Sequence[Line]) -> int:
    """How many statements outside tracebacks load a model (frames show the same statement on its way through calls)."""
    shown = [line.bare for line in lines]
    before = ["", *shown]
    return sum(
        bool(_LOADS.match(code)) and not _NO_MODEL.search(code) and not previous.startswith("File ")
        for previous, code in zip(before, shown, strict=False)
    )
