"""The lines of a recipe whose model is split over ranks, for `torchrun --nproc-per-node RANKS FILE.py`."""

from packaging.version import Version

from advisor.run.source import Lines, literal
from advisor.run.subject import Subject
from advisor.setup import Setup

DISTRIBUTED_SINCE = Version("5.18")
"""From here on tp_plan is said in a DistributedConfig (a warning asks for it; seen with 5.22)."""
RANKS_SINCE = Version("5.0")


def splits(setup: Setup) -> bool:
    """Whether the model is split over several ranks."""
    return (setup.tensor_parallel or 1) > 1


def modules(setup: Setup) -> list[str]:
    return ["atexit", "os", "sys"] if splits(setup) else []


def constant(setup: Setup) -> Lines:
    """The number of ranks, where a program starts them by."""
    return [f"RANKS = {literal(setup.tensor_parallel)}"] if splits(setup) else []


def imported(subject: Subject, setup: Setup) -> Lines:
    if not splits(setup):
        return []
    made = [] if subject.older_than(DISTRIBUTED_SINCE) else ["from transformers.distributed import DistributedConfig"]
    return ["import torch.distributed", *made]


def argument(subject: Subject, setup: Setup) -> Lines:
    """What from_pretrained is told."""
    if not splits(setup):
        return []
    return ['tp_plan="auto"'] if subject.older_than(DISTRIBUTED_SINCE) else ["distributed_config=split"]


def before_loading(subject: Subject, setup: Setup, config: str) -> Lines:
    """Lines of load() before the model: what makes ranks fail in obscure ways is said in words."""
    if not splits(setup):
        return []
    made = [] if subject.older_than(DISTRIBUTED_SINCE) else ["split = DistributedConfig(tp_size=RANKS)"]
    devices = []
    if setup.device == "cuda":
        devices = [
            "if torch.cuda.device_count() < RANKS:",
            '    raise ValueError(f"{RANKS} ranks need as many GPUs, found {torch.cuda.device_count()}")',
        ]
    return [
        'if "RANK" not in os.environ:',
        '    raise SystemExit(f"start it with: torchrun --nproc-per-node {RANKS} {sys.argv[0]}")',
        'if os.environ["RANK"] != "0":',
        '    sys.stdout = open(os.devnull, "w")  # one voice is enough',
        *devices,
        f"sizes = {config}.get_text_config()",
        "heads = (sizes.num_attention_heads, sizes.num_key_value_heads)",
        "if any(count % RANKS for count in heads):",
        '    raise ValueError(f"{heads[0]} query and {heads[1]} key-value heads do not divide over {RANKS} ranks")',
        *made,
    ]


def after_loading(setup: Setup) -> Lines:
    return ["atexit.register(torch.distributed.destroy_process_group)"] if splits(setup) else []
