"""The model: found by path, shipped shape or Hub id, and read without touching a weight.

Three sources meet here: the configuration, the headers of the weight files, and the model's own code as the target
environment has it installed (built on the meta device in a child process, kept by content hash).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advisor import child, kept
from advisor.errors import Mistake, ModelError
from advisor.facts import Fact, Facts, Known, Unknown
from advisor.plan import ModelReference
from advisor.probe import anatomy, checkpoint, config_alone, hub, shapes, tensor_groups
from advisor.probe.anatomy import Anatomy
from advisor.probe.checkpoint import Files, Tensor

CHILD = Path(__file__).parent / "inside_model.py"
CHILD_SECONDS = 60.0
VERSIONS_SECONDS = 10.0


@dataclass(frozen=True)
class _Found:
    """Where a model is and what stands there. `why` says why there are no headers."""

    reference: ModelReference
    config: dict[str, Any]
    files: Files | None
    tokenizer: bool | None
    why: str
    code: str | None = None


def find(
    name: str, python: str, revision: str | None = None, trust_remote_code: bool = False
) -> tuple[ModelReference, Facts]:
    """The model called `name` and its facts `model.*`; see `find_with_config`."""
    return find_with_config(name, python, revision, trust_remote_code)[:2]


def find_with_config(
    name: str, python: str, revision: str | None = None, trust_remote_code: bool = False
) -> tuple[ModelReference, Facts, dict[str, Any]]:
    """The model called `name`, its facts `model.*`, and its configuration as published.

    `name` is a local folder, a config.json, a shipped shape or a Hub id, looked for in this order. `python` is the
    interpreter whose transformers is asked; code from a repository runs only with `trust_remote_code`.

    Raises:
        ModelError: it cannot be found or read; where, why and what to do.
    """
    if (path := _existing(name)) is not None:
        found = _in_place(path)
    elif name in shapes.names():
        return *_from_shape(name), dict(shapes.load(name).config)
    elif not hub.ID.fullmatch(name) or name.startswith((".", "/", "~")):
        raise ModelError(Mistake(name, "there is no such path, and it is no Hub id", _nearest_hint(name)))
    else:
        found = _from_hub(name, revision)
    known = _examined(found, python, trust_remote_code)
    return found.reference, anatomy.facts(known) | _file_facts(found, known), found.config


def _existing(name: str) -> Path | None:
    """The path that `name` is, if there is one. Text from a command line may be no path at all."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _nearest_hint(name: str) -> str:
    close = shapes.closest(name)
    return f"did you mean the shipped shape {close}?" if close else "shapes that need no files: --list-shapes"


def _from_shape(name: str) -> tuple[ModelReference, Facts]:
    shape = shapes.load(name)
    reference = ModelReference("shape", name, None, random_weights=True)
    found = _Found(reference, dict(shape.config), None, None, "a shape has no files")
    source = f"shape {name}"
    stored: dict[str, Fact] = {
        "model.checkpoint_dtype": Known(shape.checkpoint_dtype, source),
        "model.name": Known(shape.hub_id, source),
    }
    return reference, anatomy.facts(shape.anatomy) | _file_facts(found, shape.anatomy) | Facts(stored)


def _from_hub(name: str, revision: str | None) -> _Found:
    there = hub.fetch(name, revision)
    config = _checked_config(there.config, f"{name}: config.json")
    reference = ModelReference("hub", name, revision, random_weights=False)
    return _Found(reference, config, there.files, there.tokenizer, there.why, code=name)


def _in_place(path: Path) -> _Found:
    """The model at a local path.

    Raises:
        ModelError: the path is no folder with a config.json and no config.json itself.
    """
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".gguf":
        raise ModelError(Mistake(str(path), "a GGUF file", "name the folder or Hub id of the original model"))
    if path.suffix in (".safetensors", ".bin", ".pt", ".pth"):
        raise ModelError(Mistake(str(path), "a weight file", f"name its folder: {path.parent}"))
    config = checkpoint.read_json(path, checkpoint.LARGEST_CONFIG_BYTES)
    reference = ModelReference("config", str(path), None, random_weights=True)
    return _Found(reference, _checked_config(config, str(path)), None, None, "only a configuration is at hand")


def _folder(path: Path) -> _Found:
    if not (path / "config.json").is_file():
        raise ModelError(Mistake(str(path), "has no config.json", _folder_hint(path)))
    config = checkpoint.read_json(path / "config.json", checkpoint.LARGEST_CONFIG_BYTES)
    files = checkpoint.in_folder(path)
    tokenizer = any((path / entry).is_file() for entry in hub.TOKENIZERS)
    reference = ModelReference("folder", str(path), None, random_weights=files is None)
    why = "the folder holds no weights" if files is None else "pickle files are not opened"
    return _Found(reference, _checked_config(config, str(path / "config.json")), files, tokenizer, why, str(path))


def _folder_hint(path: Path) -> str:
    if (path / "adapter_config.json").is_file():
        return "it holds an adapter: name the base model, or merge the adapter first"
    if any(path.glob("*.gguf")):
        return "it holds GGUF files: name the folder or Hub id of the original model"
    if (inner := next(path.glob("*/config.json"), None)) is not None:
        return f"did you mean {inner.parent}?"
    return "a model folder is what save_pretrained writes"


def _checked_config(config: Any, where: str) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise ModelError(Mistake(where, "is no object", "it should be the config.json of a transformers model"))
    if not isinstance(config.get("model_type"), str):
        raise ModelError(Mistake(where, "names no model_type", "add the model_type of its architecture"))
    if (layers := config_alone.layers(config)) > config_alone.MOST_LAYERS:
        raise ModelError(Mistake(where, f"names {layers} layers, which no model has"))
    return config


def _examined(found: _Found, python: str, trust_remote_code: bool) -> Anatomy:
    """The anatomy by the installed library; where that cannot tell, by the configuration alone."""
    request = {
        "ask": "model",
        "config": found.config,
        "source": found.code if trust_remote_code else None,
        "revision": found.reference.revision,
        "trust_remote_code": trust_remote_code and found.code is not None,
    }
    answer = _asked(request, python)
    if isinstance(answer, str):
        return config_alone.anatomy(found.config, answer)
    return answer


def _asked(request: Mapping[str, Any], python: str) -> Anatomy | str:
    """What the target's library says, kept between runs; a text says why it cannot."""
    match child.run(python, CHILD, {"ask": "versions"}, VERSIONS_SECONDS):
        case child.Answered(answer={"versions": {"torch": str(), "transformers": str()} as versions}):
            pass
        case child.Answered(answer={"versions": {"torch": None}}):
            return "no torch in the target environment"
        case child.Answered():
            return "no transformers in the target environment"
        case child.Died(reason):
            return f"the target interpreter did not answer: {reason}"
    question = kept.question(request, versions, CHILD.read_text(encoding="utf-8"))
    if (before := _anatomy(kept.read("model", question), versions)) is not None:
        return before
    match child.run(python, CHILD, request, CHILD_SECONDS, {} if request["source"] else OFFLINE):
        case child.Answered(answer={"model": {"known": False}}):
            return f"transformers {versions['transformers']} does not know model_type {request['config']['model_type']}"
        case child.Answered(answer={"model": dict(model)}):
            made = _anatomy(model, versions)
            if made is not None and not request["source"]:
                kept.write("model", question, model)
            return made or "the target's library gave an unexpected answer"
        case child.Answered():
            return "the target's library gave no answer"
        case child.Died(reason):
            return f"the target's library refused the configuration: {reason}"


OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
"""The child builds from the configuration at hand; it asks the network for nothing."""


def _anatomy(answer: Any, versions: Mapping[str, str]) -> Anatomy | None:
    """The anatomy in an answer, or None where the answer is not as it should be (a damaged file of the cache)."""
    match answer:
        case {
            "architecture": str(architecture),
            "text": dict(text),
            "cache_layers": list() | None as layers,
            "groups": dict(groups),
            "supports": dict(supports),
            "auto_compile": list() | None as places,
            "dtype": str() | None as dtype,
        } if set(groups) == set(anatomy.GROUPS) and all(type(size) is int for size in groups.values()):
            source = f"transformers {versions['transformers']}"
            kinds, compiles = (None if names is None else tuple(map(str, names)) for names in (layers, places))
            return Anatomy(architecture, text, kinds, groups, supports, dtype, source, auto_compile=compiles)
    return None


def _file_facts(found: _Found, known: Anatomy) -> Facts:
    """What the configuration and the files say beside the anatomy: sizes, types, quantization, tokenizer."""
    facts: dict[str, Fact] = {
        "model.checkpoint_quantization": Known(_stated_quantization(found.config) or "none", "config.json"),
        "model.needs_remote_code": Known(bool(found.config.get("auto_map")), "config.json"),
        "model.library_knows": _library_knows(known),
        "model.tokenizer": Unknown(found.why) if found.tokenizer is None else Known(found.tokenizer, "files"),
        "model.checkpoint_dtype": Unknown(found.why),
        "model.checkpoint_bytes": Unknown(found.why),
    }
    if known.dtype is not None:
        facts["model.checkpoint_dtype"] = Known(known.dtype, "config.json")
    if found.files is not None:
        facts["model.checkpoint_bytes"] = Known(found.files.size_bytes, "weight files")
    if found.files is not None and found.files.tensors is not None:
        facts |= _header_facts(found.files.tensors, found.config, known)
    return Facts(facts)


def _library_knows(known: Anatomy) -> Fact:
    if known.source.startswith("transformers"):
        return Known(True, known.source)
    if known.source.startswith("shape"):
        return Unknown("the installed library was not asked about a shipped shape")
    return Known(False, known.missing) if "does not know" in known.missing else Unknown(known.missing)


def _stated_quantization(config: Mapping[str, Any]) -> str | None:
    """The method that the configuration names; a table without a method is read as `unnamed`."""
    for part in ("quantization_config", "compression_config"):
        match config.get(part):
            case {"quant_method": str(method)}:
                return method.lower()
            case dict():
                return "unnamed"
    return None


def _header_facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], known: Anatomy) -> dict[str, Fact]:
    """What the headers say; it overrules what the code would make of the configuration."""
    source = "safetensors header"
    method = _stated_quantization(config) or checkpoint.quantization(tensors)
    tied = _tied(tensors, known)
    dtype = checkpoint.dtype(tensors)
    facts: dict[str, Fact] = {
        "model.checkpoint_dtype": Unknown("no floating-point tensors") if dtype is None else Known(dtype, source),
        "model.checkpoint_quantization": Known(method or "none", source),
        "model.tied_embeddings": tied,
    }
    if known.is_encoder and known.groups:
        return facts  # files of an encoder often hold a head besides, which the class that embeds does not load
    is_tied = isinstance(tied, Known) and tied.value is True
    groups = tensor_groups.groups(tensors, known.count("num_hidden_layers"), is_tied, _bits(config))
    counted = anatomy.facts(replace(known, groups=groups, source=source)).under("model")
    kept_names = [name for name in counted if name.startswith("model.parameters") and not name.endswith("quantizable")]
    return facts | {name: counted.get(name) for name in kept_names}


def _tied(tensors: Mapping[str, Tensor], known: Anatomy) -> Fact:
    """Whether one matrix serves as embedding and output projection: the configuration, checked against the files."""
    stated, stored = known.text.get("tie_word_embeddings"), tensor_groups.has_head(tensors)
    match stated, stored:
        case True, _:
            return Known(True, known.source)
        case _, True:
            return Known(False, "safetensors header")
        case False, False:
            return Unknown("the configuration says untied, but the files hold no output projection")
        case _:
            return Known(True, "safetensors header: no output projection")


def _bits(config: Mapping[str, Any]) -> int | None:
    match config.get("quantization_config"):
        case {"bits": int(bits)} | {"w_bit": int(bits)} if bits in (2, 3, 4, 8):
            return bits
    return None
