"""Talk of memory that runs out, in which nothing did: documentation, questions before buying, reviews, thanks, tests.

A text of one of these genres tells of a failure only where somebody says that it is his own.
"""

from collections.abc import Sequence

from advisor.patterns import when_used
from advisor.reading.cleaning import Line
from advisor.reading.outcomes import disowned, is_over

LONGEST = 4_000
"""Characters of a text that are looked at."""
MOST_LINES = 60
_OUT = (
    r"(?:out[- ]of[- ]mem\w{2,5}y|\boom\w{0,5}\b|outofmemory|\bmemory\b|\bfull\b|\bkilled\b|爆|显存|speicher|памят"
    r"|memoria|mémoire)"
)
# What says that it is the writer's own: a first person or "still" before the mention, in one sentence.
_MINE = when_used(
    r"\b(?:i|we|i'm|we're|i've|mine|still|it always|it now|now it|my \w{1,14}|our \w{1,14})"
    r"(?: (?!wonder|used\b|read|heard|would|will|want|need|might|could|do\b|avoid|risk|can\b|don't"
    r"|should)\w{1,12}){0,3}?"
    r" (?:get|gets|got|getting|hit|see|saw|run|runs|running|ran|ooms?|oomed|goes|went|dies|died|crash\w{0,3}"
    r"|fail\w{0,3}"
    rf"|keeps?|always|is)\b[^.?!]{{0,60}}{_OUT}|\b(?:mine|mein\w{{0,2}} \w{{1,12}}|bei mir|ich (?:bekomme|kriege))\b"
    rf"[^.?!]{{0,60}}{_OUT}|\bу меня\b[^.?!]{{0,60}}{_OUT}|我(?:的|这|用|在)?[^.?!？]{{0,20}}(?:爆|oom|报)"
    rf"|\bj'ai (?:une?|eu|toujours)\b[^.?!]{{0,40}}{_OUT}|\bmi (?:tarjeta|gpu)\b[^.?!]{{0,40}}{_OUT}"
    rf"|\b(?:unfortunately|sadly|leider|malheureusement|lamentablemente)\b|к сожалению|可惜"
    r"|\bwhy (?:it|my|this|mine|i)\b|\b(?:out of memory|oom)\w{0,3}(?: error)? (?:that )?(?:i|we) (?:get|see|have"
    r"|keep)\b"
    r"|\bme (?:da|sale)\b|\bwhat (?:am i|did i|can i do|do i do)\b|(?:why|how come) (?:does|do|is|am) (?:it|my|i|this"
    r"|mine)\b|怎么办|что делать|was kann ich tun|qué puedo hacer",
)
_QUESTIONS = when_used(r"(?:^|\n)\W{0,6}q(?:uestion)?\W{1,3}i\b[^\n]{0,200}")
"""What the reader of a list of questions asks, who is nobody in particular."""
# What takes a word of thanks back.
_UNSOLVED = when_used(
    r"\bstill\b|\bbut now\b|\bhowever\b|\bwhy\b|n't (?:very )?happy|not (?:very )?happy|\bhelp(?: me)?\?|any (?:help"
    r"|ideas?|suggestions?)|thanks in advance|\bwhat (?:can|should|could) i\b|in advance|как исправить|怎么|为什么"
)
# A purchase, an order, a recommendation that is asked for.
_BUYING = when_used(
    r"\bbefore (?:i )?buy\w{0,3}\b|\b(?:want|going|about|plan\w{0,4}|like|looking|thinking of|thinking about) (?:to )?"
    r"(?:buy\w{0,3}|order|rent\w{0,3}|purchas\w{1,3})\b|\bthinking about (?:a|an|the|getting) (?:used|new|second)\b"
    r"|\bwhich (?:card|gpu|laptop|machine) (?:for|should|would|to|do you|is best|can)\b|\b(?:my )?budget (?:is|of"
    r"|about)\b|\bshould i (?:buy|get|rent|order)\b|\bcan i rent\b"
    r"|\badvice on an? (?:build|rig|pc|machine)\b|\bupgrade question\b|\bhow (?:many gb|much (?:v?ram|memory"
    r"|gpu memory))"
    r" (?:do|would|will|should|must) (?:i|we|you|one)\b|\bneed to order\b|\d ?(?:euros?|€|usd|\$|тысяч|万(?:块"
    r"|元)?)(?!\w)"
    r"|\b(?:видеокарту|карту) (?:взять|выбрать)\b|选购|\baufpreis\b"
    r"|\border the\b|\bworth (?:buying|the money)\b|\bnothing (?:tried|bought) yet\b|\bkaufen\b|(?:准备|打算"
    r"|想)(?:要)?(?:买|租|入手)"
    r"|\bкупить\b|\bacheter\b|\bcomprar\b|\brecomiend\w{1,3}\b|\bconseill\w{1,3}\b"
)
# Who is glad.
_GLAD = when_used(
    r"\b(?:i'm|i am|very|so|really) (?:happy|glad|pleased)\b|\bsuccess story\b|\bsolved!|\ball good now\b"
    r"|\bthat did it\b|\bno more oom\w{0,2}\b|\bclosing(?: this| the issue)?\.?\s{0,4}$|\b(?:in case it"
    r"|hope (?:it|this)) helps\b|\bjust wanted to (?:say )?thank|\bthanks?(?: to| for) (?:the )?(?:new|great"
    r"|fix\w{0,2})\b"
    r"|\b(?:is|are) history\b|已经?解决|解决了|搞定|\bwanted to share\b|\bfrom (?:oom|out of memory) to\b"
    r"|\bnice work\b|\bmarking (?:this )?as solved\b"
    r"|\bsorry for the noise\b|\bsolved my\b|\bgot me from\b"
    r"|\bgreat (?:library|work|job)\b|\bworks so far\b|\bnothing (?:has )?crashed\b|\bused to (?:oom|run out|crash"
    r"|die)\b[^?]{0,200}$"
    r"|\b(?:all good|works) now,? thanks\b|不再(?:爆|oom)|больше не |vorher (?:ist|war|lief|gab)[^?]{0,80}danke"
)
# Documentation, tutorials, questions of general interest.
_TEACHING = when_used(
    r"\bexception raised (?:when|if)\b|\*?optional\*?, (?:\*?defaults? to|default)|\bfrom the docs\b"
    r"|\bis a subclass of\b"
    r"|(?:^|\n)\s{0,8}`?[\w.]{1,80}\([\w=,. *]{0,120}\)`?\s{0,4}\n\s{0,8}(?:set|get|perform|return|release|empt"
    r"|allocat|rais|comput|creat"
    r"|load|mov)\w{0,3}s?\b|(?:^|\n)--[a-z][\w-]{2,40}(?:=\S{0,20})? {2,}\w"
    r"|(?:^|\n)\s{0,8}(?::param|:raises|args:|raises:)"
    r"|\bin (?:this|the next|the last|the following) (?:tutorial|chapter|post|lesson|section|guide|video|article"
    r"|part|blog)\b"
    r"|(?:^|\n)#{0,4} ?(?:part|lesson|chapter|question|quiz) \d{1,3}\b|\bquiz\b|\binterview question|(?:^|\n)poll:"
    r"|\bfeature request\b|\bgibt es die regel\b|\b(?:error|exit) codes? \d{1,4} means\b|\bshould (?:mention|say"
    r"|state) that\b|\bcan i open a pr\b|\bcatalogue?\b|\bglossary\b|\bcheat ?sheet\b|\balert rule\b"
    r"|\bexports? the metric\b"
    r"|\btypical (?:error )?(?:message|error|output)\b"
    r"|\b(?:can|could) (?:someone|anyone|somebody|anybody) explain\b|\bexplain the difference\b|\bwiki page\b"
    r"|(?:^|\n)[#*| ]{0,6}(?:faq|troubleshooting|title|readme|tips?|how-?to)\b|(?:^|\n)\|[ :-]{3,40}\|"
    r"|(?:^|\n)[-*|` ]{0,4}(?:cuda )?out[- ]of[- ]memory[`*]{0,2}: (?:use|try|set|lower|reduce|decrease|see|add"
    r"|check)\b"
    r"|\b(?:docs?|documentation|runbook|manual|wiki|rules?|policy)(?: says?:?|:) |\bfrom man \d|\bblog\b"
    r"|\bheadline\b|\bcite\b"
    r"|\bthesis question\b|\bwhat do the others think\b|\b\"(?:alert|expr)\":|\bis caught by\b"
    r"|\bschreiben (?:gerade )?eine doku|\bwe(?:'re| are) writing (?:the |a |our )?(?:docs?|documentation|guide)"
)
# The same, where a library's message is shown as an example.
_SHOWING = when_used(
    r"\btypical (?:error )?(?:message|error|output)\b|\blooks? like this[^?]{0,2000}\bwe\b"
    r"|\bin (?:this|the next|the following) (?:tutorial|chapter|lesson|section|guide|video|article|part"
    r"|post)s?,? (?:we|you|i)\b"
    r"|\"\"\"|\b(?:here|below) (?:we|i) explain\b"
)
# Reviews, commits, release notes.
_REVIEWING = when_used(
    r"(?:^|\n)\s{0,8}(?:nit|suggestion|review comment|lgtm)\b|\blgtm\b|(?:^|\n)\s{0,8}@@ -\d|(?:^"
    r"|\n)on \S{1,80}\.\w{1,4} l\d"
    r"|\botherwise approved\b|\b(?:can|could) we (?:log|rename|move|catch|split|extract|add|drop|avoid)\b"
    r"|(?:^|\n)(?:pr|mr) #?\d{1,6}\b|\b(?:pull|merge) request description\b|(?:^|\n)test plan\b|\byou (?:compare"
    r"|match|catch"
    r"|swallow)\b|\bplease (?:catch|rename|add an? (?:unit )?test)\b|\brelease notes\b|(?:^|\n)\W{0,4}new in v?\d"
    r"|\bchange ?log\b|(?:^"
    r"|\n)#{2,3} (?:fixed|added|changed)\b"
    r"|(?:^|\n)commit(?: [0-9a-f]{7,40}\b|: )|\bgit log\b|(?:^|\n)closes #\d|(?:^|\n)(?:fix|feat|chore|docs|refactor"
    r"|perf"
    r"|test)(?:\([\w/-]{1,40}\))?!?: "
)
# Somebody who speaks of himself or asks for help, and something that happens.
_SELF = when_used(
    r"(?<!\w)(?:i|i'm|i've|i'd|my|mine|me|we|our|us|ich|mein\w{0,2}|mir|wir|unser\w{0,2}|je|j'ai|mon|ma|mes|nous|mi"
    r"|mis|yo|tengo|meu"
    r"|minha|я|мой|моя|мне|у меня|нас)(?!\w)|我|俺|咱|why|how come|warum|wieso|pourquoi|por qué|почему|为什么|为何"
    r"|怎么|咋|help|normal|expected|solution|\bfix\b|workaround|reduce|\btips?\b|\bany (?:advice|suggest|hint"
    r"|thoughts)|\brecommend|что делать|hilfe|求"
)
_EVENT = when_used(
    r"\b(?:runs?|ran|goes|went|running|gets?|got|gives|ends?|throws?|always|keeps?|suddenly|immediately|since|after"
    r"|crash\w{0,3}"
    r"|dies|died|fails?|failed|killed|ooms|oomed|stops|exploded?s?|blows|when|while|as soon as|despite|although|though"
    r"|but|even)\b|爆|报错|崩|跑|läuft|lief|geht|bricht|stürzt|obwohl|вылетает|падает|aunque|bien que"
)
# A mention that stands in code: what a test raises or expects, what a program looks for or prints.
_IN_CODE = when_used(
    r"\braises\(|\bmatch=|\bside_effect\b|\bmonkeypatch\b|\bMock\(|^[+-]\s{0,40}(?:except|raise|if|#)\b|\bPASSED\b"
    r"|DID NOT RAISE"
    r"|^(?!\w{0,40}(?:Error"
    r"|Exception)\()\w{1,40}\(f?[\"'][^\"']{0,200}[\"']\);?$"
    r"|^\w{1,30}: '[^']{0,200}',$|\bassert (?:not )?f?[\"']|[\"'] in (?:str\(|repr\(|stderr|stdout|msg"
    r"|message|text|err|e\b|output|line|log)"
    r"|^if .{1,80}: raise \w|^[0-9a-f]{7,12} (?:fix|avoid|docs|add|handle|revert)\w{0,3}\b|\[W\] .{0,80}, trying \d"
    r"|\bskipped \d{1,7} batch",
)


def is_code(lines: Sequence[Line], number: int) -> bool:
    """Whether a line holds the words as code, a test, a list of commits or a docstring does."""
    if _IN_CODE.search(lines[number].bare):
        return True
    before = sum(line.bare.count('"""') for line in lines[max(0, number - MOST_LINES) : number])
    return before % 2 == 1 and any('"""' in line.bare for line in lines[number : number + MOST_LINES])


def is_talk(lines: Sequence[Line], shown: bool) -> bool:
    """Whether the text is of a genre that speaks of failures in general, and nobody tells of his own. `shown`: a
    message of a library stands there as it is printed, which only somebody who teaches does without having met it."""
    if len(lines) > MOST_LINES:
        return False
    text = "\n".join(line.shown for line in lines)[:LONGEST].lower()
    if not shown and (disowned(text) or (not _UNSOLVED.search(text) and is_over(text))):
        return True
    if _MINE.search(_QUESTIONS.sub(" ", text)):
        return False
    if shown:
        return _SHOWING.search(text) is not None
    if _TEACHING.search(text) or _REVIEWING.search(text) or _BUYING.search(text):
        return True
    if _asks_in_general(text):
        return True
    return _GLAD.search(text) is not None and _UNSOLVED.search(text) is None


def _asks_in_general(text: str) -> bool:
    """Whether a text ends in a question, nobody speaks of himself or of trouble, and nothing happens in it."""
    ended = text.rstrip(" )\n")[-1:] in ("?", "？")
    return ended and not _SELF.search(text) and not _EVENT.search(text)
