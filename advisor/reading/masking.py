"""Secrets and personal paths do not come back out: not in quoted lines, not in anything printed.

Patterns follow the published formats of the tokens. When in doubt a value is masked.
"""

import re
from collections.abc import Callable

from advisor.patterns import when_used

HIDDEN = "***"

_PLAIN = when_used(
    "|".join(
        (
            r"\b(?:hf|api_org)_[A-Za-z0-9]{6,}",
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
            r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}",
            r"\bya29\.[A-Za-z0-9_-]{10,}|\bSG\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
            r"(?<=wandb login )\S{8,200}|(?<=login --token )\S{4,200}",
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.{0,4000}",
        )
    )
)
_NAMED = when_used(
    r"""((?:pass(?:word|wd|phrase)?|pwd|secret(?:[-_]?(?:access)?[-_]?key)?|(?:access|auth|api|session|bearer|hf|hub|refresh)
        [-_]?(?:key|token)|token|apikey|credentials?|wandb_api_key|signature|x-amz-signature|sig|account[-_]?key|shared[-_]?access[-_]?key)
        ["']?\s{0,3}(?:=|:|=>)\s{0,3}["']?)([^\s"',;&)\]}]{3,400})""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADER = when_used(
    r"(authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:(?:bearer|basic|token|digest)\s{1,3})?)([^\s\"',]{3,4000})",
    re.IGNORECASE,
)
_BEARER = when_used(r"(\bbearer\s{1,3})([A-Za-z0-9._~+/=-]{8,4000})", re.IGNORECASE)
_URL = when_used(r"(\b[a-z][a-z0-9+.-]{1,20}://)([^\s/@:]{1,200}):([^\s/@]{1,200})@", re.IGNORECASE)
_MAIL = when_used(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b")
_HOME = when_used(
    r"((?:/home/|/[Uu]sers/|[A-Za-z]:[\\/]{1,2}(?:Users|Documents and Settings)[\\/]{1,2}))([^\\/\s\"':,;)]{1,80})"
)
# A name with spaces reaches to the next separator; without one, the shorter form above takes the first word.
_WINDOWS_HOME = when_used(
    r"([A-Za-z]:[\\/]{1,2}(?:Users|Documents and Settings)[\\/]{1,2})([^\\/\n\"':;<>|]{1,60})(?=[\\/])"
)
_PROMPT = when_used(r"\b[\w.-]{1,32}@[\w-]{1,63}(?=:[~/]| [~/])")
_PRIVATE = when_used(
    r"(?<![\d.])(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})(?![\d.]\d)"
)
"""Addresses of private networks (RFC 1918): they tell about a company's machines and help nobody."""
_NO_SECRET = when_used(r"(?:none|null|true|false|\d{1,6}|str|int|bool|\{.*|<.*|\[.*|ids?|length|type)$", re.IGNORECASE)


_Put = str | Callable[[re.Match[str]], str]


def _mask_value(found: re.Match[str]) -> str:
    """Values that cannot be secrets (numbers of tokens, types, None) stay readable."""
    return found[0] if _NO_SECRET.match(found[2]) else f"{found[1]}{HIDDEN}"


_STEPS: tuple[tuple[tuple[str, ...], re.Pattern[str], _Put], ...] = (
    (("hf_", "api_org_", "sk-", "pk-", "rk-", "or-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
      "akia", "asia", "aroa", "aida", "xox", "aiza", "eyj", "wandb_v", "dop_v1_", "npm_", "pypi-", "gsk", "xai",
      "nvapi", "r8", "dckr_pat", "lsv2_pt", "pplx", "sk_", "rk_", "pk_", "ya29.", "sg.", "wandb login ",
      "login --token ", "-----begin "), _PLAIN, HIDDEN),
    (("authorization",), _HEADER, rf"\1{HIDDEN}"),
    (("bearer",), _BEARER, rf"\1{HIDDEN}"),
    (("://",), _URL, rf"\1{HIDDEN}:{HIDDEN}@"),
    (("pass", "pwd", "secret", "key", "token", "credential", "sig"), _NAMED, _mask_value),
    (("@",), _MAIL, HIDDEN),
    (("@",), _PROMPT, HIDDEN),
    (("10.", "192.168", "172."), _PRIVATE, HIDDEN),
    (("users", "documents and settings"), _WINDOWS_HOME, r"\1~"),
    (("/home/", "users", "documents and settings"), _HOME, r"\1~"),
)  # fmt: skip
"""In this order: words of which one stands in whatever the pattern finds, the pattern, and what is put in its place."""


def masked(text: str) -> str:
    """`text` with secrets replaced by *** and the names of home folders left out."""
    # Without capitals alone it can be said that a word is missing: some letters beyond ASCII pass for plain ones.
    plain = text.lower() if text.isascii() else None
    for words, pattern, put in _STEPS:
        if plain is None or any(word in plain for word in words):
            text = pattern.sub(put, text)
    return text
