"""Secrets, people and their machines do not come back out: not in quoted lines, not in anything printed.

Patterns follow the published formats of tokens, the options and settings that carry secrets, and how people write of
them. When in doubt a value is masked; figures, names of modules and versions stay readable.
"""

import re
from collections.abc import Sequence

from advisor.patterns import when_used
from advisor.reading.unnamed_secrets import CONNECTION, HOOK, SSH_KEY, is_digest, mask_hook
from advisor.reading.whereabouts import HIDDEN, Step
from advisor.reading.whereabouts import STEPS as WHEREABOUTS

_PLAIN = when_used(
    "|".join(
        (
            r"\b(?:hf|api_org)_(?:(?=[a-z]{0,40}[A-Z0-9])[A-Za-z0-9]{6,}|[a-z]{20,})|(?<=\([\"'])hf_\w{6,}(?=[\"']\))",
            r"\b(?:sk|pk|rk|or)-(?:[A-Za-z0-9]+-)?[A-Za-z0-9_-]{8,}",
            r"\b(?:gh[pousr]_[A-Za-z0-9]{10,}|github_pat_[A-Za-z0-9_]{10,}|glpat-[A-Za-z0-9_-]{10,})",
            r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}",
            r"\bxox[abeoprs]-[A-Za-z0-9-]{8,}",
            r"\bAIza[A-Za-z0-9_-]{20,}",
            r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
            r"\bwandb_v\d_[A-Za-z0-9_]{10,}",
            r"\bdop_v1_[a-f0-9]{16,}",
            r"\bnpm_[A-Za-z0-9]{16,}",
            r"\bpypi-[A-Za-z0-9_-]{16,}",
            r"\b(?:gsk|xai|nvapi|r8|dckr_pat|lsv2_pt|pplx)[-_][A-Za-z0-9_-]{16,}",
            r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|\bpat_[A-Za-z0-9_]{6,}",
            r"\bya29\.[A-Za-z0-9_-]{10,}|\bSG\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
            r"(?<=wandb login )\S{8,200}|(?<=login --token )\S{4,200}",
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.{0,4000}",
        )
    )
)
_RANDOM = when_used(
    r"(?<![\w/.+-])(?:(?=[a-z]*\d)(?=\d*[a-z])[0-9a-f]{32,400}|[A-Za-z0-9]{24,400}|[A-Za-z0-9+/]{40,400}={0,2})(?![\w/+-])"
)
"""Long runs that nobody spells: digests, keys. Names of kernels and classes have few digits or hyphens between."""

_WORDS = (
    r"pass(?:word|wd|wort|phrase|code)|(?<![a-z])pwd?(?![a-z])|pgpass\w{0,8}|passwort|kennwort|contrase(?:n|ñ)a|mot\sde\spasse|senha"
    r"|парол[ья]|密码|パスワード|secret(?:[-_ ]?(?:access)?[-_ ]?key)?|credentials?"
)
_SAYS_KEY = (
    r"token|(?:api|access|secret|private|account|auth|license|signing|encryption|storage|shared[-_]?access|ssh|wandb)"
    r"[-_ ]?key|apikey|jwt|sig|signature|session(?:[-_]?id)?|[-_]pass|(?<![a-z])auth|webhook"
)
_QUOTE = r"\\?[\"'`]"
_QUOTED = r"""(?:\\["'`][^"'`\n]{1,400}|"(?:\\.|[^"\\\n]){1,400}|'(?:\\.|[^'\\\n]){1,400}|`[^`\n]{1,400})"""
_IS = r"(?:=>|:=|->|==?|:)"
_NAMED_PASS = when_used(
    rf"((?:{_WORDS})(?:[-_ ](?:value|string|base)|\sfor\s\S{{1,80}}?)?{_QUOTE}?\]?\s{{0,3}}{_IS}\s{{0,3}})"
    rf"({_QUOTED}|(?![\"'`])\S{{1,400}})",
    re.IGNORECASE,
)
_NAMED = when_used(
    rf"((?:{_SAYS_KEY}|(?-i:(?<![A-Za-z])[A-Z]{{2,20}}_KEY))(?:[-_](?:value|string))?{_QUOTE}?\]?\s{{0,3}}{_IS}\s{{0,3}})"
    rf"({_QUOTED}|[^\s\"'`,;&)\]}}]{{1,400}})",
    re.IGNORECASE,
)
_PAIRED = when_used(
    r"([\"'][A-Z_]{0,40}(?:TOKEN|KEY|SECRET|PASSWORD|PASS)[\"'],\s{0,2}[\"'])([^\"'\n]{1,400})"
    r"|(\bkey[\"']?\s{0,3}[=:]\s{0,3}[\"'])(?=[^\"'\s._]{0,80}\d)(?=[^\"'\s._]{0,80}[A-Za-z])([^\"'\s._]{8,400})"
)
_OPTION = when_used(
    rf"((?<!\S)--?[a-z][\w-]{{0,40}}?(?:{_WORDS}|{_SAYS_KEY}|[-_]key|pat)\s{{1,3}}|(?<!\S)--(?:pass|key|pat)\s{{1,3}}"
    rf"|(?<!\S)--?(?:{_WORDS}|{_SAYS_KEY})\s{{1,3}})"
    rf"({_QUOTED}|[^\s\"'`]{{1,400}})",
    re.IGNORECASE,
)
_SHORT_OPTION = when_used(r"((?<!\S)-[pua]\s?)(?=[^\s/]{0,40}[A-Za-z])(?=[^\s/]{0,40}[\d:])([^\s/=-][^\s/]{3,200})")
_LOGIN = when_used(
    r"(\b(?:mysql\w{0,10}|mariadb|sshpass|redis-cli|curl|wget|psql|mongo\w{0,10}|docker login|smbclient)\b"
    r"[^|;\n]{0,300})",
    re.IGNORECASE,
)
_LOGIN_WORD = when_used(r"((?<!\S)-[pua])(\s?\S{1,200})")
_SPOKEN = when_used(
    rf"(\b({_WORDS}|token|(?:api|access|private|auth|license)[ _-]key)\s{{1,3}}((?:is|was|ist|war|est|es)\s{{1,3}})?)"
    r"([\"'`]?[^\s\"'`:=]\S{2,400})",
    re.IGNORECASE,
)
_COOKIE = when_used(
    r"(\b(?:set-)?cookie[\"']?\s{0,3}[:=]\s{0,3})((?:[^\s;]{1,400};\s{0,2}){0,20}\S{1,4000})", re.IGNORECASE
)
_HEADER = when_used(
    r"((?:authorization|x-[a-z-]{1,30}-(?:token|key)|x-api-key)[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
    r"(?:(?:bearer|basic|token|digest|negotiate|apikey)\s{1,3})?)([^\s\"',]{3,4000})",
    re.IGNORECASE,
)
_BEARER = when_used(r"(\b(?:bearer|basic|digest|negotiate)\s{1,3})([A-Za-z0-9._~+/=-]{6,4000})", re.IGNORECASE)
_URL = when_used(
    r"(\b[a-z][a-z0-9+.-]{1,20}://)([^\s/@]{0,200}:\S{1,200}?|[^\s/@:]{1,200})@(?=[\w.\[*-])", re.IGNORECASE
)
_PAIR = when_used(r"(?<![\w/:])[\w.-]{1,64}:[^\s@/:]{3,64}@(?=[\w.-])")

_NO_SECRET = when_used(
    r"[\"'`]?(?:(?:none|null|true|false|str|int|bool|ids?|length|type|\w{1,30}\.\w{3}_token(?:_id)?)(?![\w-])|$|\{|<|\[|\(|\*\*\*|tensor\("
    r"|[+-]?\d{1,6}(?:[.,]\d{1,9})?(?:\s?(?:[kmgt]i?b|[num]?s|%|x))?(?:$|[,;)\]}/]))",
    re.IGNORECASE,
)
_KEYS = when_used(
    r"api|access|secret|private|account|auth|license|sign|encrypt|storage|ssh|wandb|--?key", re.IGNORECASE
)
_NO_PASSWORD = when_used(r"[\"'`]?(?:(?:none|null|true|false|str|bool)(?![\w-])|$|\*\*\*)", re.IGNORECASE)
_PLAIN_WORD = when_used(r"[\"'`]?[A-Za-z]{1,12}[\"'`.,;:!?)]{0,3}$")
_WORDS_AFTER = frozenset({
    "a", "an", "and", "are", "as", "at", "authentication", "authentification", "auth", "by", "change", "check",
    "cannot", "can", "could", "did", "does", "doesn", "error", "expired", "failed", "failure", "file", "field",
    "for", "form", "from", "has", "hash", "hashes", "hashing", "have", "if", "in", "incorrect", "input", "into",
    "invalid", "is", "isn", "it", "manager", "mismatch", "missing", "must", "needed", "no", "none", "not", "null",
    "of", "on", "only", "or", "policy", "prompt", "protected", "protection", "reset", "required", "rejected",
    "rotation", "set", "should", "store", "stored", "string", "that", "the", "this", "to", "too", "unset", "unknown",
    "using", "value", "was", "were", "when", "which", "will", "with", "without", "wrong", "you", "your",
})  # fmt: skip
"""What goes on about a password in a sentence."""


def _mask_value(found: re.Match[str]) -> str:
    """Values that cannot be secrets (numbers of tokens, types, None) stay readable, and so does a sentence that goes on
    about tokens behind a colon."""
    prose = re.search(r"token:\s{1,3}$", found[1], re.IGNORECASE) and re.match(r"[a-z]{1,12}$|[bf]p?\d\d?$", found[2])
    return found[0] if prose or _NO_SECRET.match(found[2]) else f"{found[1]}{_hidden(found[2])}"


def _mask_password(found: re.Match[str]) -> str:
    """A password may be a number."""
    return found[0] if _NO_PASSWORD.match(found[2]) else f"{found[1]}{_hidden(found[2])}"


def _hidden(value: str) -> str:
    """A quoted value keeps its first quote; the last one was not taken."""
    quote = re.match(_QUOTE, value)
    return f"{quote[0] if quote else ''}{HIDDEN}"


def _mask_paired(found: re.Match[str]) -> str:
    """The value beside a variable's name, or of a bare `key` where no weight can be called so."""
    return f"{found[1] or found[3]}{HIDDEN}"


def _mask_option(found: re.Match[str]) -> str:
    """`--input_key messages` names a column; another key of a plain word is none either."""
    column = re.search(r"key\s{1,3}$", found[1], re.IGNORECASE) and not _KEYS.search(found[1])
    if column and _PLAIN_WORD.match(found[2]):
        return found[0]
    return found[0] if _NO_SECRET.match(found[2]) else f"{found[1]}{_hidden(found[2])}"


def _mask_login(found: re.Match[str]) -> str:
    """Programs whose short options take names and passwords."""
    return _LOGIN_WORD.sub(rf"\1{HIDDEN}", found[0])


def _mask_spoken(found: re.Match[str]) -> str:
    """In a sentence the next word is the secret, unless it goes on about it. Of tokens more is said, so what is no
    plain number and has letters and digits is taken for one."""
    whole, name, linked, value = found.groups()
    bare = value.strip("\"'`.,;:!?()").lower()
    if not bare or bare in _WORDS_AFTER or _NO_PASSWORD.match(value):
        return found[0]
    mixed = len(bare) >= 6 and re.search(r"[a-z]", bare) and re.search(r"\d", bare)
    sure = re.match("pass|pwd|kenn|contra|mot|парол", name, re.IGNORECASE) or linked
    if not sure and not mixed and _PLAIN_WORD.match(value):
        return found[0]
    if name.lower() == "token" and not mixed and len(bare) < 20:
        return found[0]
    return f"{whole}{HIDDEN}"


def _mask_scheme(found: re.Match[str]) -> str:
    """`Basic authentication` is a phrase; what is encoded has digits, capitals inside or padding."""
    return f"{found[1]}{HIDDEN}" if re.search(r"[\d=]|.[A-Z]", found[2]) else found[0]


def _mask_random(found: re.Match[str]) -> str:
    """Nobody's name has so many digits between its letters; commits and digests of files are no secrets."""
    run = found[0]
    if is_digest(found):
        return run
    digits = sum(letter.isdigit() for letter in run)
    words = run.count("/") >= 3 and digits < 6
    if run.isdigit() or run.isalpha() or digits < 3 or words:
        return run
    if run.islower() and not re.fullmatch(r"[0-9a-f]{32,}", run) and digits < 6:
        return run
    return HIDDEN


_SECRETS: tuple[Step, ...] = (
    (("hf_", "api_org_", "sk-", "pk-", "rk-", "or-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
      "akia", "asia", "aroa", "aida", "xox", "aiza", "eyj", "wandb_v", "dop_v1_", "npm_", "pypi-", "gsk", "xai",
      "nvapi", "r8", "dckr_pat", "lsv2_pt", "pplx", "sk_", "rk_", "pk_", "pat_", "ya29.", "sg.", "wandb login ",
      "login --token ", "-----begin "), _PLAIN, HIDDEN),
    (("hook", "/bot"), HOOK, mask_hook),
    (("password", "pwd"), CONNECTION, rf"\1{HIDDEN}"),
    (("ssh-", "ecdsa-"), SSH_KEY, rf"\1{HIDDEN}"),
    (("cookie",), _COOKIE, rf"\1{HIDDEN}"),
    (("authorization", "x-"), _HEADER, rf"\1{HIDDEN}"),
    (("bearer", "basic", "digest", "negotiate"), _BEARER, _mask_scheme),
    (("://",), _URL, rf"\1{HIDDEN}@"),
    (("@",), _PAIR, f"{HIDDEN}@"),
    (("mysql", "mariadb", "sshpass", "redis", "curl", "wget", "psql", "mongo", "docker", "smbclient"), _LOGIN,
     _mask_login),
    (("pass", "pw", "secret", "credential", "kennwort", "contrase", "senha"), _NAMED_PASS, _mask_password),
    (("pass", "key", "token", "sig", "session", "auth", "jwt", "webhook"), _NAMED, _mask_value),
    (("token", "key", "secret", "pass"), _PAIRED, _mask_paired),
    (("pass", "pw", "secret", "credential", "key", "token", "sig", "session", "auth", "jwt", "webhook", "pat",
      "kennwort", "contrase", "senha"), _OPTION, _mask_option),
    (("pass", "pw", "secret", "credential", "key", "token", "kennwort", "contrase", "senha"), _SPOKEN, _mask_spoken),
    (("-p", "-u", "-a"), _SHORT_OPTION, rf"\1{HIDDEN}"),
    (("",), _RANDOM, _mask_random),
)  # fmt: skip
_STEPS = (*_SECRETS, *WHEREABOUTS)  # in this order


def masked(text: str) -> str:
    """`text` with secrets, people and addresses replaced by ***, and home folders by ~."""
    # Without capitals alone it can be said that a word is missing: some letters beyond ASCII pass for plain ones.
    plain = text.lower() if text.isascii() else None
    for words, pattern, put in _STEPS:
        if plain is None or any(word in plain for word in words):
            text = pattern.sub(put, text)
    return text


MOST_BEFORE = 4
"""Words before a word that may say what it is: a program and its option."""


def masked_words(words: Sequence[str]) -> list[str]:
    """A command's words. One that the words before it make a secret is hidden whole, blanks and all."""
    shown: list[str] = []
    for number, word in enumerate(words):
        joined = "_".join(word.split())
        # A value with blanks reaches to the end of its word.
        alone = masked(joined)
        before = " ".join(words[max(0, number - MOST_BEFORE) : number])
        kept = not joined or masked(f"{before} {joined}").endswith(alone)
        shown.append((masked(word) if alone == joined else alone) if kept else HIDDEN)
    return shown
