"""Failures that are over or somebody else's: thanks since it works now, runs that lost a part and went on to their end,
questions of an examiner. What is told of them is in small letters."""

import re

from advisor.patterns import when_used

_FAILED = r"(?:out[- ]of[- ]mem|\boom\w{0,5}\b|outofmemory|爆)"
# Who says that the failure is not his own, or asks what somebody else was asked.
_DISOWNED = when_used(
    r"\bnot an? (?:real |actual )?(?:problem|issue|question|bug|error|failure) of (?:mine|ours)\b|\bnot my (?:own )?"
    r"(?:problem|issue|error|bug|machine|run|job)\b|\b(?:don't|do not) (?:even )?(?:have|own) an? (?:gpu|card)\b"
    r"|\b(?:interview|exam|quiz|trivia|homework) question\b|\b(?:purely|just|only) (?:hypothetical|theoretical)\b"
    r"|\bnicht mein (?:problem|fehler|rechner)\b|\bpas mon (?:problème|erreur)\b|\bno es mi (?:problema|error)\b"
    r"|не моя (?:ошибка|проблема)|不是我的(?:问题|机器|错误)|面试(?:题|官)"
)
# A word of thanks, and next to it that it works now; in the languages that people paste.
_THANKS = when_used(
    r"\bthanks?\b|\bthank you\b|\bthx\b|\bcheers\b|\bkudos\b|\bdanke\w{0,3}\b|\bvielen dank\b|\bgold wert\b"
    r"|\bmerci\b|\bgracias\b|\bobrigad[oa]\b|\bgrazie\b|\bdzięki\b|спасибо|благодар|谢谢|感谢|多谢|ありがとう"
    r"|\bcan be closed\b|\bkann (?:geschlossen werden|zu)\b|закрыва"
)
_WORKS_NOW = when_used(
    r"\b(?:now|since then|finally|since)\b[^.?!]{0,40}\b(?:works?|runs?|running|fits?|trains?|loads?|fine|stable|passes"
    r"|finish\w{0,3})\b|\b(?:works?|runs?|running|fits?|trains?|loads?|fine|stable|everything works)(?: \w{1,12}){0,3}?"
    r" (?:now|since|again)\b|\beverything (?:works|runs|fits)\b|\bworks like a charm\b"
    r"|\b(?:jetzt|nun|seitdem|seither|endlich|damit)\b[^.?!]{0,30}\b(?:läuft|geht|klappt|funktioniert|passt|lädt)\b"
    r"|\b(?:läuft|geht|klappt|funktioniert|passt) (?:es )?(?:jetzt|nun|wieder|seitdem)\b"
    r"|\b(?:maintenant|désormais|depuis|enfin)\b[^.?!]{0,30}\b(?:marche|fonctionne|passe|tourne|tient|rentre)\b"
    r"|\b(?:ahora|ya|por fin|desde entonces)\b[^.?!]{0,30}\b(?:funciona|entra|cabe|corre|va)\b"
    r"|\b(?:agora|finalmente)\b[^.?!]{0,30}\b(?:funciona|roda|cabe|treina)\b|\b(?:ora|adesso)\b[^.?!]{0,30}\bfunziona\b"
    r"|\bteraz\b[^.?!]{0,30}\bdziała\b|(?:теперь|наконец|сейчас)[^.?!]{0,30}(?:работает|влез|помеща|обуча|запуск|ид[её]т"
    r"|хватает)|заработал|(?:现在|终于|已经|之后)[^。?？]{0,16}(?:可以|能|正常|成功|跑|好了|没问题)"
    r"|(?:今は|無事|やっと)[^。?？]{0,20}(?:動|でき|収まり)|動くようになり",
)
# What goes wrong all the same.
_BUT = when_used(
    rf"(?:\b(?:but|aber|mais|pero|mas|ma|trotzdem|leider)\b|但|不过|(?<!\w)но(?!\w)|однако)[^.?!。]{{0,80}}{_FAILED}"
    r"|\b(?:again|wieder|encore|otra vez|снова|опять)\b[^.?!]{0,30}\b(?:oom|out of memory)\b"
)
_FAILURE = when_used(_FAILED)
_PAST = when_used(
    rf"\b(?:was|were|had|got|hit)\b[^,.]{{0,16}}{_FAILED}|\b(?:before|used to|earlier|previously|originally|vorher"
    rf"|früher|zuvor|avant|auparavant|antes|prima"
    r"|wcześniej)\b|раньше|до этого|之前|以前|原来"
)
# Somebody who meets it at the time of writing.
_PRESENT = when_used(
    r"\b(?:i|we|i'm|we're|it)(?: (?!used\b|would\b|could\b|might\b)\w{1,10}){0,2}?"
    r" (?:get|gets|getting|see|keep|keeps|run into|hit|dies|ooms)\b[^.?!]{0,50}(?:out[- ]of[- ]mem|\boom)"
)
# A run that lost a sample or a try and went on to its end.
_PASSED_OVER = when_used(
    r"\b(?:was|were|is|are|got|gets|been|being) (?:\w{1,14} )?(?:skipped|retried|requeued|re-queued|rescheduled|caught"
    r"|handled|ignored|resumed|repeated|restarted|relaunched)\b|\b(?:skips?|skipped|retried|retries|requeued"
    r"|resumed|picked up) (?:it|that|them"
    r"|from|the|on)\b"
)
_SURVIVED = when_used(
    r"\bsurviv\w{1,3}\b|\bas usual\b|\ball green\b|\bas (?:planned|expected|normal)\b|\bno (?:harm|data|samples?|action"
    r"|problems?)(?: \w{1,10})? (?:done|lost|needed|required|missing)\b|\b(?:went|carried|kept) (?:on|going)\b"
    r"|\b(?:finished|completed|succeeded|ended|passed) (?:fine|normally|successfully|cleanly|as|with|on|without"
    r"|anyway|in time)\b|\bfinal (?:score|result|loss|accuracy)\b|\bself-?heal\w{0,3}\b|\bnothing to do\b"
)


def disowned(text: str) -> bool:
    """Whether somebody says that the failure is not his own, and meets none himself."""
    return _DISOWNED.search(text) is not None and _PRESENT.search(text) is None


def is_over(text: str) -> bool:
    """Whether somebody gives thanks since it works now, or a run that lost a part of its work went on to its end."""
    if _BUT.search(text) or _PRESENT.search(text) or "?" in text or "？" in text:
        return False
    thankful = _THANKS.search(text) is not None and _ends_with(_WORKS_NOW, text)
    return thankful or (_PASSED_OVER.search(text) is not None and _ends_with(_SURVIVED, text))


def _ends_with(good: re.Pattern[str], text: str) -> bool:
    """Whether the good news stands in the text, and none of the failure below them but of one that is past."""
    ends = [found.end() for found in good.finditer(text)]
    if not ends:
        return False
    below = re.split(r"[.!?。！\n]", text[ends[-1] :])
    return not any(_FAILURE.search(said) and not _PAST.search(said) for said in below)
