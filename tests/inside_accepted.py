"""Program of a child process: which recipes the installed transformers would refuse, as far as can be told without a
model and without a GPU. Reads a JSON list of texts, writes a JSON list of reasons (null where nothing is refused).

Every configuration class that a text names is made, and every keyword of from_pretrained, from_config, generate and
generate_batch is looked for in the library. A class whose package is not installed cannot be made, and is passed over.
"""

import ast
import builtins
import inspect
import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
import transformers

CONFIGURATIONS = (
    "BitsAndBytesConfig", "TorchAoConfig", "QuantoConfig", "FineGrainedFP8Config",
    "CompileConfig", "GenerationConfig", "ContinuousBatchingConfig",
)  # fmt: skip
INPUTS = ("input_ids", "attention_mask", "past_key_values", "assistant_model")
# What recipes compute on the way to a call, with values of the right kind.
LOCALS = {"page": 16, "longest": 640, "pad": 0}
ABSENT = (ImportError, ModuleNotFoundError)


class RefusedError(Exception):
    """The library would not take this."""


def reason(text: str) -> str | None:
    tree = ast.parse(text)
    try:
        space = namespace(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                check_call(node, space)
            elif isinstance(node, ast.Assign):
                check_assignment(node)
    except RefusedError as refused:
        return str(refused)
    return None


def namespace(tree: ast.Module) -> dict[str, Any]:
    """What the expressions of a recipe may name: torch, the imported classes, its constants."""
    space: dict[str, Any] = {"torch": torch, **LOCALS}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            space.update(imported(node))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            space[node.targets[0].id] = ast.literal_eval(node.value)
    if "CompileConfig" in space:
        space["compile_config"] = space["CompileConfig"]()
    return space


def imported(node: ast.ImportFrom) -> Iterator[tuple[str, Any]]:
    """The names that the line imports; those of a package that is not installed are left out."""
    try:
        module: ModuleType = __import__(str(node.module), fromlist=["*"])
    except ABSENT:
        return
    for alias in node.names:
        if not hasattr(module, alias.name):
            raise RefusedError(f"{node.module} has no {alias.name}")
        yield alias.name, getattr(module, alias.name)


def check_call(node: ast.Call, space: dict[str, Any]) -> None:
    name = ast.unparse(node.func)
    if name in CONFIGURATIONS:
        make(node, name, space)
    elif name == "AutoModelForCausalLM.from_pretrained":
        check_choices(known(node, loading_names(), "from_pretrained", space))
    elif name == "AutoModelForCausalLM.from_config":
        check_choices(known(node, names_read(transformers.PreTrainedModel._from_config), "from_config", space))
    elif name == "model.generate":
        check_generation(known(node, {*generation_names(), *INPUTS}, "generate", space))
    elif name == "model.generate_batch":
        known(node, set(inspect.signature(transformers.GenerationMixin.generate_batch).parameters), name, None)
    elif name == "torch.compile":
        attempt(lambda: torch.compile(lambda: None, **keywords(node, space)), name)
    elif name in ("torch.set_float32_matmul_precision", "sdpa_kernel"):
        attempt(lambda: evaluated(node, space), name)
    elif name in ("StaticCache", "model.set_attn_implementation"):
        owner = (
            transformers.StaticCache if name == "StaticCache" else transformers.PreTrainedModel.set_attn_implementation
        )
        known(node, set(inspect.signature(owner).parameters), name, None)
        if name.startswith("model."):
            check_choices({"attn_implementation": ast.literal_eval(node.args[0])})


def check_assignment(node: ast.Assign) -> None:
    """Attributes that a recipe sets must exist, or setting them does nothing."""
    target = ast.unparse(node.targets[0])
    if target == "model.use_kernels" and not isinstance(
        transformers.PreTrainedModel.__dict__.get("use_kernels"), property
    ):
        raise RefusedError("a model has no use_kernels")
    if target == "compile_config._compile_all_devices" and not hasattr(
        transformers.CompileConfig(), "_compile_all_devices"
    ):
        raise RefusedError("CompileConfig has no _compile_all_devices")


def make(node: ast.Call, name: str, space: dict[str, Any]) -> None:
    """The configuration itself. Some classes swallow unknown keywords, so names are held against what they know."""
    if not names_in(node) <= {*space, *vars(builtins)}:
        return  # a package is not installed
    takes = generation_names() if name == "GenerationConfig" else set(inspect.signature(space[name]).parameters)
    for keyword in node.keywords:
        if keyword.arg not in takes:
            raise RefusedError(f"{name} takes no {keyword.arg}")
    attempt(lambda: evaluated(node, space), name)


def known(node: ast.Call, names: set[str], what: str, space: dict[str, Any] | None) -> dict[str, Any]:
    """The keywords of a call with their values; one that the library does not know is refused."""
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg not in names:
            raise RefusedError(f"{what} takes no {keyword.arg}")
    return {} if space is None else keywords(node, space)


def keywords(node: ast.Call, space: dict[str, Any]) -> dict[str, Any]:
    """The values of a call's keywords, except for inputs and for what cannot be made without its package."""
    found = {}
    for keyword in node.keywords:
        if keyword.arg is not None and names_in(keyword.value) <= {*space, *vars(builtins)}:
            found[keyword.arg] = attempt(lambda value=keyword.value: evaluated(value, space), keyword.arg)
    return found


def names_in(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def evaluated(node: ast.expr, space: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "recipe", "eval"), dict(space))


def attempt(action: Any, what: str) -> Any:
    """The result; what raises is refused, except for a package that is missing."""
    try:
        return action()
    except ABSENT:
        return None
    except Exception as error:
        if re.search(r"requires \w+ to be installed|need to install", str(error)):
            return None
        raise RefusedError(f"{what}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def check_choices(values: dict[str, Any]) -> None:
    """Names of attention backends and of ways to compute experts."""
    backend = values.get("attn_implementation")
    if backend is not None and "/" not in backend:
        takes = {"eager", *transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS.valid_keys()}
        if backend not in takes:
            raise RefusedError(f"attn_implementation takes no {backend}")
    experts = values.get("experts_implementation")
    if experts is not None:
        from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

        if experts not in {"eager", *ALL_EXPERTS_FUNCTIONS.valid_keys()}:
            raise RefusedError(f"experts_implementation takes no {experts}")


def check_generation(values: dict[str, Any]) -> None:
    settings = {name: value for name, value in values.items() if name not in INPUTS}
    attempt(lambda: transformers.GenerationConfig(**settings).validate(), "generate")
    cache = dict(settings.get("cache_config") or {})
    if settings.get("cache_implementation") == "quantized":
        config = transformers.LlamaConfig(num_hidden_layers=1)
        backend = cache.pop("backend", "quanto")
        attempt(lambda: transformers.QuantizedCache(backend=backend, config=config, **cache), "quantized cache")
    if "prompt_lookup_num_tokens" in settings and str(settings.get("cache_implementation")).endswith("static"):
        raise RefusedError("generate: drafting is not supported with a static cache")


def generation_names() -> set[str]:
    return set(vars(transformers.GenerationConfig()))


def loading_names() -> set[str]:
    """Keywords that from_pretrained reads, in the automatic class or in the model's own."""
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

    return names_read(transformers.PreTrainedModel.from_pretrained) | names_read(_BaseAutoModelClass.from_pretrained)


def names_read(function: Any) -> set[str]:
    """The parameters of a function and the keywords that its source takes out of `kwargs`."""
    text = inspect.getsource(function)
    return set(inspect.signature(function).parameters) | {
        name
        for pair in re.findall(r"""kwargs\.(?:pop|get)\(\s*["'](\w+)|["'](\w+)["'] in kwargs""", text)
        for name in pair
    }


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    print(json.dumps([reason(text) for text in json.load(sys.stdin)]))
