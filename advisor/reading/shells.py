"""How shells in other languages than English write that a program was killed, as a line of its own."""

from collections.abc import Sequence

from advisor.patterns import when_used
from advisor.reading.cleaning import Line

KILLED = frozenset(
    word.casefold()
    for word in (
        "Abgebrochen (Killed)", "Buĉita", "Bị buộc kết thúc", "Bị giết", "Dibunuh", "Drept", "Dræbt", "Dödad",
        "Geëlimineerd", "Getötet", "Kilőve", "Maraithe", "Matado", "Matat", "Mort", "Morto", "Morto (Killed)", "Murdu",
        "Nutraukta (killed)", "Omorât", "Pobit", "Processus arrêté", "Slået ihjel", "Süreç durduruldu", "Tapettu",
        "Terbunuh", "Terminado (killed)", "Tué", "Ubijen", "Ucciso", "Unicestwiony", "Uničen", "Zabit",
        "Zabit (SIGKILL)", "Zabitý", "Öldürüldü", "Σκοτώθηκε", "Безусловно прекъснат", "Вбито", "Вбитий", "Забіты",
        "Убит", "Убито", "Убијен", "已杀死", "強制終了", "強制結束", "죽었음",
    )
)  # fmt: skip
"""What the message catalogues of the GNU C library 2.36 and of bash 5.2 give for `Killed`."""
LAST_LINES = 60
"""Lines from the end that are looked at: the shell writes when the program is gone."""
_JOB = when_used(r"(?:\S{1,60}: \S{1,12} \d+:\s+\d+\s+)?(?:\[\d+\]\s*[+-]?\s*)?(?:\d{1,8}\s)?")
_COMMAND = when_used(r"\s{2,}\S.{0,200}")


def killed_at(lines: Sequence[Line]) -> int | None:
    """The number of the last line in which a shell tells, in another language, that a program was killed."""
    for number in range(len(lines) - 1, max(-1, len(lines) - 1 - LAST_LINES), -1):
        bare = lines[number].bare.strip()
        job = _JOB.match(bare)
        told = _COMMAND.split(bare[job.end() if job else 0 :], maxsplit=1)[0]
        if told.rstrip(" .").casefold() in KILLED:
            return number
    return None
