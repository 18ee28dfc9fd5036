"""What people tell around a memory failure in their own words: what they did, what they saw, what helped.

Each entry is one observation, not a cause: rules weigh it against figures and frames. English first; the commonest
wordings of other languages stand beside it, since a text with a traceback is not put into English.
"""

_GAP = r"(?:[^.]|\.(?=\w)){0,60}?"
_NEAR = r"(?:[^.]|\.(?=\w)){0,25}?"
_WORKS = (
    r"(?:works?|worked|fits?|fitted|runs?|ran|fine|ok(?:ay)?|pass(?:es|ed)?|trains?|succeeds?|normal|no problem"
    r"|goes through|goes away|gone|geht|klappt|läuft|funktioniert|fits|marche|fonctionne|funciona|enough|solve[sd]?"
    r"|fix(?:es|ed)?|helps?|helped)(?!\w)"
    r"|正常|可以|没问题|好了|работает|помогает|проходит|идет|動(?:く|きます)|直(?:る|ります)"
)
_FAILS = (
    r"(?:fail\w{0,3}|dies?|died|crash\w{0,3}|ooms?|out of memory|runs? out|ran out|blows?|explodes?|errors?|boom"
    r"|breaks?|gives|does(?: not|n't)|won't|cannot|can't|kills?)(?!\w)|->|:|爆|报错|不行|падает|ошибка"
)
_ONE = r"(?:is |of |size )*(?:already |just |only |even |still |as low as )*(?:=|:|at|to)? ?(?:1\b(?!\.\d)|one\b)"
_USES = r"(?:run|call|time|try|request|image|generation|trial|attempt|prompt|song|inference|picture|video|round|job)"
_ROUND = r"(?:fold|trial|run|image|prompt|request|video|song|job|experiment|config)"
_CELL = (
    r"(?:it|them|this|that|everything"
    r"|(?:the |this |that )?(?:very )?(?:same )?(?:cell|call|code|function)(?: \d{1,3})?)"
)

# What is told, words of which one must stand in the text (cheap to look for), and the pattern.
OBSERVATIONS: tuple[tuple[str, str, str], ...] = (
    (
        "rerun",
        "again|restart|second|fresh|new p|release|freed|next|fold|trial|earlier|previous|alone|third"
        "|重|再|释放|перезапус|повторн|neustart|zweite|再起動",
        rf"restart\w{{0,3}}(?!(?:[^.]|\.(?=\w)){{0,42}}?(?:n't|not|no\b|nothing|still|same)){_GAP}(?:{_WORKS}|again"
        rf"|each time|every time)"
        rf"|(?:{_WORKS}){_GAP}after (?:a |the |every )?(?:\w{{1,10}} )?restart"
        r"|\b(?:have|had|need) to restart\b"
        rf"|\b(?:ran|run|rerun|re-?ran|re-?run|running|execut\w{{1,3}}|call\w{{0,3}}) {_CELL} (?:again|twice"
        rf"|a second time)"
        rf"|first (?:{_USES}|one|cell|model)\b{_GAP}(?:{_WORKS}){_GAP}(?:second|next|2nd|another"
        rf"|again){_GAP}(?:{_FAILS})"
        rf"|(?:{_WORKS}) (?:only |exactly )?(?:once|(?:the |on the |for the |only the )?first {_USES})\b"
        rf"|(?:second|2nd|third|next) {_USES}\b{_GAP}(?:same|this|a) (?:notebook|process|session|kernel|python)"
        rf"|\b(?:new|fresh|separate|clean) (?:process|python|kernel|session|interpreter|runtime)\b{_GAP}(?:{_WORKS})"
        rf"|\b{_ROUND}s? ?#?[1-9]\b{_GAP}(?:{_WORKS}|{_FAILS}){_GAP}\b{_ROUND}s? ?#?[1-9]\b"
        rf"|\b(?:each|single|any|every|one) {_ROUND}\b{_NEAR}(?:alone|own process|by itself)|\bafter the (?:second"
        rf"|third|2nd|3rd)"
        r" (?:click|reload|image|request|song|video|job|prompt)|memory (?:from|of) (?:the |my )?(?:earlier|previous"
        r"|last|first|old)"
        r"|(?:not|never|isn't|wasn't) (?:being )?(?:freed|released)|old (?:model|objects?) (?:stays?|still|remains?)"
        r"|(?:previous|last|earlier|first) (?:model|run|cell|load\w{0,3}) (?:is|was) (?:still|never|not)"
        r"|重启(?:[^.]){0,16}(?:正常|可以|好了|没问题|就行)|再(?:跑|运行|执行|试)一次|没有?(?:被)?释放|重开(?:[^.]){0,20}正常"
        r"|第二次(?:[^.]){0,12}(?:爆|报错|失败|不行)|перезапус\w{0,6}(?:[^.]){0,40}(?:работает|помога|проходит|нормально)"
        r"|повторн\w{1,4} запуск|neustart\w{0,4}(?:[^.]){0,40}(?:geht|läuft|klappt|funktioniert)"
        r"|beim zweiten (?:mal|aufruf|lauf|durchlauf|start)|再起動すると|2回目(?:で|は|に)",
    ),
    (
        "climbs", "memory|usage|vram|nvidia-smi|gpu|显存|speicher|памят|メモリ",
        r"(?:memory|usage|vram|nvidia-smi|consumption|utili[sz]ation)\b(?:[^.]|\.(?=\d)){0,40}?\b(?:go(?:es|ing)? up"
        r"|grow\w{0,3}"
        r"|ris(?:es?|ing)|increas\w{1,3}|climb\w{0,3}|creep\w{0,3}|adds? up|leak\w{0,3}|accumulat\w{1,3})\b"
        r"|显存(?:[^.]){0,24}(?:增加|增长|上涨|越来越|上升|累积)|speicher(?:[^.]){0,30}(?:wächst|steigt)"
        r"|памят\w{0,3}(?:[^.]){0,30}раст[её]т"
        r"|メモリ(?:[^.]){0,20}増え",
    ),
    (
        "collects", "list|append|collect|keep|store|concat|save all|gather|列表|список|liste",
        r"\b(?:into|in|to) (?:a |one |my |the )?(?:python )?(?:list|dict|array)\b|\bappend\w{0,3}\b|\bcollect\w{0,3}\b"
        r"|\bkeep\w{0,3} (?:them|all|the|every)|\bstor\w{1,3} (?:them|all|the|every)|\bconcat\w{0,6}\b|列表|в список"
        r"|\bliste\b",
    ),
    (
        "no_grad_absent", "grad|inference_mode",
        rf"(?:без|忘(?:了|记)?加?|没(?:有)?(?:用|加)?|\bohne|\bsans|\bsin|n't use|not use|didn't use|n't have)(?:[^.]"
        rf"|\.(?=\w)){{0,24}}?(?:no_grad|inference_mode)"
        rf"|\b(?:no|(?<!with and )(?<!with or )without|forgot|forgotten|missing|lacks?|miss|omitted|removed|not (?:in"
        rf"|inside|using|wrapped))\b{_GAP}"
        rf"(?:no_grad|inference_mode|no grad\b)|(?:no_grad|inference_mode)(?:\(\))?{_NEAR}(?:was |is "
        rf"|were )?(?:missing|absent|forgotten"
        rf"|removed|{_WORKS})|(?:{_WORKS}){_GAP}(?:with|in|inside|under|put|wrap\w{{0,4}}|use)\b{_NEAR}(?:no_grad"
        rf"|inference_mode)"
        r"|\bgrad_fn\b|autograd (?:is|was|left) on",
    ),
    (
        "loaded_twice", "twice|second|both|two |copy|copies|再加载|两次|两份",
        r"\bload\w{0,3}\b(?:[^.]|\.(?=\d)){0,40}?\b(?:twice|a second time|two times|once more|both)\b|\b(?:two|second"
        r"|both) (?:full )?"
        r"(?:copies|copy|instances?|models?|pipelines?)\b(?:[^.]|\.(?=\d)){0,40}?(?:memory|card|gpu|alive|same time"
        r"|keep|kept|fit|once|vram|loaded)"
        r"|\bkeep\w{0,3} both\b|\bboth (?:stay|are kept|remain|live|of them|models)|\b(?:one|a line|line) alone\b"
        r"|with either\b"
        r"|\b(?:on the (?:card|gpu)|in (?:vram|memory)) twice\b|copy of the (?:policy|model) as (?:the |a )?ref"
        r"|加载了?两(?:次|份)",
    ),
    (
        "loading", "load|lad|加载|загруз|charg|carg|ロード|shard|weights",
        r"\b(?:while|during|when|at|on|already|before|whilst|in) (?:\w{1,10} ){0,3}?(?:loading|load)\b"
        r"|\bloading (?:the )?(?:shards|model|weights"
        r"|checkpoint)|\bbeim laden\b|加载(?:[^.]){0,10}(?:时|就|报|爆)|при загрузке|au chargement"
        r"|al cargar|ロード(?:時|中)"
        r"|\b(?:can(?:no|')t|cannot|unable to|fails? to|trying to|try to) load\b",
    ),
    (
        "batch_size_matters", "batch|批",
        rf"batch\w{{0,6}}(?:[ _-]?size)?\W{{0,4}}(?:of |size |=)?\d{{1,5}}\b(?:[^.]|\.(?=\d)){{0,40}}?(?:{_WORKS})"
        rf"|\b(?:smaller|reduc\w{{1,3}}|half|halv\w{{1,3}}|lower\w{{0,3}}) (?:of )?(?:the )?batch{_GAP}(?:{_WORKS})"
        rf"|\bwith (?:batch )?\d{{1,4}} it (?:{_WORKS})|batch(?:[^.]){{0,30}}(?:{_WORKS})(?:[^.]){{0,30}}\d{{2,4}}",
    ),
    (
        "long_input", "token|long|context|document|字",
        rf"\b\d{{2,4}}[ ,]?(?:k|000|\d{{3}})[- ]?(?:long )?tokens?\b{_GAP}\b(?:document|prompt|input|context|file|book"
        rf"|text|contract)"
        rf"|\b(?:document|prompt|input|context|file|book|text|contract|article"
        rf"|transcript)s?\b{_GAP}\b\d{{2,4}}[ ,]?(?:k|000|\d{{3}})[- ]?tokens"
        r"|\b(?:one|a|single|very) (?:very )?long (?:document|prompt|input|context|file|book|text|contract)",
    ),
    (
        "large_picture", "x|pixel|resolution|4k|8k|image|tile|video",
        r"\b(?:1[5-9]\d\d|[2-9]\d{3}|1\d{4}) ?[x×*] ?(?:1[0-9]\d\d|[2-9]\d{3}|1\d{4})\b|\bmega ?pixels?\b"
        r"|\b\d{2,3} ?mp\b"
        r"|\b(?:high|higher|full|large|4k|8k)[- ](?:resolution|res|image|picture|photo|scan|frame)s?\b"
        r"|\b[48]k (?:video|frames?|images?)",
    ),
    (
        "beams", "beam|num_return",
        rf"\b(?:num_)?beams?\b{_GAP}(?:{_WORKS}|greedy|{_FAILS})|greedy{_NEAR}(?:{_WORKS}){_GAP}beam"
        rf"|num_return_sequences"
        rf"{_GAP}(?:{_FAILS})",
    ),
    (
        "evaluating", "eval|compute_metrics|predict|validation",
        r"\b(?:during|in|at|when|while|once|as soon as|as) (?:the )?(?:\w{1,10} )?(?:eval\w{0,7}|prediction)\b|(?:only"
        r"|when|with|pass|without|if)(?:[^.]){0,24}compute_metrics|"
        r"\beval_accumulation_steps\b|training (?:is|was|runs|works|passes|goes)(?:[^.]){0,40}(?:eval|predict)"
        r"|evaluation(?:[^.]){0,30}(?:starts|begins)",
    ),
    (
        "stepping", "optimizer|optimiser|adam",
        r"\b(?:first|at|in|on|during|calling) (?:the )?(?:first )?(?:optimi[sz]er\.step|optimi[sz]er step"
        r"|step of the optimi[sz]er)"
        r"|optimi[sz]er(?:'s)? (?:states?|moments?)(?:[^.]){0,60}(?:created|allocated|fill|fit)"
        r"|backward fit(?:[^.]){0,60}(?:optimi[sz]er|step)",
    ),
    (
        "saving", "sav|export|consolidat|checkpoint",
        r"\b(?:when|while|at|on|during|only|as soon as) (?:it is |it |i |the )?(?:sav(?:e|es|ing)|exporting"
        r"|consolidat\w{1,4}|checkpointing)\b"
        r"|save_(?:model|pretrained|checkpoint|state)\b(?:[^.]){0,40}(?:oom|fails|dies|runs out|crash)",
    ),
    ("sharded", "fsdp|zero|deepspeed|sharded", r"\bfsdp\d?\b|\bzero[- ]?[123]\b|zero stage|\bdeepspeed\b"
    r"|\bfully ?sharded"),
    (
        "validating", "validat|sample|preview",
        r"\bvalidation[ _](?:prompts?|images?|pipeline|samples?)|\bsample images? during"
        r"|\bevery \d{1,6} steps\b(?:[^.]){0,60}(?:validat|copy|preview)",
    ),
    (
        "worker_loads", "worker|__main__|spawn|subprocess",
        r"\b(?:each|every|per|all) (?:\w{1,12} )?(?:worker|process|subprocess)\w{0,2}\b(?:[^.]){0,60}\b(?:loads?"
        r"|loading|reloads?|imports?|runs the)"
        r"|load\w{0,3}(?:[^.]){0,40}\b(?:in|by|once per|for|per) (?:each|every|\w{0,10} ?)worker|no (?:if )?__name__"
        r"|without (?:an? )?(?:if )?__name__",
    ),
    (
        "restores", "map_location|torch.load",
        rf"map_location{_NEAR}(?:{_WORKS}|is not|isn't|not given|missing)|(?:without|no|forgot) map_location|\b(?:each"
        rf"|every|all) (?:rank|process)\w{{0,2}}"
        r"(?:[^.]|\.(?=\w)){0,40}torch\.load",
    ),
    (
        "one_full", "gpu|card|cuda:|device|卡",
        r"\b(?:gpu|card|cuda:|device) ?[0-9]\b(?:[^.]|\.(?=\d)){0,50}?\b(?:full|fills?"
        r"|\d{2}(?:\.\d)? ?/ ?\d{2})\b(?:[^.]|\.(?=\d)){0,60}?"
        r"(?:\b(?:others?|rest|second|gpu ?[1-9]|card ?[1-9]|gpus|cards)\b)"
        r"|\b(?:first|one|only one) (?:gpu|card|device)\b(?:[^.]|\.(?=\d)){0,40}?\b(?:full|fills?)\b(?:[^.]"
        r"|\.(?=\d)){0,60}?\b(?:second|others?|rest)\b"
        r"|\b(?:second|other|third|rest|remaining)(?: \w{1,8})? (?:is|are|has|have|isn't|aren't|sits?|stays?)(?:[^.]"
        r"|\.(?=\d)){0,30}?\b(?:idle|empty|untouched"
        r"|unused|free|touched|room|nothing)|\bisn't touched\b|\bnot touched\b|(?:free|room|left"
        r"|empty) on (?:the )?(?:second|other|each of|gpu ?[1-9])"
        r"|第[二2](?:块|张)(?:[^.]){0,12}(?:空|没)",
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
        "calibrating", "calib",
        rf"\bcalibrat\w{{2,4}} (?:samples?|set|data\w{{0,3}}|examples?)|\bnsamples\b|num_calibration{_NEAR}\d",
    ),
    (
        "held_elsewhere", "process|else|colleague|user|zombie|before|someone|别人|其他|другой|anderer",
        r"\bzombie\b|\b(?:someone|somebody|anyone|everyone) else\b|\b(?:a |my )?(?:colleague|coworker|roommate"
        r"|labmate)\w{0,2}\b|\banother (?:user|process|program"
        r"|python|job|training|notebook|container)|\bother (?:users?|process(?:es)?|programs?|jobs?)\b(?:[^.]"
        r"|\.(?=\d)){0,40}?\b(?:hold|use|using|on|occup|tak|run)"
        r"|\bbefore (?:i|my (?:script|program|job)) (?:even )?(?:start|run|launch)\w{0,2}\b(?:[^.]"
        r"|\.(?=\d)){0,60}?\d ?[gm]i?b|别人|其他(?:人|进程|程序)|被占(?:满|用)"
        r"|другой процесс|другим процессом|anderer prozess|(?:ollama|vllm|comfyui|game|browser|chrome) (?:is "
        r"|was )?(?:still )?(?:running|open)",
    ),
    (
        "mid_generation", "turn|chat|token|message|conversation|history|answer|generat|轮",
        r"\bafter (?:about |some |around |~)?(?:\d{1,5}|a few|several|many|some) (?:turns?|messages?|questions?|rounds"
        r"|answers|replies|tokens)\b"
        r"|\b(?:chat|conversation|history|context)\b(?:[^.]){0,40}\b(?:gets?|grows?|becomes?|longer)\b"
        r"|\bin the middle of (?:the|an|its) (?:answer|generation|reply|response)"
        r"|\bgenerat\w{1,4}\b(?:[^.]){0,20}\b(?:for|up to|about) \d{3,6} (?:new )?tokens\b(?:[^.]){0,20}(?:then|dies"
        r"|fails)|\d{1,3} ?轮",
    ),
    (
        "serving", "request|serv",
        r"\b(?:starts?|started|running|serv(?:es?|ing)|works|up)\b(?:[^.]|\.(?=\d)){0,60}?\b(?:after|for|until|then"
        r"|when)\b(?:[^.]|\.(?=\d)){0,60}?\brequests?\b",
    ),
    ("engine", "vllm|sglang|tgi|lmdeploy|tensorrt", r"\bvllm\b|\bsglang\b|\btgi\b|\blmdeploy\b|\btensorrt-llm\b"
    r"|text-generation-inference"),
    (
        "capturing", "captur|enforce_eager|enforce-eager|cuda graph|disable-cuda-graph",
        rf"\b(?:while|during|when|at|in) (?:the )?(?:cuda )?(?:graphs? )?captur\w{{1,4}}"
        rf"|captur\w{{1,4}} (?:the )?(?:model for )?(?:cuda )?graphs?\b"
        rf"|(?:enforce[_-]eager|disable-cuda-graph)\S{{0,6}}{_NEAR}(?:{_WORKS}|starts)",
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
        "grows_squared", "4x|quadrat|square|16 times|n^2|four times|eager",
        r"\bquadratic\w{0,4}|\bgrows? with the square|\bfour times (?:the|as much) memory|\bn\^2\b|twice the (?:tokens"
        r"|length)(?:[^.]){0,30}(?:four|4) ?(?:x|times)"
        r"|(?:4x|four times) (?:the )?(?:longer|length|tokens)(?:[^.]){0,40}16|attn_implementation\W{1,4}eager",
    ),
    (
        "vocabulary", "vocab|15193|15206|12825|logits|248320|262144|256000",
        r"\b(?:\d{1,3} ?[x×*]|tokens|sequence|length|batch)\b(?:[^.]){0,50}[x×*] ?(?:the )?(?:vocab\w{0,6}|15193\d"
        r"|152064|12825\d|32000|256000|262144|50257|248320|129280)\b",
    ),
    (
        "recomputation", "checkpointing",
        rf"gradient[ _]checkpointing(?:[^.]){{0,40}}(?:{_WORKS})|(?:no|without|not|off|disabled|forgot"
        rf"|is not)(?:[^.]){{0,30}}gradient[ _]checkpointing"
        r"|gradient[ _]checkpointing\S{0,3} (?:is |was )?(?:off|disabled|not|false)|(?:turn\w{0,3}"
        r"|switch\w{0,3}) on gradient[ _]checkpointing",
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
        "builds_differ", "nvcc|cu1|driver|toolkit|reinstall",
        rf"(?:nvcc|toolkit|driver)(?:[^.]|\.(?=\d)){{0,40}}?\b(?:cu\d{{2,3}}|torch)\b|reinstall\w{{0,3}}(?:[^.]"
        rf"|\.(?=\d)){{0,50}}?(?:{_WORKS})",
    ),
)  # fmt: skip
