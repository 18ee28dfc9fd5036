"""Whether people tell in their own words that memory ran out, and whose memory. Only short texts without any exception
are read so. What they tell of how it came about is `told`'s to read.
"""

import re
from collections.abc import Iterator, Sequence

from advisor.patterns import when_used
from advisor.reading.cleaning import Line
from advisor.reading.messages import recovered, tells_no_failure
from advisor.reading.talk import is_code
from advisor.reading.told import situation

LONGEST = 6_000
"""Characters of an account that are looked at."""
_RAN_OUT = when_used(
    r"\boutofmemory\w*|\b(?:gpu |cuda |v?ram |hip |mps )?oom(?:s|ed|'d|ing|-?killed)?\b|\bout[- ]of[- ](?:(?:cuda"
    r"|gpu|device|video|graphics|system|host|cpu|main|its) )?(?:mem\w{2,5}y|v?ram|mem)\b|\b(?:memory|vram|ram|card"
    r"|gpu)(?: \d)? (?:\w+ )?(?:(?:completely|totally|quickly) )?(?:full|exhausted|used up|overflow\w*|explodes"
    r"|blows up|runs full|fills up|filled up|gets filled)\b|\b(?:not enough|insufficient|lack of"
    r"|exceeds?(?: \w+){0,2}|overflows?(?: \w+)?|too little|no more) (?:(?:cuda|gpu|device|video|free) )?(?:memory"
    r"|v?ram)\b|\b(?:can'?t|cannot|could not|couldn'?t|fails? to|failed to|unable to) allocate\b|(?:显存|内存|VRAM"
    r"|memory)\s?(?:不足|不够|溢出|爆了?|炸了?|耗尽)|爆\s?(?:显存|内存|VRAM|了显存)|(?:显存|VRAM)\s?(?:直接|就"
    r"|又)\s?爆|(?:\w{0,8}speicher|vram|ram)(?: \w+){0,3} (?:läuft|lief|geht|ging|ist|reicht"
    r"|war) (?:\w+ ){0,3}(?:voll|aus"
    r"|nicht)|(?:läuft|lief|geht|ging|reicht) (?:\w+ ){0,4}(?:\w{0,8}speicher|vram|ram) (?:\w+ )?(?:voll|aus|nicht"
    r"|über)\b"
    r"|не хватает (?:видео)?памяти|(?:видео)?памяти не хватает|нехватк\w{1,3} (?:видео)?памяти|(?:закончилась"
    r"|заканчивается|кончается|переполня\w+) (?:видео)?память|по памяти|mémoire (?:\w+ )?(?:insuffisante|saturée"
    r"|pleine)|(?:plus|manque) de (?:mémoire|vram)|(?:sin|falta de) (?:memoria|vram)"
    r"|memoria (?:\w+ )?(?:insuficiente|llena)|(?:sem|falta de) memória|estoura a (?:memória|vram)|(?:メモリ"
    r"|VRAM)(?:ー)?(?:不足|が足り|が溢れ)",
    re.IGNORECASE,
)
# What stands right before a mention that tells of no failure, and sentences that only ask.
_DENIED = when_used(
    r"(?:\b(?:no|not|never|w/o|rid of|without|avoid\w*|prevent\w*|instead of|nor|neither|catch\w*|handl\w+|risk\w*"
    r"|before|(?<!do i )(?<!can i )(?<!how to )(?:fix\w*|solv\w+)|would|might|could|may|against|difference between"
    r"|what is|what does|mean\w* of|kein\w*"
    r"|ohne|called|named|if you|when you|you|estimat\w+|simulat\w+|will(?: probably)?|suppose|afraid|fear|expect"
    r"|compare\w*|decides?|боюсь|wird|würde|detect\w*|report\w*|about to|(?:check|test)(?:s|ed|ing)? (?:for|whether"
    r"|if|that"
    r"|an?))|n't"
    r"|n’t)(?: [\w'-]+){0,4} [`'(]?(?:[\w.]{1,30}\.)?$"
    r"|\b(?:colleagues?|friends?|people|forum|everyone|someone|somebody|he|she|they) (?:claims?|says?|said|told"
    r"|thinks?|write)"
    r"\b(?:(?!\bbut\b)[^.]){0,60}$|\b0 out of \d{1,6} [^.]{0,30}$|(?<!gpu )(?<!card )(?<!device )(?<!cuda:)\b(?:0"
    r"|zero) $|(?:怕|如果|万一|担心"
    r"|避免|防止|以免|不再|不会|听说"
    r"|据说)[^,.，。？]{0,24}$|(?:évit\w+|evitar|verhinder\w+|vermeide\w+|избеж\w+"
    r"|чтобы не|больше не)(?:,? [\w'-]+){0,6} $",
    re.IGNORECASE,
)
_ASKS = when_used(
    r"^\W{0,3}(?:(?:and|so|but|or) )?(?:will|would|can|could|should|may|is|are|does|do|did|has anyone|how much"
    r"|how many|how do(?:es)?|how can|how to|do i|which|what)\b[^?]{0,400}\?\s*$",
    re.IGNORECASE,
)
_REPORTS = when_used(
    r"\b(?:why|how come|normal|expected|warum|wieso|pourquoi|por qué|почему"
    r"|(?<!will )(?<!would )(?<!do )(?<!should )i (?:get|got|see|run|keep|always)"
    r"|i'm getting|(?:fix|solution|cure|remedy|workaround|way around) for (?:the|this|my)|how (?:do i|can i"
    r"|to) (?:fix|solve|stop my)|keeps?|always|every time|it (?:is|goes|runs|gets|ooms|dies"
    r"|always))\b|为什么|为啥",
    re.IGNORECASE,
)
# What stands after the last comma of a question; a question without a comma is one clause.
_LAST_CLAUSE = when_used(r"(?:^|[,;:] | - )[^,;:]{1,400}[?？]\s{0,4}$")
_INSISTS = when_used(
    r"\bstill (?:goes|runs?|gets?|ooms?|dies|fails|crash\w*)\b|\b(?:fix|solution|cure|remedy|workaround) for (?:the"
    r"|this|my) |\b(?:out of memory|oom)\w{0,3} (?:that )?(?:i|we) "
    r"(?:get|see|have)\b",
    re.IGNORECASE,
)
_OVER = when_used(
    r"\b(?:is|are|was|has been|went|now) (?:gone|away|fixed|solved|resolved)\b|\bno (?:more|longer)\b|\b(?:fixed"
    r"|solved) (?:it|now|by|that)\b|\bnothing fail\w*|\bno (?:error|crash)|\bfinished\b|\bworks now\b",
    re.IGNORECASE,
)
_MEANT = when_used(
    r"\bjust documenting\b|\b(?:deliberately|intentionally|purposely)\b|\bfor the record\b|\b(?:is"
    r"|as) intended\b|\bon purpose\b|\bto provoke\b"
    r"|\bjust sharing\b",
    re.IGNORECASE,
)
# A program that ends while memory grows, without the word for it.
_DIES = when_used(
    r"\b(?:dies|died|crash(?:es|ed)?|falls over|blows up|gives up|explodes|stops|gets killed|is killed|eats? up)\b",
    re.IGNORECASE,
)
_GROWS = when_used(
    r"\b(?:gpu|v?ram|memory|nvidia-smi|card)\b[^.]{0,100}(?:\b(?:grow|ris|increas|climb|creep|leak)\w*"
    r"|(?:goes|going|went) up"
    r"|\d ?GB?, ?\d{1,3} ?GB?)",
    re.IGNORECASE,
)
_GENERAL = when_used(
    r"\b(?:an?|any) (?:cuda )?(?:out[- ]of[- ]memory|oom)(?:[- ]?(?:error|exception|message"
    r"|killer)s?)?(?: \w+){0,6}? (?:does not|doesn't|do not|can|may|usually|often|always|means?|is raised|indicates"
    r"|occurs|happens when)\b|(?:out[- ]of[- ]memory|oom) (?:errors|exceptions|failures|problems|issues"
    r"|crashes) (?:are|can|do|often|usually|happen|in)\b|^\W{0,3}(?:if|whenever|in case) (?:the |your |a )?(?:gpu"
    r"|vram|memory|card|device|process|job)\b|^\W{0,3}(?:tips?|notes?|faq|changelog|release notes|docs?"
    r"|documentation|added?|fix(?:es|ed)?|feature|chapter)\b",
    re.IGNORECASE,
)
# Words of sentences, which logs and lists lack.
_SENTENCES = when_used(
    r"\b(?:i|i'm|i've|my|me|we|our|it|its|it's|is|are|was|the|a|an|when|while|why|after|but|with|without|on|in|to"
    r"|and|of|over|have|has|above|any|anything|until|since|because|under|what|how|who|does|do|can|can't|will|would"
    r"|works?|fails|goes|by|from|one|ok|gives|gets|no|there|any|some|all|both|like|just|too|so|or|than|per|fine|this"
    r"|that|if|then|as|for|at|already|even|still|always|every|each|only|again|ich|und|der|die|das|mit|nicht|ist|на"
    r"|не|при|что|и|в|с|je|le|la|les|est|avec|el|los|con|que|en|no|se|o|os|um|uma|com|de|mi|sin|por|para|qué|una|une"
    r"|sur|ma|mon|ein|auf|bei|beim|von|zu|im|wenn|ran|out|goes|went|у|при|модели|карте|меня|как|я|но|mein\w?)\b"
    r"|[\u3040-\u9fff]",
    re.IGNORECASE,
)
SENTENCE_WORDS = 3
# A whole account of a few words: who ran out, or when.
_DOING = (
    r"(?:epoch|step|batch|iteration|training|inference|generation|loading|backward|forward|eval\w*|validation|prompt"
    r"|model|train\w*|generat\w*|load\w*|startup|gpu)"
)
_BRIEF = when_used(
    r"(?:it|this|training|inference|fine-?\s?tuning|generation|generate|loading|evaluation|trainer|[\w-]{1,40}\.py"
    r"|(?:my|the|our) \w{2,20}(?: \w{2,20})?)(?: still| always| just| now| immediately)?"
    r" (?:ooms\b|oomed\b|(?:crash\w{0,3}|dies|died|fails?|failed|stops?|ends?|goes|runs?|ran|is|gets?|killed)\b"
    r"[: ,-]{1,3}(?:with |by |on |of |into |an? |cuda |gpu ){0,4}"
    r"(?:oom\b|out of (?:\w+ )?memory\b|(?:completely |totally )?full\b)).{0,80}"
    r"|(?:cuda |gpu )?(?:oom|out[- ]of[- ]memory)(?: error)?,? (?:on|in|at|after|during|when|while|with)(?: \w+){0,3}? "
    rf"{_DOING}\b.{{0,60}}",
    re.IGNORECASE,
)
_DEVICE = when_used(
    r"\b(?:gpus?|vram|cuda|nvidia\S*|cards?|hbm|rocm|[ahlvtp]\d{1,3}s?|[345]0[5-9]0(?:ti)?|mi\d{3}\w?|gtx|rtx|mps)\b"
    r"|显存",
    re.IGNORECASE,
)
_HOST = when_used(
    r"(?<!v)\bram\b|\b(?:host|system|cpu|main|physical)[- ]memory\b|\bswap\b|\boom[- ]?kill\w*|\bkilled\b"
    r"|\bpage file\b|内存",
    re.IGNORECASE,
)
_KILLED = when_used(
    r"\b(?:just|only) (?:says |prints |shows )?\W?killed\b|\b(?:is|gets|got|was|been|being) killed\b|\b(?:kernel"
    r"|session)\b[^.]{0,40}\b(?:dies|died|restarts|crash\w*)|\b(?:oom[- ]?)?killed\b|\boom[- ]?killer\b"
    r"|\bkernel dies\b",
    re.IGNORECASE,
)
# A notebook that ends while it loads: the kernel's process is what was killed.
_ENDS_LOADING = when_used(
    r"\b(?:kernel|session|colab|runtime)\b[^.?]{0,40}\b(?:dies|died|dying|crash\w{0,3}|restart\w{0,3})\b[^.?]{0,60}"
    r"\b(?:load\w{0,3}|from_pretrained)\b|\bload\w{0,3}\b[^.?]{0,80}\b(?:kernel|session|colab|runtime)\b[^.?]{0,20}"
    r"\b(?:dies|died|crash\w{0,3}|restart\w{0,3})\b",
    re.IGNORECASE,
)
_SENTENCE = when_used(r"(?<=[.!?。？！])\s+|\n{2,}")


def told_shortage(lines: Sequence[Line], slow: bool) -> tuple[str, int] | None:
    """The kind of shortage that a description tells of, and the line on which it does; None where it tells of none.

    What is slow and only mentions memory is no shortage, unless the situation is one of memory.
    """
    if _MEANT.search(_story(lines)):
        return None
    for number, line in enumerate(lines):
        if not _is_prose(line, lines) or tells_no_failure(line) or is_code(lines, number) or recovered(lines, number):
            continue
        for sentence in _SENTENCE.split(line.shown[:LONGEST]):
            if any(_affirmed(sentence)) and not (_OVER.search(_story(lines)) and situation(lines) is None):
                kind = _whose(sentence, _story(lines))
                return (kind, number) if not slow or situation(lines) or _DIES.search(line.shown) else None
    story = _story(lines)
    if (_HOST.search(_KILLED.sub("", story)) or _ENDS_LOADING.search(story)) and _was_killed(story):
        return "killed", 0
    if _DIES.search(story) and _GROWS.search(story) and situation(lines):
        return _whose(story, story), 0
    return None


def on_device(line: Line) -> bool:
    """Whether an account says of a device, and of nothing of the host, that its memory ran out."""
    return _DEVICE.search(line.shown) is not None and _HOST.search(line.shown) is None


def only_spoken_of(lines: Sequence[Line], number: int) -> bool:
    """Whether a description speaks of memory that runs out on this line, and nowhere says that it did."""
    said = lines[number].shown
    if not _is_prose(lines[number], lines) or not _RAN_OUT.search(said):
        return False
    if _MEANT.search(_story(lines)):
        return True
    told = (
        sentence
        for number, line in enumerate(lines)
        if not tells_no_failure(line) and not is_code(lines, number)
        for sentence in _SENTENCE.split(line.shown[:LONGEST])
    )
    return not any(any(_affirmed(sentence)) for sentence in told)


def _is_prose(line: Line, lines: Sequence[Line]) -> bool:
    """Whether somebody wrote this line: it has no prefix of a logger, and words of sentences stand in it, or at least
    in the account around a short one."""
    if line.shown != line.shown.lstrip("[(") or not line.bare:
        return False
    own = len(set(_SENTENCES.findall(line.shown.lower())))
    if sum(bool(other.bare) for other in lines) == 1 and _BRIEF.fullmatch(line.shown.strip()):
        return True
    return own >= SENTENCE_WORDS or (
        own >= 1 and len(set(_SENTENCES.findall(_story(lines).lower()))) >= 2 * SENTENCE_WORDS
    )


def _was_killed(story: str) -> bool:
    """Whether it is told that the program was ended from outside."""
    for sentence in _SENTENCE.split(story):
        found = _KILLED.search(sentence)
        if found and not _ASKS.match(sentence) and not _DENIED.search(sentence[: found.start()]):
            return True
    return False


def _affirmed(sentence: str) -> Iterator[bool]:
    if (_ASKS.match(sentence) and not _REPORTS.search(sentence)) or _GENERAL.search(sentence):
        return
    insists = _INSISTS.search(sentence)
    if not insists and (asked := _LAST_CLAUSE.search(sentence)) and not _REPORTS.search(sentence):
        sentence = sentence[: asked.start()]
    for found in _RAN_OUT.finditer(sentence):
        if insists or not _DENIED.search(sentence[max(0, found.start() - 60) : found.start()]):
            yield True


def _whose(sentence: str, story: str) -> str:
    """`gpu_oom`, `cpu_oom` or `killed`: by the sentence that tells it, else by the whole account."""
    for part in (sentence, story):
        if _DEVICE.search(part):
            return "gpu_oom"
        if _HOST.search(part):
            return "killed" if _KILLED.search(part) else "cpu_oom"
    return "gpu_oom"


def _story(lines: Sequence[Line]) -> str:
    return " ".join(line.bare for line in lines)[:LONGEST]
