"""What people tell in their own words: that something is slow, how times grow, what a table of devices shows.

Only words that complain or compare count; what is slow, and why, is for the rules to name.
"""

import re
from collections.abc import Sequence

from advisor.facts import Value
from advisor.reading.cleaning import Line

LONGEST_STORY = 12_000
"""Characters of a description that are looked at."""
ALIKE = 0.25
"""Times that grow like the batch: the time of one sample differs by at most this share between the sizes told."""
FULL, ROOM = 0.85, 0.6
"""A device is full, and has room, at these shares of its memory in a table."""

_SLOW = "|".join(
    (
        r"\bslow|\bsluggish|\blag(?:s|gy)?\b|\bidl(?:e|es|ing)\b|\bloses?\b|\butili[sz]ation|\bunderutili[sz]"
        r"|\blatency\b|\bthroughput\b",
        r"\blonger\b|\bforever\b|\bages\b|\btoo long\b|\bvery long\b|\blong time\b|\bbottleneck|\bfaster\b",
        r"\bspeed-?\s?ups?\b|\b(?:no|not|not any) (?:gain|benefit|improvement)",
        r"\d\s?(?:t|tok(?:en)?s?|it|samples|prompts|requests|images)\s?(?:/|per )\s?s|\b(?:s|sec|seconds|ms)/it\b",
        r"\b(?:takes?|took|needs?|needed|spends?|spent|lasts|wait(?:s|ing)?)\b(?:[^.]|\.\d){0,60}?"
        r"\b(?:seconds|secs?|s|ms|minutes|mins?|hours|h|days)\b",
        r"\d\s?(?:x|times) (?:as long|the time|slower|longer)|\btwice (?:as long|the time)",
        r"\d\s?ms\b|\b(?:in|after|within|about|only) \d{1,5}(?:\.\d{1,3})?\s?(?:s|secs?|seconds|minutes|min)\b",
        r"\d\s?% of (?:the |its |my )?(?:\w{1,12} )?time|\btokens? (?:per|a) second|\bquicker\b|\bspeed\b",
        r"\blinear(?:ly)?\b|\bjust the same\b|\bas long as\b|\bcosts? what\b|\bhalv(?:es|ed)\b|\b\d{1,4}x\b",
        r"\d\s?(?:ms|s|secs?|seconds|minutes|min|hours) (?:per|each|for|instead|vs)\b",
        r"\d\s?(?:seconds|secs)\b",
        r"\b(?:quarter of an|half an|an) hour\b|\b(?:minutes?|hours?) (?:per|for|a|each)\b|\b(?:per"
        r"|for every) (?:word|token|answer|sentence|reply)\b",
        r"\bexecution times?\b|\bno better\b|\blower than\b|\bstall\w*|\bcrawl\w*|\bcreep\w*|\bhangs?\b|\bterribl\w+",
        r"n't gain\b|\bnot gain\b|\bgains? (?:nothing|little|anything)|\bcosts? (?:the same|just as)|\bsame (?:time"
        r"|cost)\b",
        r"\bregardless\b|\bno matter how\b|n't depend\b|\bdoes not depend\b|\bindependent of\b|\bsnail|\bpoor\b",
        r"\bpainful\w*|\bunusabl\w+|\b\d+ ?x less\b|\bas fast as\b|\bstruggl\w*|\bsits? at 0\b|\bat 0 ?%",
        r"\bperformance\b[^.]{0,40}\b(?:drop|worse|bad|poor|degrad)",
    )
)
# What a description speaks of. Short names count as whole words only.
_TOPICS = {
    "fp8": r"fp8|float8|e4m3(?:fn)?|w8a8-?fp8",
    "fp8_units": r"h100s?|h200|gh200|h800|b200|40[6-9]0(?:ti)?|50[6-9]0(?:ti)?|l40s?|l4|mi3\d\d\w?|hopper|ada|blackwell"
    r"|windows|rtx 6000 ada|rtx 40\d\d|rtx 50\d\d",
    "no_fp8_units": r"a100s?|v100s?|t4s?|30[5-9]0(?:ti)?|20[6-8]0(?:ti)?|a6000|a5000|a4000|a10g?|a40|a30|ampere|turing"
    r"|volta|rtx 30\d\d|mi2\d\d\w?|p100|p40",
    "hopper": r"h100s?|h200s?|gh200|h800|h20|hopper",
    "flash3": r"fa-?3|flash[-_ ]?att(?:entio)?n[-_ ]?(?:v(?:ersion)?\s?)?3|flash_attn_interface|flash_att(?:entio)?n_3",
    "moe": r"moe|mixtures?[- ]of[- ]experts|experts|mixtral|\d+x\d+b|a\d+b|gpt-oss|olmoe|deepseek[-_ ]?v\d"
    r"|\(a\d{1,3}b?\)|glm-?[\d.]{0,4}-?air|qwen3-next|kimi-k2|llama-4|dbrx|jamba|grok-?1|phi-3\.5-moe",
    "batching": r"batch\w*",
    "no_gain": r"linear(?:ly)?|proportional(?:ly)?|no (?:benefit|gain|speed-?\s?up|improvement|advantage)"
    r"|(?:does not|doesn't|did not|didn't|not|isn't|is not|no) (?:help|improve|pay|any faster|faster|speed up"
    r"|change)\w*"
    r"|same (?:throughput|speed|time per|tokens)|just the same|flat|one by one|twice as long|doubl\w+|scales? with",
    "compile": r"torch[._ ]compile\w*|--compile|compiled|inductor|max-autotune|reduce-overhead",
    "first_call": r"(?:very )?first (?:call|run|forward|iteration|inference|generation|batch|request|step|time|pass"
    r"|image|output|result)s?"
    r"|(?:one|a) (?:single )?(?:call|run|forward)|single (?:call|run|forward)|just once|including compil\w+",
    "worse": r"slow\w*|longer|fewer|worse|lower|less|behind|no better|not (?:any )?faster|n't (?:any )?faster"
    r"|no (?:gain"
    r"|speed-?up)|drops?"
    r"|only \d+(?:\.\d+)? ?(?:tok\w*|it|t)/s|halv\w+|half",
    "initializing": r"(?:re-?)?initiali[sz]\w+|_?init_weights|torch\.nn\.init\.\w+|init\.\w+_|kaiming\w*"
    r"|reset_parameters|instantiat\w+|random weights",
    "loading": r"load\w*|from_pretrained|shards?|instantiat\w+|checkpoint\w*|start-?up|weights",
    "eight_bit": r"int8|8[- ]?bit|load_in_8bit|llm\.int8(?:\(\))?",
    "sixteen_bit": r"fp16|float16|bf16|bfloat16|16[- ]bit|half(?: precision)?|original|unquanti[sz]ed|full precision",
    "split": r"device_map\w*|split|spread|shard\w*|distributed over|balanced",
    "several_gpus": r"(?:\d{1,2}|two|three|four|six|eight|several|multiple|both|more|all|many) ?x? ?(?:nvidia |rtx "
    r"|tesla )?"
    r"(?:gpus|cards|devices|[ahvlt]\d{2,4}s?|\d{4}s?|mi\d{3}\w?|gh200s?|l40s|of them)|(?:over|across|on|both) two"
    r"|multi-?\s?gpu|second (?:gpu"
    r"|card)|\dx ?(?:rtx|a100|h100|v100|t4"
    r"|l4)\w*",
    "one_gpu": r"hid(?:e|ing|den) the (?:second|other)(?: \w+)?|cuda_visible_devices=\W?0\W?(?!,)|pinn?\w* (?:it "
    r"|each )?"
    r"(?:\w+ )?to (?:a single|one|its own)(?: \w+)?|"
    r"(?:a single|single|one|1|just one|only one|the first)(?: of (?:them|these))?(?: (?:gpu|card|device"
    r"|[ahv]\d{2,3}|\d{4}))?",
    "in_turn": r"(?:its|their) turn|others? (?:\w+ ){0,2}(?:at 0|at zero|idl\w*|wait\w*|doing nothing|do nothing)"
    r"|only (?:ever )?one(?: of them| gpu| card| device)?(?: \w+){0,2} (?:comput|work|busy|activ|run)\w*"
    r"|when(?:ever)? one (?:\w+ ){1,4}the others?(?: \w+){0,4}|while one (?:\w+ ){1,6}the others?(?: \w+){0,4}"
    r"|(?:wanders?|hops?|jumps?|moves?|travels?) from (?:gpu|card|one)(?: \w+)?|round[- ]robin|never two"
    r"|"
    r"one after (?:the other|another)|in turns?|takes? turns|alternat\w+|one at a time|one by one"
    r"|sequential\w*|idle"
    r"|only one (?:gpu|card|of them)[^.]{0,30}(?:busy|active|works|working|used)|(?:each|every)[^.]{0,30}\d ?(?:%"
    r"|percent)|never together",
    "lengths": r"(?:giant|huge|biggest|largest|monster) (?:one|chunk|text|document|sample|prompt|sequence|row|item"
    r"|entry)"
    r"|one (?:giant|huge|very long|monster)(?: \w+)?|median(?: is| of| length)? \d{1,5}|p9\d"
    r"|some (?:of them )?(?:are |have )?"
    r"(?:several|a few) (?:thousand|hundred)|(?:between|from) \d{1,6} (?:and|to|up to) \d{1,6} (?:tokens|words"
    r"|chars\w*)"
    r"|range from|unsorted|order they (?:come|arrive)|outliers?|"
    r"(?:different|mixed|varying|various|unequal|uneven|variable) (?:\w+ )?lengths?|lengths? (?:var"
    r"|differ)\w+|longest"
    r"|short and long|long and short|(?:else|others?|rest|most)(?: \w+)? (?:is|are) short\w*|one long"
    r"|(?:very )?long ones|by length",
    "server": r"(?:triton|inference|llama|tgi|api|model|http|rest|grpc|fastapi|flask|web)[- ]?server|llama-server"
    r"|tritonserver|text-generation-inference|service|endpoint|instances?|container|docker|daemon|ollama|per request"
    r"|--gpus",
    "offloaded": r"off-?load\w*(?: \w+){0,4} (?:cpu|disk|ram|hard (?:disk|drive))|(?:cpu|disk)[- ]off-?load\w*"
    r"|(?:layers|weights|parameters|params|part|parts|rest|modules|half)(?: \w+){0,5} (?:on|to|in|onto|into)"
    r" (?:the |my )?(?:cpu|disk|ram|system memory|system ram|hard disk|ssd)|meta device|hf_device_map",
    "thirty_two_bit": r"float32|fp32|32[- ]?bits?|full precision|single precision",
    "unasked": r"plain (?:\w+\.)?from_pretrained(?:\(\S*)?|just (?:call\w*|use\w*)? ?\S*from_pretrained\S*"
    r"|nothing (?:special|else)"
    r"|by default|default dtype|(?:without|no|not|n't|never|forgot\w*) (?:\w+ ){0,3}(?:torch_)?dtype"
    r"|(?:pass|set|add|giv|specif)\w* (?:\w+ ){0,3}(?:torch_)?dtype\S*(?: \w+){0,4} (?:fine|fix\w*|half|works|normal"
    r"|helps)"
    r"|(?:torch_)?dtype=\W?auto\W?",
    "kept_float32": r"(?:keep|kept|left|stays?|is|are|have|has)(?: \w+){0,3} in (?:float32|fp32)"
    r"|(?:float32|fp32) (?:layer\w*|norm\w*|head|router|weights?|param\w*|buffer\w*|bias\w*)",
    "spreads": r"rest|everything|every \w+|all (?:that|the|later|following)|following|onwards?|promot\w+|upcast\w*"
    r"|contaminat\w+",
    "half": r"fp16|float16|half|half precision|\.half\(\)|model\.half\(\)",
    "cpu": r"cpus?|xeon|epyc|ryzen|threadripper|(?:core )?i[3579]|processor|(?:without a|no) (?:gpu|graphics card)",
    "batch_one": r"bs\s?[=:]?\s?1|batch[-_ ]?size\s?[=:]?\s?(?:of )?1|batch (?:of )?(?:1|one)",
    "four_bit": r"4[- ]?bits?|nf4|fp4|int4|load_in_4bit|bnb|bitsandbytes|awq|gptq|q4\w*",
    "quantized": r"4[- ]?bits?|nf4|fp4|int4|w4a\d+|load_in_4bit|gptq|awq|hqq|quanto|quanti[sz](?:ed|ing|ation)|exl2"
    r"|eetq|aqlm"
    r"|\d[- ]bit",
    "storage": r"nfs|efs|gcs|gcsfuse|s3|hdd|usb|smb|nas|pvc|ebs|lustre|ceph|samba|sshfs|fuse"
    r"|network (?:drive|disk|file|storage|share|volume|mount)\w*|spinning disk|hard (?:disk|drive)"
    r"|external (?:drive|disk|ssd)"
    r"|google drive|mydrive|blob storage|(?:attached|mounted|persistent|remote) (?:volume|disk|bucket|share|drive)"
    r"|shared file ?system|object store|bucket|rotating disk",
}
_TIMES = re.compile(
    r"(?<![\d.])(\d{1,5})(?:\s?(?:samples|prompts|images|sequences|inputs))?\s?"
    r"(?:[:=]|->|=>|takes?|took|needs?|is|in|,)?\s{0,3}(?:about |around |~)?"
    r"(\d{1,6}(?:\.\d{1,4})?)\s?(ms|s|secs?|seconds|min|minutes)\b",
    re.IGNORECASE,
)
_COUNTED = {"one": 1, "two": 2, "three": 3, "four": 4, "six": 6, "eight": 8, "sixteen": 16, "thirty-two": 32}
_TIMES_FOR = re.compile(
    r"(?<![\d.])(\d{1,6}(?:\.\d{1,4})?)\s?(ms|s|secs?|seconds|min|minutes)? (?:for|with|at|on) (?:a batch of |batch "
    r"|bs ?=? ?)?"
    rf"(\d{{1,4}}|{'|'.join(_COUNTED)})\b",
    re.IGNORECASE,
)
_BATCHED = re.compile(
    r"batch|\bbs\b|\b(?:images?|samples|prompts|sequences|inputs) at (?:once|a time)|\bN ?="
    r"|for two\b",
    re.IGNORECASE,
)
# Who is content, or speaks of how good answers are, complains of no slowness.
_CONTENTED = re.compile(
    r"\bworks? (?:great|perfectly|like a charm|really well|very well)|\bno complaints?\b",
    re.IGNORECASE,
)
_QUALITY = re.compile(r"\b(?:quality|accuracy|perplexity|bleu|rouge|f1|wer)\b", re.IGNORECASE)
_PACE = re.compile(
    r"\bslow|\bspeed|\bfast|\blatency|\bthroughput|\btimes?\b|\bseconds|/s\b|/it\b|\bms\b"
    r"|\butili[sz]ation",
    re.IGNORECASE,
)
_FIGURES = re.compile(
    r"\d\s?(?:(?:ms|s|secs?|seconds|min|minutes)\b|(?:t|tok(?:en)?s?|it|samples|images)\s?(?:/|per "
    r"|a )\s?s)",
    re.IGNORECASE,
)
_SIZES = re.compile(r"(?<![\d.])(\d{1,4}(?:\.\d{1,3})?)\s?gi?b\b", re.IGNORECASE)
DOUBLE = (1.8, 2.2)
"""Two sizes of which one is this many times the other are those of one model in 32 and in 16 bits."""
_UNITS = {"m": 60.0, "s": 1.0}
_TABLE = re.compile(r"(\d{1,7})\s?Mi?B\s?/\s?(\d{3,7})\s?Mi?B", re.IGNORECASE)
_LOADS = re.compile(
    r"^(?:>>>\s?)?[\w., ]{1,60}=\s?(?:\w{1,60}\.)?(?:\w{0,60}(?:Model|Pipeline)\w{0,60}\.from_pretrained\(|pipeline\()"
)
_NO_MODEL = re.compile(r"(?:Tokenizer|Config|Processor|FeatureExtractor|Peft|Lora)\w*\.from_pretrained")


def complaints(story: str) -> dict[str, Value]:
    """Whether a description complains of slowness, what it speaks of, and whether its times grow like the batch."""
    story = story[:LONGEST_STORY]
    if _CONTENTED.search(story) or (_QUALITY.search(story) and not _PACE.search(story)):
        return {"slow": False, "compares": False, "topics": ()}
    compared = len(_FIGURES.findall(story)) >= 2
    return {
        "slow": compared or bool(re.search(_SLOW, story, re.IGNORECASE)),
        "compares": compared,
        "topics": tuple(name for name, words in _TOPICS.items() if _speaks_of(words, story)),
        "double_size": _double(story),
        "scales_with_batch": _BATCHED.search(story) is not None and _in_proportion(story),
        "fewer_gpus_fine": fine_on_fewer(story),
    }


def _speaks_of(words: str, story: str) -> bool:
    """Whether any of the words stands in the story as a whole word. Compiled on first use: other texts need none."""
    return re.search(rf"(?<!\w)(?:{words})(?!\w)", story, re.IGNORECASE) is not None


def _double(story: str) -> bool:
    sizes = [float(size) for size in _SIZES.findall(story)[:12]]
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
    r"|[ahvlt]\d{2,4}s?"
    r"|\d{4}s?)\b|cuda_visible_devices\S{0,20}|\bone of them\b|单卡|一张卡|单张|1 ?张|一张|一块)"
)
_FINE = (
    r"(?:\bfine\b|\bworks?\b|\bworked\b|\bok(?:ay)?\b|no (?:problem|issue|error|nan)\w*|\bgood\b|\bcorrect\b"
    r"|\bnormal\w*"
    r"|\bnever (?:happen|occur|fail)\w*|does(?: not|n't) (?:happen|occur)|goes away|disappears?|\bgone\b|problemlos"
    r"|funktioniert|正常|没问题|没有问题|可以)"
)
_FEWER = re.compile(
    rf"{_ONE_GPU}[^.]{{0,90}}?{_FINE}|{_FINE}[^.]{{0,60}}?{_ONE_GPU}"
    r"|only (?:happens|occurs|fails|when|with|on|if)(?: \w+){0,5} (?:two|2|several|multiple|more than one|4|four|both) "
    r"(?:\w+ )?(?:gpus|cards|devices)",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"\b(?:[2-9]|1[0-6]|two|three|four|eight|several|multiple|both|all|more)(?: x| \w+)? ?(?:gpus|cards|devices"
    r"|[ahvlt]\d{2,4}s?"
    r"|\d{4}s?)\b|\b[2-8] ?x ?\w+|\bx ?[2-8]\b|multi-?\s?gpu|device_map|tensor[-_ ]parallel"
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
    shares = [int(used) / int(whole) for line in lines for used, whole in _TABLE.findall(line.bare) if int(whole)]
    return len(shares) >= 2 and max(shares) >= FULL and min(shares) <= ROOM


def model_loads(lines: Sequence[Line]) -> int:
    """How many statements outside tracebacks load a model (frames show the same statement on its way through calls)."""
    shown = [line.bare for line in lines]
    before = ["", *shown]
    return sum(
        bool(_LOADS.match(code)) and not _NO_MODEL.search(code) and not previous.startswith("File ")
        for previous, code in zip(before, shown, strict=False)
    )
