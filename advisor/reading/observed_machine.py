"""What people tell of devices, processes and engines around a memory failure, in the manner of `observations`."""

from advisor.reading.shared_words import GAP, NEAR, WORKS

_CARD = r"(?:[2345]0[5-9]0(?: ?(?:ti|super))?|[ahlvtp]\d{2,3}s?|mi\d{2,3}x?|titan)"
_ROOM = (
    r"(?:\s?\)| \([^()]{1,24}\))?(?: \w{1,10}){0,2}? (?:has|have|shows|with|keeps|reports?)(?: \w{1,10}){0,2}?"
    r" (?:[2-9]|\d{2,3})(?:\.\d{1,2})? ?gi?b (?:\w{1,8} )?(?:free|left|unused|to spare|available)\b"
)
"""Room on a device, told right behind its name."""

# What is told, words of which one must stand in the text (cheap to look for), and the pattern.
OF_THE_MACHINE: tuple[tuple[str, str, str], ...] = (
    (
        "saving", "sav|export|consolidat|checkpoint",
        r"\b(?:when|while|at|on|during|only|as soon as) (?:it is |it |i |the )?(?:sav(?:e|es|ing)|exporting"
        r"|consolidat\w{1,4}|checkpointing)\b|\bdisabl\w{1,3} (?:model )?checkpointing|\bcollat\w{1,4} all"
        r"|save_(?:model|pretrained|checkpoint|state)\b(?:[^.]){0,40}(?:oom|fails|dies|runs out|crash)",
    ),
    ("sharded", "fsdp|zero|deepspeed|sharded", r"\bfsdp\d?\b|\bzero[- ]?[123]\b|zero stage|\bdeepspeed\b"
    r"|\bfully ?sharded"),
    (
        "worker_loads", "worker|__main__|spawn|subprocess",
        r"\b(?:each|every|per|all) (?:\w{1,12} )?(?:worker|process|subprocess)\w{0,2}\b(?:[^.]){0,60}(?:\bloads?"
        r"|loading|reloads?)\b(?:[^.]){0,24}\b(?:models?|weights|checkpoint|script|module|everything|again)"
        r"|\b(?:each|every|all) (?:worker|subprocess)\w{0,2}\b(?:[^.]){0,40}\b(?:imports|runs) the"
        r"|(?:model|weights|checkpoint)\w{0,2}\b.{0,40}?\b(?:in|by|once per|for|per) (?:each "
        r"|every )?(?:\w{1,12} )?worker|no (?:if )?__name__"
        r"|without (?:an? )?(?:if )?__name__",
    ),
    (
        "restores", "map_location|torch.load|resum|load_from_checkpoint",
        rf"map_location{NEAR}(?:{WORKS}|is not|isn't|not given|missing)|(?:without|no|forgot) map_location|\b(?:each"
        rf"|every|all) (?:rank|process)\w{{0,2}}"
        r"(?:[^.]|\.(?=\w)){0,40}torch\.load"
        r"|\b(?:solved|fixed|helps|works)(?:[^.]){0,40}map_location"
        r"|\b(?:resum\w{1,3}|load_from_checkpoint)\b(?:[^.]|\.(?=\w)){0,100}?\b(?:processes|gpu ?0|first gpu"
        r"|main gpu)\b",
    ),
    (
        "one_full", "gpu|card|cuda:|device|卡|gb free|gib free|gb left|gb unused|to spare",
        r"\b(?:gpu|card|cuda:|device) ?[0-9]\b(?:[^.]|\.(?=\d)){0,50}?\b(?:full|fills?"
        r"|\d{2}(?:\.\d)? ?/ ?\d{2})\b(?:[^.]|\.(?=\d)){0,60}?"
        r"(?:\b(?:others?|rest|second|gpu ?[1-9]|card ?[1-9]|gpus|cards)\b)"
        r"|\b(?:first|one|only one) (?:gpu|card|device)\b(?:[^.]|\.(?=\d)){0,40}?\b(?:full|fills?)\b(?:[^.]"
        r"|\.(?=\d)){0,60}?\b(?:second|others?|rest)\b"
        r"|\b(?:second|other|third|rest|remaining)(?: \w{1,8})? (?:is|are|has|have|isn't|aren't|sits?|stays?)(?:[^.]"
        r"|\.(?=\d)){0,30}?\b(?:idle|empty|untouched"
        r"|unused|free|touched|room|nothing)|\bisn't touched\b|\bnot touched\b|(?:free|room|left"
        r"|empty) on (?:the )?(?:second|other|each of|gpu ?[1-9])"
        r"|第[二2](?:块|张)(?:[^.]){0,12}(?:空|没)"
        rf"|\b(?:gpu|device|cuda|card|rocm|vulkan) ?:?(\d)\b.{{0,600}}?\b(?:gpu|device|cuda|card|rocm"
        rf"|vulkan) ?:?(?!\1)\d{_ROOM}"
        rf"|\b({_CARD})\b.{{0,900}}?\b(?!\2){_CARD}{_ROOM}",
    ),
    (
        "elsewhere", "cuda:|gpu ?|cuda_visible|set_device",
        r"\b(?:on|to|is|uses?|device) \W?(?:cuda:|gpu ?)[1-9]\b.{0,160}?\b(?:cuda:|gpu ?)0\b.{0,60}?\b(?:full|used"
        r"|busy|occupied|taken|instead|context"
        r"|why|allocat\w{0,5}|anyway)\b|\b(?:allocat\w{0,5}|opened|creat\w{1,4}|context|goes|lands)\W.{0,20}(?:cuda:"
        r"|gpu ?)0\b"
        r"|set_device\([1-9]\)(?:[^.]){0,40}(?:works|helps|fixes)",
    ),
    (
        "on_later_device", "cuda:|gpu",
        r"\b(?:model|everything|tensors?|inputs?|layer|data|all of it|x|it)\b.{0,30}?\b(?:on|to) \W{0,2}(?:cuda:"
        r"|gpu ?)[1-9]\b"
        r"|(?:cuda:|gpu ?)[1-9]\b.{0,12}\bwhere\b",
    ),
    (
        "first_device_full", "cuda:0|gpu 0|gpu0",
        r"(?:cuda:|gpu ?)0\b.{0,40}?\b(?:full|used|busy|occupied|taken|someone|another)\b",
    ),
    (
        "held_elsewhere", "shared|process|else|colleague|user|zombie|before|someone|别人|其他|другой|anderer",
        r"\bzombie\b|\b(?:someone|somebody|anyone|everyone) else\b|\b(?:a |my )?(?:colleague|coworker|roommate"
        r"|labmate)\w{0,2}\b|\banother (?:user|process|program"
        r"|python|job|training|notebook|container)|\bother (?:users?|process(?:es)?|programs?|jobs?)\b(?:[^.]"
        r"|\.(?=\d)){0,40}?\b(?:hold|use|using|on|occup|tak|run)"
        r"|\bbefore (?:i|my (?:script|program|job)) (?:even )?(?:start|run|launch)\w{0,2}\b(?:[^.]"
        r"|\.(?=\d)){0,60}?\d ?[gm]i?b|别人|其他(?:人|进程|程序)|被占(?:满|用)"
        r"|другой процесс|другим процессом|anderer prozess|(?:ollama|vllm|comfyui|game|browser|chrome) (?:is "
        r"|was )?(?:still )?(?:running|open)"
        r"|\b(?:used|held|occupied) by (?:user|another|other)\w{0,8}\b|\b(?:node|server|machine|gpu) is shared"
        r"|\bshared (?:gpu|node|server|machine|cluster)",
    ),
    (
        "serving", "request|serv|traffic|uptime",
        r"\b(?:starts?|started|running|serv(?:es?|ing)|works|up)\b(?:[^.]|\.(?=\d)){0,60}?\b(?:after|for|until|then"
        r"|when)\b(?:[^.]|\.(?=\d)){0,60}?\brequests?\b|\b(?:served|handled|answered|processed) (?:\S{1,14} ){0,4}"
        r"(?:requests?|prompts|queries|users|calls)\b|\b(?:thousands|hundreds|millions|\d{1,4}k) (?:of )?(?:\w{1,12} )?"
        r"(?:requests|prompts|queries)\b|\b(?:after|for) (?:about |some |several )?\w{1,6} (?:hours?|days?|weeks?"
        r"|minutes)"
        r" (?:of |under |in )(?:\w{1,12} )?(?:traffic|load|serving|production|uptime|service|requests)",
    ),
    ("engine", "vllm|sglang|tgi|lmdeploy|tensorrt", r"\bvllm\b|\bsglang\b|\btgi\b|\blmdeploy\b|\btensorrt-llm\b"
    r"|text-generation-inference"),
    (
        "capturing", "captur|enforce_eager|enforce-eager|cuda graph|disable-cuda-graph",
        rf"\b(?:while|during|when|at|in) (?:the )?(?:cuda )?(?:graphs? )?captur\w{{1,4}}"
        rf"|captur\w{{1,4}} (?:the )?(?:model for )?(?:cuda )?graphs?\b"
        rf"|(?:enforce[_-]eager|disable-cuda-graph)\S{{0,6}}{NEAR}(?:{WORKS}|starts)",
    ),
    (
        "token_range", "token|embedding|vocab|position|512|index out of range in self",
        r"\badd(?:ed|ing)? (?:\w{1,10} ){0,3}(?:special )?tokens?\b|resiz\w{1,3} (?:the )?(?:token )?embeddings?"
        r"|resize_token_embeddings|index out of range in self"
        r"|\b(?:longer than|more than|over|above|exceed\w{0,3}) (?:512|1024|2048|4096) (?:tokens|positions)"
        r"|\btoken ids?\b(?:[^.]){0,40}(?:vocab|range|larger|bigger)"
        r"|vocab_size(?:[^.]){0,40}(?:mismatch|smaller|larger|differs)",
    ),
    (
        "label_range", "label|class|target|标签|метк",
        r"\blabels?\b(?:[^.]|\.\.){0,30}?(?:\b1 ?(?:\.\.|-|to|~) ?\d{1,4}\b|go from 1|start(?:s|ing)? (?:at|from"
        r"|with) 1|out of (?:range|bounds)|(?:are|is|were) -\d|[<>]=? ?\d)"
        r"|target \d{1,6} is out of bounds|\b(?:num_(?:labels|classes)|number of (?:classes"
        r"|labels))\b(?:[^.]){0,40}\b(?:wrong|was|instead|but|too)|标签(?:[^.]){0,10}(?:减|越界|从1)",
    ),
    (
        "tiny_card", "gb|mb|mx|gtx|quadro|jetson",
        r"\bmx ?(?:1[135]0|2[35]0|330|350|450)\b|\bgtx ?(?:9[56]0m?|1050|1650)\b|\b(?:gt ?(?:7[1234]0|1030))\b"
        r"|\bquadro (?:k|p|t|m)\d{3}m?\b|\bt[46]00\b|jetson nano"
        r"|\b[1-4] ?gi?b (?:card|gpu|vram|of vram|graphics|laptop)|total vram (?:[1-3]?\d{3}|40\d\d) mb|\b(?:card|gpu"
        r"|vram)\b(?:[^.]){0,12}\b(?:with|of|has|only) (?:only )?[1-4] ?gi?b\b",
    ),
    (
        "block_limit", "alloc|4gb|4 gb|buffer|block|4gib|tensor",
        r"\bmax(?:imum)? (?:mem(?:ory)? )?alloc\w{0,7}|\b(?:one|single|any|a) (?:tensor|buffer|block"
        r"|allocation)\b(?:[^.]|\.(?=\d)){0,30}?\b(?:above|over|larger|bigger|more|up to)\b"
        r"(?:[^.]|\.(?=\d)){0,12}\d ?gi?b|\b(?:above|over|larger|more|beyond) than? ?4 ?gi?b\b(?:[^.]){0,20}(?:one"
        r"|single) |anything (?:over|above) 4 ?gi?b",
    ),
    (
        "builds_differ", "nvcc|cu1|cu9|driver|toolkit|reinstall|wheel",
        rf"(?<!\w)\+?cu\d{{2,3}}\b(?: (?:wheel|build|version|torch|one|binary))?{GAP}(?:{WORKS})"
        rf"|(?:{WORKS}){NEAR}\b(?:with|using) (?:the |a )?(?:torch\S{{0,12}})?\+?cu\d{{2,3}}\b"
        rf"|\b(?:other|newer|matching|different) (?:cuda )?wheel{GAP}(?:{WORKS})|"
        rf"(?:nvcc|toolkit|driver)(?:[^.]|\.(?=\d)){{0,40}}?\b(?:cu\d{{2,3}}|torch)\b|reinstall\w{{0,3}}(?:[^.]"
        rf"|\.(?=\d)){{0,50}}?(?:{WORKS})",
    ),
)  # fmt: skip
