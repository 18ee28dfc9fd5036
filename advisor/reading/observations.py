"""What people tell of a run that ran out of memory, in their own words: what they did, what they saw, what helped.

Each entry is one observation, not a cause: rules weigh it against figures and frames. English first; the commonest
wordings of other languages stand beside it, since a text with a traceback is not put into English. Any number of them
may hold; what an account without a message needs is in `situations`.
"""

from advisor.reading.shared_words import FAILS, GAP, NEAR, WORKS

_USES = r"(?:run|call|time|try|request|image|generation|trial|attempt|prompt|song|inference|picture|video|round|job)"
_ROUND = r"(?:fold|trial|run|image|prompt|request|video|song|job|experiment|config)"
_TALKS = r"(?:chat|conversation|dialog|discussion|thread|topic|game)"
_CELL = (
    r"(?:it|them|this|that|everything"
    r"|(?:the |this |that )?(?:very )?(?:same )?(?:cell|call|code|function)(?: \d{1,3})?)"
)

# What is told, words of which one must stand in the text (cheap to look for), and the pattern.
OF_THE_RUN: tuple[tuple[str, str, str], ...] = (
    (
        "rerun",
        "again|restart|first|once|second|fresh|new |release|freed|next|fold|trial|earlier|previous|alone|third|unload"
        "|relaunch|reopen|clos|quit|clean|cold|behind"
        "|times|twice|try|until"
        "|重|再|释放|перезапус|повторн|neustart|zweite|再起動",
        rf"restart\w{{0,3}}(?! (?:the |a |my |that )?{_TALKS})(?!(?:[^.]|\.(?=\w)){{0,42}}?(?:n't|not|no\b|nothing"
        rf"|still|same)){GAP}(?:{WORKS}|again"
        rf"|each time|every time)"
        rf"|(?:{WORKS}){GAP}after (?:a |the |every )?(?:\w{{1,10}} )?restart"
        r"|\b(?:have|had|need|forced) to restart\b|\b(?:on|at|in|for|during) (?:the |a |my )?(?:second|2nd|next)"
        r" (?:try|run|attempt|call|time|image|go|generation|model|request|song|video|fold|trial)\b"
        r"|\b(?:run|execute|call) again (?:the|on)\b|\b(?:until|unless) i restart"
        rf"|\b(?:ran|run|rerun|re-?ran|re-?run|running|execut\w{{1,3}}|call\w{{0,3}}) {_CELL} (?:again|twice"
        rf"|(?:multiple|several|many|two) times|repeatedly"
        rf"|a second time)"
        rf"|first (?:{_USES}|one|cell|model)\b{GAP}(?:{WORKS}){GAP}(?:second|next|2nd|another"
        rf"|again){GAP}(?:{FAILS})"
        rf"|(?:{WORKS}) (?:only |exactly )?(?:once|(?:the |on the |for the |only the )?first {_USES})\b"
        rf"|(?:second|2nd|third|next) {_USES}\b{GAP}(?:same|this|a) (?:notebook|process|session|kernel|python)"
        rf"|\b(?:new|fresh|separate|clean|cold) (?:process|python|kernel|session|interpreter|runtime|start|launch"
        rf"|instance)\b{GAP}(?:{WORKS})|\b(?:clos|quit|exit|relaunch|reopen)\w{{0,4}} (?:the |my )?"
        rf"(?:web ?ui|ui|gui|app\w{{0,8}}|server|program|whole thing)\b{GAP}(?:{WORKS})|\bunload\w{{0,3}}\b{GAP}"
        rf"\b(?:load|switch|mov)\w{{0,4}} (?:to )?"
        rf"(?:the |an? )?(?:model [b-z2-9]|another|second|next|other|different|new|bigger|larger|smaller|[b-z])\b"
        rf"|(?:{WORKS}){GAP}\bin an? (?:new|fresh|separate|clean) (?:process|python|interpreter|session|kernel|runtime)"
        rf"|\bfrom the (?:second|2nd) \w{{1,12}}(?: \w{{1,12}}){{0,3}} on\b|\bafter the first run\b"
        rf"|\bout on the second\b"
        rf"|\b(?:stays?|remains?|remained|stayed)(?: \w{{1,12}}){{0,2}} behind\b"
        rf"|\b{_ROUND}s? ?#?[1-9]\b{GAP}(?:{WORKS}|{FAILS}){GAP}\b{_ROUND}s? ?#?[1-9]\b"
        rf"|\b(?:each|single|any|every|one) (?:{_ROUND}|model)\b{NEAR}(?:alone|own process|by itself)"
        rf"|\bafter the (?:second"
        rf"|third|2nd|3rd)"
        r" (?:click|reload|image|request|song|video|job|prompt)|memory (?:from|of) (?:the |my )?(?:earlier|previous"
        r"|last|first|old)"
        r"|(?:not|never|isn't|wasn't) (?:being )?(?:freed|released)|old (?:model|objects?) (?:stays?|still|remains?)"
        r"|(?:previous|last|earlier|first) (?:model|run|cell|load\w{0,3}) (?:is|was) (?:still|never|not)"
        r"|重启(?:[^.]){0,16}(?:正常|可以|好了|没问题|就行)|再(?:跑|运行|执行|试)一次|上(?:一)?次(?:[^.]){0,14}没有?(?:被)?释放|重开(?:[^.]){0,20}正常"
        r"|第二次(?:[^.]){0,12}(?:爆|报错|失败|不行)|перезапус\w{0,6}(?:[^.]){0,40}(?:работает|помога|проходит|нормально)"
        r"|повторн\w{1,4} запуск|neustart\w{0,4}(?:[^.]){0,40}(?:geht|läuft|klappt|funktioniert)"
        r"|beim zweiten (?:mal|aufruf|lauf|durchlauf|start)|再起動すると|2回目(?:で|は|に)",
    ),
    (
        "climbs", "memory|usage|vram|nvidia-smi|gpu|显存|speicher|памят|メモリ",
        r"\b(?:accumulat|leak)\w{0,3} (?:gpu |cuda )?memory|"
        r"(?:memory|usage|vram|nvidia-smi|consumption|utili[sz]ation)\b(?:[^.]|\.(?=\d)){0,40}?\b(?:go(?:es|ing)? up"
        r"|grow\w{0,3}"
        r"|ris(?:es?|ing)|increas\w{1,3}|climb\w{0,3}|creep\w{0,3}|adds? up|leak\w{0,3}|accumulat\w{1,3})\b"
        r"|(?:显存|vram)(?:[^.]){0,24}(?:增加|增长|上涨|越来越|上升|累积)|speicher(?:[^.]){0,30}(?:wächst|steigt)"
        r"|памят\w{0,3}(?:[^.]){0,30}раст[её]т"
        r"|メモリ(?:[^.]){0,20}増え",
    ),
    (
        "repeats", "every|each|per |with|after|loop|until|迭代|每|随着|轮|jede|кажд",
        r"\b(?:every|each|per|with each|after each|after \d{1,6}|at \w{1,10}) (?:\w{1,12} )?(?:iterations?|steps?"
        r"|batch(?:es)?|epochs?"
        r"|images?|files?|samples?|frames?|run|loops?|documents?|videos?|clips?)\b|\bin a (?:for )?loop\b|\bfor loop\b"
        r"|迭代|每(?:个|次|一)|随着|轮次"
        r"|\bjede[mnrs]? |кажд\w{1,4} (?:шаг|батч|итерац|эпох)",
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
        rf"|inside|using|wrapped))\b{GAP}"
        rf"(?:no_grad|inference_mode|no grad\b)|(?:no_grad|inference_mode)(?:\(\))?{NEAR}(?:was |is "
        rf"|were )?(?:missing|absent|forgotten"
        rf"|removed|{WORKS})|(?:{WORKS}){GAP}(?:with|in|inside|under|put|wrap\w{{0,4}}|use)\b{NEAR}(?:no_grad"
        rf"|inference_mode)"
        r"|\bgrad_fn\b|whether(?:[^.]|\.(?=\w)){0,25}?(?:no_grad|inference_mode)|autograd (?:is|was|left) on",
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
        rf"batch\w{{0,6}}(?:[ _-]?size)?\W{{0,4}}(?:of |size |=)?\d{{1,5}}\b(?:[^.]|\.(?=\d)){{0,40}}?(?:{WORKS})"
        rf"|\b(?:smaller|reduc\w{{1,3}}|half|halv\w{{1,3}}"
        rf"|lower\w{{0,3}}) (?:of )?(?:the )?\S{{0,20}}batch{GAP}(?:{WORKS})"
        rf"|batch(?:[^.]){{0,10}}(?:调小|减小|改小|降低)|(?:调小|减小|降低)(?:[^.]){{0,8}}batch"
        rf"|\bwith (?:batch )?\d{{1,4}} it (?:{WORKS})|batch(?:[^.]){{0,30}}(?:{WORKS})(?:[^.]){{0,30}}\d{{2,4}}",
    ),
    (
        "long_input", "token|long|context|document|字",
        rf"\b\d{{2,4}}[ ,]?(?:k|000|\d{{3}})[- ]?(?:long )?tokens?\b{GAP}\b(?:document|prompt|input|context|file|book"
        rf"|text|contract)"
        rf"|\b(?:document|prompt|input|context|file|book|text|contract|article"
        rf"|transcript)s?\b{GAP}\b\d{{2,4}}[ ,]?(?:k|000|\d{{3}})[- ]?tokens"
        r"|\b(?:one|a|single|very) (?:very )?long (?:document|prompt|input|context|file|book|text|contract)",
    ),
    (
        "large_picture", "x|upscal|esrgan|pixel|resolution|4k|8k|image|tile|video",
        r"\b(?:1[5-9]\d\d|[2-9]\d{3}|1\d{4}) ?[x×*] ?(?:1[0-9]\d\d|[2-9]\d{3}|1\d{4})\b|\bmega ?pixels?\b"
        r"|\b\d{2,3} ?mp\b"
        r"|\b(?:high|higher|full|large|4k|8k)[- ](?:resolution|res|image|picture|photo|scan|frame)s?\b"
        r"|\b[48]k (?:video|frames?|images?)"
        r"|\bupscal\w{1,4}\b(?:[^.]){0,40}\b(?:image|photo|picture|frame|video|\d{3,4})|\besrgan\b",
    ),
    (
        "beams", "beam|num_return",
        rf"\b(?:num_)?beams?\b{GAP}(?:{WORKS}|greedy|{FAILS})|greedy{NEAR}(?:{WORKS}){GAP}beam"
        rf"|num_return_sequences"
        rf"{GAP}(?:{FAILS})",
    ),
    (
        "evaluating", "eval|compute_metrics|predict|validation",
        r"\b(?:during|in|at|when|while|once|as soon as|as) (?:the )?(?:\w{1,10} )?(?:eval\w{0,7}|prediction)\b|(?:only"
        r"|when|with|pass|without|if)(?:[^.]){0,24}compute_metrics|"
        r"\beval_accumulation_steps\b|training (?:is|was|runs|works|passes|goes)(?:[^.]){0,40}(?:eval|predict)"
        r"|evaluation(?:[^.]){0,30}(?:starts|begins)|\bafter (?:the |each |every )?(?:first )?evaluat"
        r"|compute_metrics(?:[^.]){0,16}(?:commented|removed|off\b|none)",
    ),
    (
        "stepping", "optimizer|optimiser|adam",
        r"\b(?:first|at|in|on|during|calling) (?:the )?(?:first )?(?:optimi[sz]er\.step|optimi[sz]er step"
        r"|step of the optimi[sz]er)"
        r"|optimi[sz]er(?:'s)? (?:states?|moments?)(?:[^.]){0,60}(?:created|allocated|fill|fit)"
        r"|backward fit(?:[^.]){0,60}(?:optimi[sz]er|step)"
        r"|\bsgd\b.{0,60}\badam\w?\b.{0,20}\b(?:gives|cuda|ooms?|fails|runs out|dies|not|doesn't)\b"
        r"|\badam\w?\b.{0,80}\bsgd (?:works"
        r"|fits|is fine|trains|runs)|\b(?:with|using)"
        r" sgd (?:it |everything )?(?:works|fits|trains|runs)",
    ),
    (
        "validating", "validat|sample|preview",
        r"\bvalidation[ _](?:prompts?|images?|pipeline|samples?)|\bsample images? during"
        r"|\bevery \d{1,6} steps\b(?:[^.]){0,60}(?:validat|copy|preview)",
    ),
    (
        "calibrating", "calib|nsamples|quanti",
        rf"\bcalib\w{{0,8}} (?:samples?|set|data\w{{0,3}}|examples?)|\bn_?samples\b|num_calibration{NEAR}\d"
        r"|\b(?:quanti[sz]\w{2,6}|awq|gptq)\b(?:[^.]){0,60}\b\d{1,5} samples",
    ),
    (
        "mid_generation", "turn|chat|dialog|forth|多轮|token|message|conversation|history|answer|generat|轮",
        r"\b(?:after|for) (?:about |some |around |roughly |~)?(?:\d{1,5}|a few|several|many|some) (?:turns?"
        r"|messages?|questions?"
        r"|rounds|exchanges"
        r"|answers|replies|tokens)\b|\b(?:certain|large) number of (?:\w{1,14} )?(?:turns|messages)|\b(?:for"
        r"|after) (?:a )?few messages"
        r"|\bback and forth\b|多轮"
        r"|\b(?:chat|conversation|dialog\w{0,3}|history|context)\b(?:[^.]){0,40}\b(?:gets?|grows?|becomes?|longer)\b"
        r"|\bin the middle of (?:the|an|its) (?:answer|generation|reply|response)"
        r"|\bgenerat\w{1,4}\b(?:[^.]){0,20}\b(?:for|up to|about) \d{3,6} (?:new )?tokens\b(?:[^.]){0,20}(?:then|dies"
        r"|fails)|\d{1,3} ?轮",
    ),
    (
        "grows_squared", "4x|quadrat|square|16 times|n^2|four times|eager",
        r"\bquadratic\w{0,4}|\bgrows? with the square|\bfour times (?:the|as much) memory|\bn\^2\b|twice the (?:tokens"
        r"|length)(?:[^.]){0,30}(?:four|4) ?(?:x|times)"
        r"|(?:4x|four times) (?:the )?(?:longer|length|tokens)(?:[^.]){0,40}16|attn_implementation\W{1,4}eager",
    ),
    (
        "vocabulary", "vocab|15193|15206|12825|logits|softmax|248320|262144|256000",
        r"\b(?:\d{1,3} ?[x×*]|tokens|sequence|length|batch)\b(?:[^.]){0,50}[x×*] ?(?:the )?(?:vocab\w{0,6}|15193\d"
        r"|152064|12825\d|32000|256000|262144|50257|248320|129280)\b"
        r"|\b(?:full|fp32|float32|upcast\w{0,2})(?:[- ]vocab\w{0,6})?(?: \w{1,8})? logits\b|\blogits (?:alone|tensor"
        r"|matrix|take|need)"
        r"|\blog_?softmax (?:runs )?out of memory|\bvocab\w{0,6} (?:of|is|size|=|≈|~){1,2} ?(?:\d{3},?\d{3}|\d{3}k)\b",
    ),
    (
        "recomputation", "checkpointing",
        r"\b(?:with|enabl\w{1,3}|on|after|once|use"
        r"|using) (?:\w{1,8} ){0,2}gradient[ _]checkpointing(?:[^.]){0,40}\b(?:works|fits|runs?|ran|worked"
        r"|passes|helps|fixes|solves)\b|(?:no|without|not|off|disabled|forgot"
        r"|is not)(?:[^.]){0,30}gradient[ _]checkpointing"
        r"|gradient[ _]checkpointing\S{0,3} (?:is |was )?(?:off|disabled|not|false)|(?:turn\w{0,3}"
        r"|switch\w{0,3}) on gradient[ _]checkpointing",
    ),
)  # fmt: skip
