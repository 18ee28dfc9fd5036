"""Situations in which people tell that memory ran out, the most particular first: of each, every sign must be found,
and only one is told for a text. They are read where prose is all there is, so they need less than an observation does;
where one means the same as an observation, it has that name. `told` gives both as `text.tells`.
"""

_GROWS = (
    r"\b(?:grow|ris(?:e|es|ing)\b|increas|climb|creep|leak)\w*|go(?:es|ing) up|more and more|eventually|slowly"
    r"|over time|(?:each|every|per|with each|after each) (?:\w+ )?(?:iteration|step|batch|image|sample|epoch|file"
    r"|document|turn|message|answer|token|call|request|video|clip|frame|page|row|question|round|reply)|(?:after"
    r"|around|at|by|until)(?: about| around| roughly| some| the)? (?:\w+ )?[\d,.]{1,9}k?(?:th)? ?(?:images?"
    r"|iterations?|steps?|batch(?:es)?|samples?|documents?|files?|turns?|messages?|tokens?|questions?|rounds?|items?"
    r"|frames?|replies)|(?:around|at|after|near) (?:image|step|iteration|batch|turn|sample|message|token|document"
    r"|file|row|question|page|item|frame|epoch|round)\b|一直涨|几轮|轮以后|轮之后|聊到|(?:around|at|after"
    r"|near) \w{3,12} \d{3,7}\b|越来越|不断|逐渐|慢慢|每一?步|\bje länger|\bwächst\b|\bsteigt\b|immer mehr"
    r"|\bnach (?:ca\. |etwa )?\d|раст[её]т|\d ?GB?, ?\d{1,3} ?GB?|\bloop\b"
)
_OFF = r"(?:false|off|disabled|not (?:on|enabled|set|used)|absent|missing)"
_FITS = (
    r"(?:i can|can do|fits?|works?|fine|peaks?|ok|enough|drops?|runs?|no problem|only|\d ?gi?b|half|passes"
    r"|goes through|no oom|gone)"
)
_SEVERAL = (
    r"\b(?:\d{1,2}|two|three|four|six|eight|several|multiple|both|all) ?x? ?(?:\w+ )?(?:gpus|cards|devices"
    r"|[ahv]\d{2,3}s?|\d{4}s?)\b|(?:gpu|card|cuda:|device) ?#?[01]\b|multi-?gpu|\bother (?:gpus?|cards?|one)\b"
    r"|\bsecond (?:gpu|card|one)\b"
)
_TRAINS = (
    r"\btrain\w*|\bfine-?\s?tun\w*|\bsft\b|\blora\b|\bepochs?\b|\bbackward\b|\bfull ft\b|\bdpo\b|\bgrpo\b|\bppo\b"
    r"|\brlhf\b"
)

SITUATIONS: tuple[tuple[str, ...], ...] = (
    ("pinned", r"pin_memory|\bpinned\b|page-?locked",
     r"pin_memory=false|without pinn\w*|pin\w* off|\bwsl\w*|ulimit|memlock|gpu is (?:\w+ )?(?:empty|free)|no pinn\w*"),
    ("worker_loads",
     r"\bspawn\b|__main__|main guard|multiprocess\w*|\bworkers?\b|process pool|\bpool\b|child process\w*",
     r"(?:each|every|all)(?: \w+){0,3} (?:worker|process|child)\w*(?: \w+){0,4} (?:load|import|re-?run|execut|tak"
     r"|hold|cop|own|has|have|appear|print)\w*|loads? (?:the |its own )?(?:\w+ )?(?:model"
     r"|weights)(?: \w+){0,2} (?:per|in each|in every|for each|for every) (?:worker|process|child)|(?:once"
     r"|one copy) per (?:worker|process)|top[- ]level code|without (?:the )?(?:main guard|if __name__)"),
    ("restores", r"torch\.load|\bresum\w+|restor\w+|load\w* (?:the )?(?:checkpoint|state)|map_location",
     r"map_location|(?:all|every|each|eight|four|two)(?: \w+){0,4} (?:ranks?|process\w*)(?: \w+){0,6} (?:gpu|cuda"
     r"|card|device):? ?0|from scratch|on top of (?:the )?model|saved from (?:cuda|gpu)|without resum\w+|first gpu"),
    ("fraction_set", r"set_per_process_memory_fraction|memory fraction|per[-_]process[-_](?:gpu_)?memory"),
    ("pool_takes_all", r"\b(?:jax|tensorflow|tf|keras|xla)\b",
     r"preallocat\w*|(?:tak|grab|reserv|allocat|claim)\w*(?: \w+){0,3} (?:all|90 ?%|75 ?%|whole|entire|everything"
     r"|nearly)|allow_growth|memory[_ ]growth|mem_fraction"),
    ("held_elsewhere",
     r"(?<!no )(?<!not )(?<!any )(?<!without )\b(?:another|someone|somebody|colleagues?|labmates?|zombie|stale"
     r"|forgotten|orphan\w*|old|other|different|second|crashed|dead|defunct)(?:'s)? (?:\w+ ){0,2}(?:process\w*"
     r"|users?|jobs?|containers?|notebooks?|scripts?|python\w*|programs?|game|ollama|comfyui|browser|instances?"
     r"|servers?|trainings?|runs?)\b|\bshared (?:gpu|card|node|machine)|(?:ollama|comfyui|a game|chrome|browser|xorg"
     r"|jupyter|lm studio)\b[^.]{0,60}(?:running|holds?|uses?|takes?|occup)|no process (?:of mine|listed)"
     r"|nothing (?:of mine )?(?:is )?running|before (?:i|my script) (?:even )?start",
     r"nvidia-smi|\bhold|\bholds?|\boccup\w*|\btakes?\b|\busing\b|\buses\b|\d ?gi?b|still running|is running"
     r"|gpu is shared"),
    ("rerun",
     r"(?:second|2nd|third|next|another|every other) (?:time|run|call|image|generation|training|trial|model"
     r"|execution|fold|cell|experiment)|\bre-?run\w*|\bagain\b|\btwice\b|after (?:a|an|the"
     r"|i)(?: \w+){0,2} (?:exception|ctrl-?c|interrupt\w*|crash\w*|error|oom|abort\w*|stop\w*)|previous|earlier"
     r"|\btrials?\b|\bfolds?\b|switch\w*|\bdel \w+",
     r"restart\w*|\bfresh\b|new process|works (?:exactly )?(?:once|one time|the first time)|first (?:time|run|one"
     r"|trial|fold|call|image|model)(?: \w+){0,3} (?:works?|worked|fine|ok|is ok|passes|goes through)|only the first"
     r"|never freed|not freed|n't freed|n't released|still (?:shows|there|occupied|in use|full|holds|allocated)"
     r"|empty_cache|gc\.collect"),
    ("loaded_twice", r"(?:two|second) (?:copies|copy|instances?) of|\b(?:loaded?|loads|created?|instantiated?) (?:it "
     r"|the model |the same \w+ )?twice|both (?:objects |models |copies |pipelines |of them )?(?:stay|live|remain"
     r"|are (?:kept|alive|in|on))|twice in (?:one|the same)|second copy|same (?:model|weights|checkpoint) (?:again"
     r"|twice|a second time)|second (?:from_pretrained|pipeline\(|pipeline)"),
    ("attention_returned", r"output_attentions|attention (?:maps?|weights) (?:as|back|returned|output|too)"
     r"|return\w* (?:the |all )?attention"),
    ("beams", r"num_beams|beam[-_ ]?search|\bbeams?\b|num_return_sequences|best_of"),
    ("sharded_saving", r"\b(?:fsdp|zero-?\s?3|zero stage 3|stage 3|deepspeed|sharded)\b",
     r"\bsav(?:e|es|ing)\b|state_dict|\bexport\w*|save_model|save_pretrained|consolidat\w*|full_state"),
    ("gathers", r"\b(?:fsdp|zero-?\s?3|zero stage 3|stage 3|stage3|sharded)\b",
     r"\bgather\w*|all-?gather|prefetch\w*|live[_ ]param\w*|unshard\w*|full param\w*"),
    ("validating", _TRAINS, r"\b(?:sav(?:e|es|ing)|checkpoint|validation|sample images?|preview)\b",
     r"\bevery \d|at step|deep-?copy|\bema\b|second (?:copy|pipeline)|\bcopy of\b|only when (?:it )?sav\w*|mid-?run"
     r"|when (?:it )?(?:saves|validates)"),
    ("kept_outputs",
     r"\.append\(|\bappend\w*\b|(?:in|into|to) a (?:python |big )?(?:list|dict|array)|torch\.(?:cat|stack)|(?:keep"
     r"|kept|stor|collect|gather|accumulat|sav|return)\w* (?:all |every |the |each |them |their "
     r"|my )?(?:[\w-]+ ){0,3}(?:outputs?|features?|embeddings?|hidden[_ ]states|losses|logits|predictions"
     r"|activations|results|tensors|vectors)|\w{0,20}loss \+=|total_loss|running_loss|loss_sum", _GROWS),
    ("evaluation", r"\beval(?:uat\w*|s)?\b|\bpredict(?:ion|ions|s)?\b|\bvalidat\w*|compute_metrics|trainer\.predict",
     r"(?:whole|entire|full|complete) (?:\w+ )?(?:set|split|dataset|dev|test)|compute_metrics|\bmetrics?\b"
     r"|eval_accumulation|train\w*(?: \w+){0,4} (?:fine|works?|ok|passes|runs?|no problem|goes|finish\w*)"
     r"|end of (?:the |each |every )?(?:epoch|eval\w*|training)|\blogits\b|halfway|\d ?%|Trainer\b"),
    ("no_grad_absent",
     r"(?:\bno|without|forgot\w*|missing|outside|not (?:in|using|inside|under|wrapped)|n't (?:us|hav|call|wrap"
     r"|put)\w*)(?: \w+){0,4} (?:torch\.)?(?:no_grad|inference_mode)|(?:加上?|用了?|忘记|忘了"
     r"|没有?)\s{0,2}(?:torch\.)?(?:no_grad|inference_mode)|(?:\bif|once|when|as soon as|after|with|adding|wrapp\w+"
     r"|under|inside|using)(?:[ ,]+[\w.'()]+){0,6}[ ,]+(?:`|@|')?(?:torch\.)?(?:no_grad"
     r"|inference_mode)[^.]{0,80}\b" + _FITS
     + r"\b|requires_grad (?:is )?(?:still )?(?:on|true)|no_grad (?:was )?(?:missing|forgotten)"),
    ("grows_while_training", _TRAINS,
     r"\b(?:memory|vram|usage|gpu)\b[^.]{0,80}\b(?:increas|grow|ris|climb|leak|creep)\w*|(?:after|by|until)(?: about"
     r"| around)? [\d-]{1,6} (?:more )?epochs?|(?:each|every|with each|per) epoch[^.]{0,60}(?:more|increas|grow|ris"
     r"|higher)\w*|一直涨|越来越"),
    ("one_hot", r"one[-_ ]?hot"),
    ("recomputation",
     r"(?:gradient|activation)[-_ ]?checkpoint\w*\W+(?:\w+\W+){0,2}?" + _OFF
     + r"|(?:without|no|forgot\w*|not (?:us|enabl)\w+|n't (?:us|enabl|turn|switch"
     r"|activat)\w*)(?: \w+){0,2} (?:gradient|activation)[-_ ]checkpoint\w*"
     r"|(?:turn|switch|set|enabl|with|us|add)\w*[^.]{0,40}(?:gradient|activation)[-_ ]checkpoint\w*[^.]{0,60}\b" + _FITS
     + r"\b|gradient_checkpointing_enable\(\)[^.]{0,60}\b" + _FITS + r"\b"),
    ("hessian", r"\bgptq\w*|quanti[sz]\w+", r"\bhessian|cholesky|second[- ]order"),
    ("calibrating", r"\bgptq\w*|\bawq\b|quanti[sz]\w+|smoothquant|calibrat\w*",
     r"\bcalibrat\w*|\b\d{2,5} samples|nsamples|num_samples"),
    ("stepping",
     r"optimi[sz]er(?:\.step|\W+states?|\W+step|\W+moments?)|\bexp_avg|first optimi[sz]er"
     r"|\badamw?\b[^.]{0,60}\bstates?\b|(?:forward|backward)(?: and \w+)?(?: pass\w*)? (?:works?|fine|ok|run|pass\w*"
     r"|fits?|go(?:es)? through|succeed\w*)[^.]{0,60}(?:optimi[sz]er|\.step\(|adam|\bstep\b)|(?:in|at"
     r"|on) (?:the )?(?:first )?(?:optimi[sz]er\.)?step\(\)"),
    ("moved_after_placing", r"device_map", r"\.cuda\(\)|\.to\(\W{0,2}(?:cuda|device)|model\.to\b|moved? (?:it"
     r"|the model) to"),
    ("used_on_current_device", r"\bcuda:[1-9]|(?:gpu|device|card) ?#?[1-9]\b",
     r"set_device|current device|current_device|(?:appears?|shows?|allocat\w*|context|lands?|also|suddenly"
     r"|extra)[^.]{0,50}(?:gpu|cuda|card|device):? ?0\b"),
    ("one_full", _SEVERAL,
     r"(?:gpu|card|device|cuda:?) ?#?\d (?:is |gets |runs |fills |goes |hits )?(?:completely )?(?:full|oom\w*|out"
     r"|dies|up|\d{1,6}/)|\b(?:only )?(?:the )?first (?:gpu|card|one)(?: \w+){0,2} (?:full|fills|ooms?|overflows"
     r"|dies|is full)|(?:others?|second|rest|remaining|gpu ?#?[1-9]|other (?:gpus|cards|one|three"
     r"|two))[^.]{0,50}\b(?:empty|idle|half|untouched|nothing|barely|unused|gi?b free|free|has room|have room"
     r"|hardly)|uneven\w*|unbalanced|imbalanc\w*"),
    ("capturing", r"\bcuda[- ]?graphs?\b|graph captur\w*|captur\w* (?:the )?(?:\w+ )?graphs?|cudagraph\w*"
     r"|reduce-overhead"),
    ("while_serving", r"\bvllm\b|\bsglang\b|\btgi\b|text-generation-inference|\blmdeploy\b|\baphrodite\b|tensorrt-llm",
     r"starts? (?:up )?(?:fine|ok|normally|without)|after (?:some|a few|\d+|several) (?:hours?|minutes|days"
     r"|requests?)|under load|(?:long|large|big|certain|some) (?:requests?|prompts?|images?)|serves?|served"
     r"|load test|concurren\w*"),
    ("generation_grows",
     r"\bchat\w*|\bconversation\w*|\bhistory\b|\bturns?\b|\bmessages\b|\bdialog\w*|past_key_values|\bkv[-_ ]?cache"
     r"|\bDynamicCache|(?:new|generated|more|output) tokens|max_new_tokens|max_length|(?:while|when|during) (?:it "
     r"|the model )?(?:generat|writ|decod|answer|talk)\w*|\bessays?\b|\bnovel\b|longer i (?:talk|chat)|antwort\w*"
     r"|chatverlauf|gespräch\w*|对话|聊天|多轮|диалог\w*|генерац\w+|чат\w*|long (?:answers?|outputs?|generations?"
     r"|stor(?:y|ies))|generated text|StaticCache", _GROWS
     + r"|longer|max_new_tokens|static ?cache|\bcache\b"),
    ("vocabulary", r"\blogits\b|\bvocab\w*|lm_head|cross[-_ ]entropy|log_?softmax|logprobs|fused (?:linear )?loss"
     r"|liger"),
    ("grows_squared",
     r"\beager\b|attention (?:matrix|matrices|scores?|mask)|quadratic\w*|(?:without|no|not"
     r"|n't)(?: \w+){0,3} (?:flash|sdpa|xformers)|(?:four|4) ?(?:times|x)[^.]{0,60}(?:length|tokens|double|twice|long)",
     r"\btokens?\b|\bseq\w*|\blength|\bprompts?\b|\bcontext\b|\bpixels?\b|\bframes?\b|\bresolution|\d{4}"
     r"|(?<!\d)\d{1,4}k\b"),
    ("large_picture",
     r"\b\d{3,4} ?[x×] ?\d{3,4}\b|\b\d{1,2}k ?[x×] ?\d{1,2}k\b|\bsatellite\b|\bwhole[- ]slide|\bresolution"
     r"|\bupscal\w*|\bvae\b|(?:large|big|huge|4k|8k|full[- ]size)(?:r)? (?:images?|pictures?|scans?|tiles?)"
     r"|\bhi-?res|\b1080p|\b720p|\b4k\b (?:image|video)|longer (?:videos?|clips?)|\d{2,4} frames"),
    ("long_prompt",
     r"(?:long\w*|(?<!\d)\d{1,4}k|(?<!\d)[\d,.]{4,9} ?(?:tokens?|words|pages)|entire|whole|complete"
     r"|huge)(?:[- ]tokens?)? (?:prompts?|documents?|context|inputs?|articles?|books?|pdfs?|texts?|contracts?"
     r"|transcripts?)|\bprefill\w*|prompt of|(?:prompts?|inputs?|documents?|contexts?)(?: \w+){0,3} (?:of|above|over"
     r"|beyond|than|with)(?: about| around)? [\d,.]{1,9} ?k?\b"),
    ("fragments", r"\bfragment\w*|reserved (?:but|by)|expandable_segments|max_split_size"),
    ("tiny_card", r"(?<![\d.])[1-4] ?gi?b?(?: of)?(?: \w+)? ?(?:cards?|gpu|vram|gtx|laptop|graphics|notebook"
     r"|memory)|\bgtx ?(?:[679][4-9]0|10[35]0|1630|1650)|\bmx ?\d{3}\b|\bquadro (?:p?[46]\d0|t[45]00)|\bgt ?\d{3,4}\b"),
    ("step", r"\bbatch(?:[-_ ]?size)?\b|\bbatches\b|\bbs\b|" + _TRAINS),
    ("loading", r"\bload\w*|from_pretrained|\.to\(|\.cuda\(|\bmov(?:e|ing) (?:the |it )?(?:model|pipeline)?"
     r"|\bshards?\b|\b\d{1,3}b\b"),
)  # fmt: skip
