"""The `load()` of a recipe: from a checkpoint, or with random weights where only a configuration is at hand."""

from packaging.version import Version

from advisor.conflicts import quantizes
from advisor.run.quantizing import configuration
from advisor.run.source import Lines, literal
from advisor.run.subject import SEED, Subject
from advisor.setup import Setup

# The keyword `dtype` came with 4.56; a dtype that is not given means the checkpoint's from 5.0 on, float32 before.
DTYPE_SINCE = Version("4.56")
CHECKPOINT_DTYPE_SINCE = Version("5.0")


def load_lines(subject: Subject, setup: Setup) -> Lines:
    """The function `load()`. Every value of `setup` has been checked before."""
    body = [] if setup.threads is None else [f"torch.set_num_threads({literal(setup.threads)})"]
    if setup.matmul_precision == "high":
        body.append('torch.set_float32_matmul_precision("high")  # TF32 for float32 products, where the GPU has it')
    if subject.random_weights:
        body += _saved_random(subject, setup) if saved_first(setup) else _random(subject, setup)
    else:
        revision = subject.reference.revision
        given = [] if revision is None else [f"revision={literal(revision)}"]
        body += _from_pretrained("MODEL", [*given, *loading_arguments(subject, setup)])
        if _on_accelerator(setup) and not saved_first(setup):
            body.append(f"model.to({literal(setup.device)})")
    if setup.compile == "forward":
        body.append(f"model.forward = torch.compile({', '.join(['model.forward', *_compile_options(setup)])})")
    return [
        "def load():",
        '    """The model, ready to generate."""',
        *(f"    {line}" for line in body),
        "    return model.eval()",
    ]


def saved_first(setup: Setup) -> bool:
    """Whether random weights must be written to disk first, since only loading quantizes or spreads them."""
    return quantizes(setup) or setup.device_map not in (None, "none")


def weights_made_on(setup: Setup) -> str:
    """The device on which random weights are drawn; the same seed gives the same weights on one device only."""
    return "cpu" if saved_first(setup) else setup.device or "cpu"


def loading_arguments(subject: Subject, setup: Setup) -> Lines:
    """The arguments of from_pretrained that this setup sets."""
    arguments = []
    if setup.dtype is not None:
        name = "torch_dtype" if subject.older_than(DTYPE_SINCE) else "dtype"
        arguments.append(f"{name}=torch.{setup.dtype}")
    if setup.attn_implementation is not None:
        arguments.append(f"attn_implementation={literal(setup.attn_implementation)}")
    if setup.experts_implementation is not None:
        arguments.append(f"experts_implementation={literal(setup.experts_implementation)}")
    if setup.use_kernels:
        arguments.append("use_kernels=True")
    return [*arguments, *configuration(subject, setup), *_placement(setup)]


def _from_pretrained(name: str, arguments: Lines) -> Lines:
    return ["model = AutoModelForCausalLM.from_pretrained(", f"    {name},", *_indented(arguments), ")"]


def _indented(arguments: Lines) -> Lines:
    """One argument a line, each with its comma; a nested call keeps its own lines."""
    return [f"    {line}" if line.endswith(("(", ",")) else f"    {line}," for line in arguments]


def _placement(setup: Setup) -> Lines:
    arguments = []
    if setup.device_map not in (None, "none"):
        arguments.append(f"device_map={literal(setup.device_map)}")
    elif setup.device is not None and quantizes(setup):
        arguments.append(f"device_map={literal({'': setup.device})}")
    if setup.max_memory is not None:
        shares = (share.partition("=") for share in setup.max_memory)
        limits = {int(name) if name.isdigit() else name: size for name, _, size in shares}
        arguments.append(f"max_memory={literal(limits)}")
    return arguments


def _on_accelerator(setup: Setup) -> bool:
    return setup.device not in (None, "cpu")


def _compile_options(setup: Setup) -> Lines:
    options = []
    if setup.compile_mode is not None:
        options.append(f"mode={literal(setup.compile_mode)}")
    if setup.compile_fullgraph is not None:
        options.append(f"fullgraph={literal(setup.compile_fullgraph)}")
    return options


def _seeded(subject: Subject) -> Lines:
    known = "AutoConfig.for_model(**CONFIG)" if subject.config is not None else "AutoConfig.from_pretrained(MODEL)"
    return [f"torch.manual_seed({SEED})  # random weights, the same in every run", f"config = {known}"]


def _random(subject: Subject, setup: Setup) -> Lines:
    """Weights drawn where they are used, in the checkpoint's type, so that every setup gets the same values."""
    made = f"model = AutoModelForCausalLM.from_config({', '.join(['config', *_choices(setup)])})"
    placed = [f"with torch.device({literal(setup.device)}):", f"    {made}"] if _on_accelerator(setup) else [made]
    dtype = setup.dtype
    if dtype is None and subject.older_than(CHECKPOINT_DTYPE_SINCE):
        dtype = "float32"
    # Kernels are chosen for inference or training by the mode that the model is in.
    kernels = ["model.eval()", "model.use_kernels = True"] if setup.use_kernels else []
    return [*_seeded(subject), *placed, *([] if dtype is None else [f"model.to(torch.{dtype})"]), *kernels]


def _choices(setup: Setup) -> Lines:
    """The arguments that from_config takes as from_pretrained does."""
    names = ("attn_implementation", "experts_implementation")
    return [f"{name}={literal(value)}" for name in names if (value := getattr(setup, name)) is not None]


def _saved_random(subject: Subject, setup: Setup) -> Lines:
    """Random weights by way of a folder, which lives as long as the model: offloaded layers are read from there."""
    return [
        *_seeded(subject),
        'folder = tempfile.TemporaryDirectory(prefix="random-weights-", ignore_cleanup_errors=True)',
        "AutoModelForCausalLM.from_config(config).save_pretrained(folder.name)",
        *_from_pretrained("folder.name", loading_arguments(subject, setup)),
        "model.weights_folder = folder",
    ]
