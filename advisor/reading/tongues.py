"""What people tell in other languages than English, word by word in the English that the rules are written in.

Only the words that such a description needs are known: what is slow, what is compared, what was measured. A stem ends
in `*`. Only `bare` is put into English; what is shown and quoted stays as it was pasted.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from advisor.patterns import when_used
from advisor.reading.cleaning import Line

ENOUGH = 2
"""Different small words of a language that must stand in a text; one alone may be a name."""
LONGEST = 12_000
"""Characters of a text that are looked at for small words."""
_SPACES = when_used(r" {2,}")


@dataclass(frozen=True)
class Tongue:
    """A language: small words, or the script, that tell it, and its words in English as `word: english`."""

    told_by: str
    words: str
    spaced: bool = True


_TONGUES = (
    Tongue(
        r"ich|und|der|das|nicht|ist|auf|wird|warum|wieso|aber|habe|eine[nmrs]?|nur|bei|wenn|wie|dem|den|zu|von|kann"
        r"|wir",
        "langsam: slow; langsamer: slower; schneller: faster; länger: longer; dauert: takes; braucht: takes; "
        "brauchen: take; ewig: forever; sekunden: seconds; pro sekunde: per second; sekunde: second; läuft nur: runs "
        "only; minuten: minutes; minute: minute; "
        "stunden: hours; mehr: more; mehreren: several; mehrere: several; beiden: both; beide: both; zwei: two; "
        "drei: three; vier: four; karten: cards; karte: card; grafikkarte: card; eine: one; einer: one; einem: one; "
        "einzelne*: single; einzige*: single; verteilt: spread; statt: instead of; nur: only; erste*: first; "
        "aufruf*: call; durchlauf: run; mal: time; start: start; neustart: reboot; lade*: load; geladen: loaded; "
        "modell*: model; gewichte*: weights; quantisiert*: quantized; kompilier*: compiled; danach: afterwards; "
        "später: later; wieder: again; alle: all; kerne: cores; prozessor: processor; ohne: without; "
        "halb so: half as; doppelt*: twice; ausgelastet: busy; auslastung: utilization; leerlauf: idle; "
        "durchsatz: throughput; standardmäßig: by default; ausgelagert: offloaded; netzlaufwerk: network drive; "
        "festplatte: hard disk; bleibt bei: stays at; auf der cpu: on the cpu; nacheinander: one after another; "
        "kein*: no; anzugeben: specifying; angegeben: specified; gleich*: same; "
        "gleichzeitig: at the same time; abwechselnd: alternating; aufgeteilt: split; wartet: waits; "
        "cpu bei: CPU at; prozessor bei: CPU at; gpu bei: GPU at; grafikkarte bei: GPU at; "
        "nutzt die gpu nicht: not using "
        "the GPU; nutzt die karte nicht: not using the GPU; nutzt die grafikkarte nicht: not using the GPU; "
        "reihum: in turn; grafikspeicher: VRAM; genutzt: used; rechnet: computes",
    ),
    Tongue(
        r"je|est|une|les|avec|pas|pourquoi|mais|fois|sans|des|du|c'est|j'ai|que|dans|pour|et|ça|il|mes",
        "lente*: slow; lent: slow; plus lent: slower; plus lente: slower; plus rapide: faster; plus long: longer; "
        "moins rapide: slower; prend: takes; prennent: take; met: takes; secondes: seconds; heures: hours; "
        "plusieurs: several; deux: two; trois: three; quatre: four; cartes: cards; carte: card; un seul: one; "
        "une seule: one; seul*: single; répartis*: spread; réparti*: spread; au lieu de: instead of; "
        "seulement: only; première fois: first time; premier appel: first call; première: first; premier: first; "
        "appel: call; démarrage: start; redémarrage: reboot; charge*: load; chargement: load; modèle*: model; "
        "poids: weights; quantifié*: quantized; compilé*: compiled; ensuite: afterwards; après: after; "
        "encore: again; tous: all; coeurs: cores; cœurs: cores; processeur: processor; sans: without; "
        "préciser: specifying; spécifier: specifying; moitié: half; deux fois: twice; go: GB; mo: MB; "
        "débit: throughput; inactif*: idle; par défaut: by default; disque réseau: network drive; "
        "déchargé*: offloaded; reste à: stays at; sur le cpu: on the cpu; l'un après l'autre: one after another; "
        "processeur à: CPU at; cpu à: CPU at; carte graphique à: GPU at; gpu à: GPU at; "
        "n'utilise pas le gpu: not using "
        "the GPU; n'utilise pas la carte: not using the GPU; n'utilise pas ma carte: not using the GPU; "
        "à tour de rôle: in turn; en même temps: at the same time; attend: waits; partagé*: split",
    ),
    Tongue(
        r"el|los|las|una|pero|por qué|más|que|en|es|del|para|cuando|mismo|tengo",
        "lent*: slow; más lent*: slower; más rápid*: faster; tarda*: takes; demora*: takes; segundos: seconds; "
        "minutos: minutes; horas: hours; varias: several; varios: several; ambas: both; dos: two; tres: three; "
        "cuatro: four; tarjetas: cards; tarjeta: card; una sola: one; un solo: one; una: one; sol*: only; "
        "repartid*: spread; en vez de: instead of; primera vez: first time; primera llamada: first call; "
        "primer*: first; llamada: call; arranque: start; reinici*: reboot; carga*: load; modelo*: model; "
        "pesos: weights; cuantizad*: quantized; compilad*: compiled; después: afterwards; luego: then; "
        "otra vez: again; todos: all; núcleos: cores; procesador: processor; sin: without; mitad: half; "
        "el doble: twice; inactiv*: idle; por defecto: by default; disco de red: network drive; "
        "procesador al: CPU at; cpu al: CPU at; gpu al: GPU at; tarjeta al: GPU at; no usa la gpu: not using the GPU; "
        "no usa la tarjeta: not using the GPU; no usa mi gpu: not using the GPU; "
        "en la cpu: on the cpu; por turnos: in turn; al mismo tiempo: at the same time; a la vez: at the same time; "
        "dividid*: split; espera: waits",
    ),
    Tongue(
        r"não|uma|mas|por que|mais|meu|minha|para|em|dos|sem|só|quando|você|três|isso",
        "lent*: slow; mais lent*: slower; mais rápid*: faster; demora*: takes; leva: takes; segundos: seconds; "
        "minutos: minutes; horas: hours; várias: several; vários: several; ambas: both; duas: two; dois: two; "
        "três: three; quatro: four; placas: cards; placa: card; uma só: one; só: only; apenas: only; uma: one; "
        "dividid*: spread; em vez de: instead of; primeira vez: first time; primeira chamada: first call; "
        "primeir*: first; chamada: call; reinici*: reboot; carreg*: load; modelo*: model; pesos: weights; "
        "quantizad*: quantized; quantizar: quantizing; compilad*: compiled; depois: afterwards; de novo: again; "
        "todos: all; núcleos: cores; processador: processor; sem: without; metade: half; o dobro: twice; "
        "ocios*: idle; por padrão: by default; disco de rede: network drive; na cpu: on the cpu",
    ),
    Tongue(
        r"il|che|una|più|perché|ma|del|della|mio|mia|è|sono|quando|ho|anche",
        "lent*: slow; più lent*: slower; più veloc*: faster; impiega: takes; ci mette: takes; secondi: seconds; "
        "minuti: minutes; ore: hours; diverse: several; entrambe: both; due: two; tre: three; quattro: four; "
        "schede: cards; scheda: card; una sola: one; una: one; solo: only; invece di: instead of; "
        "prima volta: first time; prima chiamata: first call; riavvi*: reboot; avvio: start; caric*: load; "
        "modello: model; pesi: weights; quantizzat*: quantized; compilat*: compiled; dopo: afterwards; poi: then; "
        "di nuovo: again; tutti: all; senza: without; metà: half; il doppio: twice; inattiv*: idle; "
        "sulla cpu: on the cpu",
    ),
    Tongue(
        r"[а-яё]{2,}",
        "медленнее: slower; медленн*: slow; тормозит: slow; быстрее: faster; дольше: longer; долго: long time; "
        "занимает: takes; уходит: takes; секунд*: seconds; сек: s; с: s; мс: ms; минут*: minutes; мин: minutes; "
        "часов: hours; больше: more; несколько: several; нескольких: several; двух: two; две: two; два: two; "
        "карт: cards; карты: cards; карте: card; карта: card; видеокарт*: card; одной: one; одна: one; один: one; "
        "вместо: instead of; только: only; первый: first; первая: first; первом: first; первого: first; "
        "вызов*: call; запуск*: start; прогон*: run; втор*: second; раз: time; перезагрузк*: reboot; "
        "загрузк*: load; загружа*: load; модел*: model; вес*: weights; квантован*: quantized; "
        "скомпилирован*: compiled; потом: then; затем: then; снова: again; все: all; ядра: cores; "
        "процессор*: processor; без: without; вдвое: twice; гб: GB; ток/с: tok/s; токен*: tokens; простаива*: idle; "
        "по умолчанию: by default; на cpu: on the cpu; сетев*: network drive; "
        "раскидан*: split; разбит*: split; поделен*: split; распредел*: split; разложен*: split; обе: both; "
        "обеих: both; одновременно: at the same time; по очереди: in turn; поочередно: in turn; "
        "поочерёдно: in turn; вторая стоит: the second idle; другая стоит: the other idle; ждёт: waits; ждет: waits; "
        "процессор загружен на: CPU at; процессор на: CPU at; цп на: CPU at; cpu на: CPU at; cpu загружен на: CPU at; "
        "видеокарта на: GPU at; видеокарта загружена на: GPU at; карта на: GPU at; gpu на: GPU at; гпу на: GPU at; "
        "не использует карту: not using the GPU; не использует видеокарту: not using the GPU; не использует gpu: not "
        "using the GPU; в секунду: per second; "
        "на процессоре: on the cpu; почти не занята: hardly used; не используется: is not used; видеопамять: VRAM",
    ),
    Tongue(
        r"[\u3040-\u30ff]",
        "遅く: slower; 遅い: slow; 速い: faster; 時間がかか: takes long time; かかり: takes; かかる: takes; "
        "秒: seconds; 分: minutes; 枚: cards; 複数: several; 2枚: two cards; 1枚: one card; 最初の1回: first time; "
        "初回: first time; 最初: first time; だけ: only; 再起動: reboot; 起動: start; 読み込: load; ロード: load; "
        "モデル: model; 重み: weights; 量子化: quantized; コンパイル: compiled; その後: afterwards; "
        "もう一度: again; 二回目: second; 2回目: second; すべて: all; コア: cores; 使われ: used; なし: without; "
        "半分: half; 倍: twice; トークン: tokens; 毎秒: per second; デフォルト: by default; "
        "ネットワークドライブ: network drive",
        spaced=False,
    ),
    Tongue(
        r"[\u4e00-\u9fff]",
        "更慢: slower; 变慢: slower; 慢: slow; 更快: faster; 需要: takes; 花了: took; 每秒: per second; "
        "秒: seconds; 分钟: minutes; 小时: hours; 多卡: several GPUs; 多张: several; 两张: two; 两块: two; "
        "双卡: two cards; 单卡: one card; 一张: one; 显卡: card; 卡: card; 只有: only; 仅: only; "
        "第一次: first time; 首次: first time; 第二次: second; 重启: reboot; 启动: start; 加载: load; 模型: model; "
        "权重: weights; 量化: quantized; 编译: compiled; 之后: afterwards; 然后: then; 再次: again; "
        "全部核心: all cores; 核心: cores; 没有使用: not used; 几乎没有占用: hardly used; 显存: VRAM; "
        "一直是: stays at; 空闲: idle; 利用率: utilization; 吞吐: throughput; 提升: improvement; 两张卡: "
        "two cards; 两块卡: two cards; 四张卡: four cards; 单张: one; 一半: half; 两倍: twice; "
        "默认: by default; 没有: without; 网络盘: network drive; "
        "几乎没占用: hardly used; 没占用: not used; 几乎不占: hardly used; 跑满: at 100%; 打满: at 100%; "
        "在 cpu 上: runs on the CPU; 在cpu上: runs on the CPU; 用 cpu 跑: runs on the CPU; 一个字一个字: slow; "
        "很卡: slow; 轮流: in turn; 同时: at the same time; 交替: alternating; 分到: split; 分布在: split over; "
        "切分: split; 另一张: the other; 个: ",
        spaced=False,
    ),
)


def in_english(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines with what is known of another language put into English; English lines as they are."""
    text = " ".join(line.bare for line in lines).lower()
    tongue = next((tongue for tongue in _TONGUES if _told(tongue, text)), None)
    if tongue is None:
        return tuple(lines)
    pattern, words = _glossary(tongue)
    return tuple(replace(line, bare=_line(line.bare, pattern, words)) for line in lines)


def _told(tongue: Tongue, text: str) -> bool:
    bounds = rf"(?<!\w)(?:{tongue.told_by})(?!\w)" if tongue.spaced else tongue.told_by
    return len(set(re.findall(bounds, text[:LONGEST]))) >= ENOUGH


@lru_cache(maxsize=len(_TONGUES))
def _glossary(tongue: Tongue) -> tuple[re.Pattern[str], Mapping[str, str]]:
    """The pattern of all its words, the longest first, and what each means."""
    pairs = [pair.split(":") for pair in tongue.words.split(";")]
    words = {word.strip(): english.strip() for word, english in pairs}
    ordered = sorted(words, key=len, reverse=True)
    either = "|".join(re.escape(word.rstrip("*")) + (r"\w{0,20}" if word.endswith("*") else "") for word in ordered)
    bounds = rf"(?<![^\W\d])(?:{either})(?!\w)" if tongue.spaced else either
    return re.compile(bounds, re.IGNORECASE), words


def _line(bare: str, pattern: re.Pattern[str], words: Mapping[str, str]) -> str:
    english = pattern.sub(lambda found: f" {_meaning(found[0].lower(), words)} ", bare)
    return _SPACES.sub(" ", english)


def _meaning(found: str, words: Mapping[str, str]) -> str:
    """What a found word means: its own entry, or that of the longest stem that it begins with."""
    if found in words:
        return words[found]
    stems = (word for word in words if word.endswith("*") and found.startswith(word[:-1]))
    return words.get(max(stems, key=len, default=""), found)
