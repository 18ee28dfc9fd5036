"""What a description speaks of: topics, and the words that tell each. They count as whole words only."""

TOPICS = {
    "fp8": r"fp8|float8|e4m3(?:fn)?|w8a8-?fp8",
    "fp8_units": r"h100s?|h200|gh200|h800|b200|40[6-9]0(?:ti)?|50[6-9]0(?:ti)?|l40s?|l4|mi3\d\d\w?|hopper|ada"
    r"|blackwell|windows|rtx 6000 ada|rtx 40\d\d|rtx 50\d\d",
    "no_fp8_units": r"a100s?|v100s?|t4s?|30[5-9]0(?:ti)?|20[6-8]0(?:ti)?|a6000|a5000|a4000|a10g?|a40|a30|ampere"
    r"|turing|volta|rtx 30\d\d|mi2\d\d\w?|p100|p40",
    "hopper": r"h100s?|h200s?|gh200|h800|h20|hopper",
    "flash3": r"fa-?3"
    r"|(?:the )?version 3 (?:package|wheel|build|kernels?)"
    r"|flash[-_ ]?att(?:entio)?n[-_ ]?(?:v(?:ersion)?\s?)?3|flash_attn_interface|flash_att(?:entio)?n_3",
    "moe": r"moe|mixtures?[- ]of[- ]experts|experts|mixtral|\d+x\d+b|a\d+b|gpt-oss|olmoe|deepseek[-_ ]?v\d"
    r"|\(a\d{1,3}b?\)|glm-?[\d.]{0,4}-?air|qwen3-next|kimi-k2|llama-4|dbrx|jamba|grok-?1|phi-3\.5-moe",
    "batching": r"batch\w*|num_images_per_prompt|[2-9]\d? (?:images|prompts|samples|sentences) (?:at once|together"
    r"|takes?|needs?)",
    "no_gain": r"linear(?:ly)?|proportional(?:ly)?|(?:no|without) (?:benefit|gain|speed-?\s?up|improvement"
    r"|advantage)|(?:does not|doesn't|did not|didn't|not|isn't|is not|no) (?:help|improve|pay|any faster|faster"
    r"|speed up|change)\w*|same (?:throughput|speed|time per|tokens)|just the same|flat|one by one|twice as long"
    r"|doubl\w+|scales? with",
    "compile": r"torch[._ ]compile\w*|--compile|compiled|inductor|max-autotune|reduce-overhead",
    "first_call": r"(?:very )?first (?:call|run|forward|iteration|inference|generation|batch|request|step|time|pass"
    r"|image|output|result)s?|(?:one|a) (?:single )?(?:call|run|forward)|single (?:call|run|forward|inference"
    r"|prompt|request|image)|(?:process\w*|handles?|translates?|transcribes?) (?:one|a single) \w+|(?:runs?|with"
    r"|do) one (?:prompt|image|clip|inference|generation|request|sample|run|call)(?: each)?|just once"
    r"|including compil\w+",
    "worse": r"0\.\d+ ?x|slow\w*|longer|fewer|worse|lower|less|behind|no better|not (?:any )?faster"
    r"|n't (?:any )?faster|no (?:gain|speed-?up)|drops?|only \d+(?:\.\d+)? ?(?:tok\w*|it|t)/s|halv\w+|half",
    "initializing": r"(?:re-?)?initiali[sz]\w+|_?init_weights|torch\.nn\.init\.\w+|init\.\w+_|kaiming\w*"
    r"|reset_parameters|instantiat\w+|random weights",
    "loading": r"load\w*|from_pretrained|shards?|instantiat\w+|checkpoint\w*|start-?up|weights",
    "eight_bit": r"int8|8[- ]?bit|load_in_8bit|llm\.int8(?:\(\))?",
    "sixteen_bit": r"fp16|float16|bf16|bfloat16|16[- ]bit|half(?: precision)?|original|unquanti[sz]ed|full precision",
    "split": r"device[_ ]map\w*|split|spread|shard\w*|distributed over|balanced",
    "several_gpus": r"(?:\d{1,2}|two|three|four|six|eight|several|multiple|both|more|all|many) ?x? ?(?:nvidia |rtx "
    r"|tesla )?(?:gpus|cards|devices|[ahvlt]\d{1,4}s?|\d{4}s?|mi\d{3}\w?|gh200s?|l40s|of them)|(?:over|across|on"
    r"|both) two|multi-?\s?gpu|[2-8]-gpu|second (?:gpu|card|\d{4}|[ahvlt]\d{1,3})|\dx ?(?:rtx|a100|h100|v100|t4"
    r"|l4)\w*",
    "one_gpu": r"hid(?:e|ing|den) the (?:second|other)(?: \w+)?|cuda_visible_devices=\W?0\W?(?!,)|pinn?\w* (?:it "
    r"|each )?(?:\w+ )?to (?:a single|one|its own)(?: \w+)?|(?:a single|single|one|1|just one|only one"
    r"|the first)(?: of (?:them|these))?(?: (?:gpu|card|device|[ahvlt]\d{1,3}|\d{4}))?",
    "in_turn": r"100 ?%?/ ?0|0 ?%?/ ?100|(?:both|all|them) (?:at the same time|simultaneously|at once|in parallel)"
    r"|(?:its|their) turn|others? (?:\w+ ){0,2}(?:at 0|at zero|idl\w*|wait\w*|doing nothing|do nothing)"
    r"|only (?:ever )?(?:one|a single)(?: of them| gpu| card| device)?(?: \w+){0,2} (?:comput|work|busy|activ"
    r"|run)\w*|when(?:ever)? one (?:\w+ ){1,4}the others?(?: \w+){0,4}"
    r"|while one (?:\w+ ){1,6}the others?(?: \w+){0,4}|(?:wanders?|hops?|jumps?|moves?|travels?) from (?:gpu|card"
    r"|one)(?: \w+)?|round[- ]robin|never two|one after (?:the other|another)|in turns?|takes? turns|alternat\w+"
    r"|one at a time|one by one|sequential\w*|idle|only one (?:gpu|card|of them)[^.]{0,30}(?:busy|active|works"
    r"|working|used)|(?:each|every)[^.]{0,30}\d ?(?:%|percent)|never together",
    "lengths": r"lengths? (?:\w+ )?\d{1,5} ?(?:to|-|–) ?\d{1,5}|(?:giant|huge|biggest|largest|monster) (?:one|chunk"
    r"|text|document|sample|prompt|sequence|row|item|entry)|one (?:giant|huge|very long|monster)(?: \w+)?"
    r"|median(?: is| of| length)? \d{1,5}|p9\d|some (?:of them )?(?:are |have )?(?:several|a few) (?:thousand"
    r"|hundred)|(?:between|from) \d{1,6} (?:and|to|up to) \d{1,6} (?:tokens|words|chars\w*)|range from|unsorted"
    r"|order they (?:come|arrive)|outliers?|(?:different|mixed|varying|various|unequal|uneven"
    r"|variable) (?:\w+ )?lengths?|lengths? (?:var|differ)\w+|longest|short and long|long and short|(?:else|others?"
    r"|rest|most)(?: \w+)? (?:is|are) short\w*|one long|(?:very )?long ones|by length",
    "shapes_vary": r"(?:another|other|different|new|varying|changing|variable|dynamic|every"
    r"|each)(?: \w+)? (?:lengths?|shapes?|sizes?)|keeps? recompil\w+|(?:lengths?|shapes?|sizes?) (?:var|differ"
    r"|chang)\w*",
    "server": r"(?:triton|inference|llama|tgi|api|model|http|rest|grpc|fastapi|flask|web)[- ]?server|llama-server"
    r"|tritonserver|text-generation-inference|service|endpoint|instances?|container|docker|daemon|ollama"
    r"|per request|--gpus",
    "offloaded": r"off-?load\w*(?: \w+){0,4} (?:cpu|disk|ram|hard (?:disk|drive))|(?:cpu|disk)[- ]off-?load\w*"
    r"|(?:layers|weights|parameters|params|part|parts|rest|modules|half)(?: [\w-]+){0,5} (?:on|to|in|onto"
    r"|into) (?:the |my )?\W?(?:cpu|disk|ram|system memory|system ram|hard disk|ssd)|meta device|hf_device_map",
    "thirty_two_bit": r"float32|fp32|32[- ]?bits?|full precision|single precision",
    "unasked": r"plain (?:\w+\.)?from_pretrained(?:\(\S*)?|just (?:call\w*|use\w*)? ?\S*from_pretrained\S*"
    r"|nothing (?:special|else)|by default|default dtype|(?:without|no|not|n't|never"
    r"|forgot\w*) (?:\w+ ){0,3}(?:torch_)?dtype|(?:pass|set|add|giv"
    r"|specif)\w* (?:\w+ ){0,3}(?:torch_)?dtype\S*(?: \w+){0,4} (?:fine|fix\w*|half|works|normal|helps)"
    r"|(?:torch_)?dtype=\W?auto\W?",
    "kept_float32": r"(?:keep|kept|left|stays?|is|are|have|has)(?: \w+){0,3} in (?:float32|fp32)|(?:float32"
    r"|fp32) (?:layer\w*|norm\w*|head|router|weights?|param\w*|buffer\w*|bias\w*)",
    "spreads": r"rest|everything|every \w+|all (?:that|the|later|following)|following|onwards?|promot\w+|upcast\w*"
    r"|contaminat\w+",
    "half": r"fp16|float16|half|half precision|\.half\(\)|model\.half\(\)",
    "cpu": r"(?:without|no) (?:a |any )?gpus?|cpus?|xeon|epyc|ryzen|threadripper|(?:core )?i[3579]|processor"
    r"|(?:without a|no) (?:gpu|graphics card)",
    "batch_one": r"bs\s?[=:]?\s?1|batch[-_ ]?size\s?[=:]?\s?(?:of )?1|batch (?:of )?(?:1|one)",
    "four_bit": r"4[- ]?bits?|nf4|fp4|int4|load_in_4bit|bnb|bitsandbytes|awq|gptq|q4\w*",
    "quantized": r"4[- ]?bits?|nf4|fp4|int4|w4a\d+|load_in_4bit|gptq|awq|hqq|quanto|quanti[sz](?:ed|ing|ation)|exl2"
    r"|eetq|aqlm|\d[- ]bit",
    "storage": r"nfs|efs|gcs|gcsfuse|s3|hdd|usb|smb|nas|pvc|ebs|lustre|ceph|samba|sshfs|fuse|network (?:drive|disk"
    r"|file|storage|share|volume|mount)\w*|spinning disk|hard (?:disk|drive)|external (?:drive|disk|ssd)"
    r"|google drive|mydrive|blob storage|(?:attached|mounted|persistent|remote) (?:volume|disk|bucket|share|drive)"
    r"|shared file ?system|object store|bucket|rotating disk",
}
