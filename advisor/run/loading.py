"""The `load()` of a recipe: from a checkpoint, or with random weights where only a configuration is at hand."""

from packaging.version import Version

from advisor.conflicts import quantizes, spread
from advisor.run.drafting import DTYPE_SINCE, assistant_lines
from advisor.run.process_wide import thread_lines
from advisor.run.quantizing import configuration
from advisor.run.source import Lines, literal
from advisor.run.subject import SEED, Subject
from advisor.run.tensor_parallel import after_loading, argument, before_loading, splits
from advisor.setup import Setup

# A dtype that is not given means the checkpoint's from 5.0 on, float32 before.
CHECKPOINT_DTYPE_SINCE = Version("5.0")


def load_lines(subject: Subject, setup: Setup) -> Lines:
    """The function `load()`. Every value of `setup` has been checked before."""
    body = thread_lines(setup)
    if subject.random_weights:
        body += _saved_random(subject, setup) if saved_first(setup) else _random(subject, setup)
    else:
        revision = subject.reference.revision
        given = [] if revision is None else [f"revision={literal(revision)}"]
        body += before_loading(subject, setup, f"AutoConfig.from_pretrained({', '.join(['MODEL', *given])})")
        body += _from_pretrained("MODEL", [*given, *loading_arguments(subject, setup)], setup)
        if _on_accelerator(setup) and not saved_first(setup) and not subject.quantized:
            body.append(f"model.to({literal(setup.device)})")
    if setup.attn_at_run_time:
        body.append(f"model.set_attn_implementation({literal(setup.attn_implementation)})")
    body += assistant_lines(subject, setup)
    body += after_loading(setup)
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
    return quantizes(setup) or spread(setup) or splits(setup)


def placed_while_loading(subject: Subject, setup: Setup) -> bool:
    """Whether a checkpoint that is quantized already goes to an accelerator, to which most such cannot be moved."""
    return subject.quantized and _on_accelerator(setup)


def weights_made_on(setup: Setup) -> str:
    """The device on which random weights are drawn; the same seed gives the same weights on one device only."""
    return "cpu" if saved_first(setup) else setup.device or "cpu"


def loading_arguments(subject: Subject, setup: Setup) -> Lines:
    """The arguments of from_pretrained that this setup sets."""
    arguments = []
    if setup.dtype is not None:
        name = "torch_dtype" if subject.older_than(DTYPE_SINCE) else "dtype"
        arguments.append(f"{name}=torch.{setup.dtype}")
    if setup.attn_implementation is not None and not setup.attn_at_run_time:
        arguments.append(f"attn_implementation={literal(setup.attn_implementation)}")
    if setup.experts_implementation is not None:
        arguments.append(f"experts_implementation={literal(setup.experts_implementation)}")
    if setup.use_kernels:
        arguments.append("use_kernels=True")
    return [*arguments, *argument(subject, setup), *configuration(subject, setup), *_placement(subject, setup)]


def _from_pretrained(name: str, arguments: Lines, setup: Setup) -> Lines:
    """The call; layers that find no room are read from the checkpoint, or from a folder where they had to be changed
    while loading (experts, files other than safetensors). It lives as long as the model."""
    loaded = ["model = AutoModelForCausalLM.from_pretrained(", f"    {name},", *_indented(arguments), ")"]
    if not spread(setup):
        return loaded
    made = 'offload = tempfile.TemporaryDirectory(prefix="offloaded-weights-", ignore_cleanup_errors=True)'
    return [made, *loaded, "model.offload_folder = offload  # for layers that must be read from disk"]


def _indented(arguments: Lines) -> Lines:
    """One argument a line, each with its comma; a nested call keeps its own lines."""
    return [f"    {line}" if line.endswith(("(", ",")) else f"    {line}," for line in arguments]


def _placement(subject: Subject, setup: Setup) -> Lines:
    arguments = []
    if spread(setup):
        arguments += [f"device_map={literal(setup.device_map)}", "offload_folder=offload.name"]
    elif setup.device is not None and (quantizes(setup) or placed_while_loading(subject, setup)):
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
    names = [*([] if setup.attn_at_run_time else ["attn_implementation"]), "experts_implementation"]
    return [f"{name}={literal(value)}" for name in names if (value := getattr(setup, name)) is not None]


def _saved_random(subject: Subject, setup: Setup) -> Lines:
    """Random weights by way of a folder, which lives as long as the model: offloaded layers are read from there."""
    return [
        *_seeded(subject),
        *before_loading(subject, setup, "config"),
        'folder = tempfile.TemporaryDirectory(prefix="random-weights-", ignore_cleanup_errors=True)',
        "AutoModelForCausalLM.from_config(config).save_pretrained(folder.name)",
        *_from_pretrained("folder.name", loading_arguments(subject, setup), setup),
        "model.weights_folder = folder",
    ]
