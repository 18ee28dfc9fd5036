"""Secrets that stand without a word that says so: addresses of webhooks, connection strings, keys of ssh. And digests
that look like secrets and are none."""

import re

from advisor.patterns import when_used
from advisor.reading.whereabouts import HIDDEN, is_known

HOOK = when_used(
    r"((?:\bhttps?://)?(?<![\w.@-])(?:hooks\.[\w.-]{1,100}|[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}(?::\d{1,5})?"
    r"(?:/[\w.-]{1,60}){0,4}/(?:incoming-?)?webhook\w{0,4}|(?<=://)[\w.-]{1,100}(?:/[\w.-]{1,60}){0,4}/hook)/)[^\s\"'<>]{3,2000}"
    r"|(/bot)\d{5,20}:[\w-]{6,100}",
    re.IGNORECASE,
)
"""Who knows the path of a webhook may post there."""
CONNECTION = when_used(
    r"((?<![\w-])(?:password|pwd)\s?=\s?)(?!none|null|true|false|str\b)([^;\"'`\n=]{1,120})(?=;)", re.IGNORECASE
)
"""A password in a connection string reaches to the semicolon, blanks and all."""
SSH_KEY = when_used(
    r"(\b(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-\w{1,20})\s{1,3})"
    r"(?:AAAA\S{1,4000}(?:[ \t]{1,3}[\w.-]{1,64}@[\w.-]{1,100})?|\S{1,4000}[ \t]{1,3}[\w.-]{1,64}@[\w.-]{1,100})"
)
"""A public key ends with its owner and machine."""
_DIGEST = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SAYS_DIGEST = re.compile(
    r"(?:\b(?:commit|revision|rev|checksum|digest|blob|etag|(?:git|commit|file|content)[-_ ]?hash"
    r"|HEAD(?: is)?(?: now)? at|(?:git[-_ ]|commit[-_ ])?sha[-_]?(?:1|256)?(?:sum)?)\b[\"']?\s{0,3}[=:]?\s{0,3}[\"']?"
    r"|\b(?:github|gitlab|huggingface)\.com?/[\w.-]{1,60}/[\w.-]{1,80}@)$",
    re.IGNORECASE,
)
_BEFORE = 200


def mask_hook(found: re.Match[str]) -> str:
    """The site stays readable where it is a public one of documentation; of others nothing is left of the path."""
    if found[2]:
        return f"{found[2]}{HIDDEN}"
    host = re.sub(r"^https?://", "", found[1], flags=re.IGNORECASE).split("/")[0]
    return found[0] if is_known(host) else f"{found[1]}{HIDDEN}"


def is_digest(found: re.Match[str]) -> bool:
    """Whether a run of letters and digits is a commit or the digest of a file, by the word before or the file behind.

    A commit is a SHA-1 (40 digits), a file's digest a SHA-256 (64).
    """
    if not _DIGEST.fullmatch(found[0]):
        return False
    before = found.string[max(0, found.start() - _BEFORE) : found.start()]
    listed = len(found[0]) == 64 and re.match(r"  \w|  \./| \*\w", found.string[found.end() : found.end() + 4])
    return bool(listed or _SAYS_DIGEST.search(before))
