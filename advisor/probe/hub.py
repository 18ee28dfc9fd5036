"""A model on the Hugging Face Hub: its configuration and the headers of its weight files, never the weights.

Everything goes through huggingface_hub, so its cache, its token and its offline switch are respected.
"""

import contextlib
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor import kept
from advisor.errors import Mistake, ModelError
from advisor.probe import checkpoint, shapes
from advisor.probe.checkpoint import Files, Tensor

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "spiece.model")


ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
CONNECT_SECONDS = 5


@dataclass(frozen=True)
class OnHub:
    """What the Hub says about one revision. `files` is None when there are no readable headers; `why` says so."""

    config: Any
    files: Files | None
    tokenizer: bool | None
    why: str


def fetch(name: str, revision: str | None) -> OnHub:
    """Configuration and headers of the model `name`; from the cache alone where the Hub cannot be reached.

    Raises:
        ModelError: there is no such model, it is gated, or it cannot be reached; with the remedy.
    """
    import huggingface_hub

    unreachable = _unreachable()
    with _explained(name, unreachable):
        cached_only = unreachable is not None
        found = huggingface_hub.hf_hub_download(name, "config.json", revision=revision, local_files_only=cached_only)
    path = Path(found)
    config = checkpoint.read_json(path, checkpoint.LARGEST_CONFIG_BYTES)
    place = _Place(name, path.parent.name, path.parent, online=unreachable is None)
    listed = _listed(place)
    files, why = _files(place)
    return OnHub(config, files, None if listed is None else any(entry in TOKENIZERS for entry in listed), why)


@dataclass(frozen=True)
class _Place:
    """One commit of a repository, the folder of the cache that holds its files, and whether the Hub can be asked."""

    name: str
    commit: str
    snapshot: Path
    online: bool


def _unreachable() -> str | None:
    """Why the Hub cannot be asked, found out in seconds: the library itself retries for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    address = urllib.parse.urlsplit(constants.ENDPOINT)
    if urllib.request.getproxies():
        return None  # a proxy resolves names by itself
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return "the Hub cannot be reached"
    return None


def _listed(place: _Place) -> list[str] | None:
    """The repository's file names; offline those that are in the cache, where the tokenizer is among them, or None."""
    import huggingface_hub

    with contextlib.suppress(*_network_errors()):
        if place.online:
            return huggingface_hub.HfApi().list_repo_files(place.name, revision=place.commit)
    cached = [path.name for path in place.snapshot.iterdir()]
    return cached if any(entry in TOKENIZERS for entry in cached) else None


def _files(place: _Place) -> tuple[Files | None, str]:
    """The headers: of weights in the cache, as kept from an earlier run, or by range requests; else why not."""
    with contextlib.suppress(ModelError):
        if (here := checkpoint.in_folder(place.snapshot)) is not None and here.tensors is not None:
            return here, ""
    question = kept.question(place.name, place.commit)
    if (before := _remembered(kept.read("headers", question))) is not None:
        return before, ""
    if not place.online:
        return None, "the headers are not in the cache and the Hub cannot be reached"
    files, why = _requested(place)
    if files is not None and files.tensors is not None:
        stored = {tensor: [t.dtype, list(t.shape)] for tensor, t in files.tensors.items()}
        kept.write("headers", question, {"size_bytes": files.size_bytes, "tensors": stored})
    return files, why


def _remembered(answer: dict[str, Any] | None) -> Files | None:
    match answer:
        case {"size_bytes": int(size), "tensors": dict(stored)}:
            pass
        case _:
            return None
    tensors = {}
    for name, entry in stored.items():
        match entry:
            case [str(dtype), list(shape)] if all(isinstance(side, int) for side in shape):
                tensors[name] = Tensor(dtype, tuple(shape))
            case _:
                return None
    return Files(tensors, size, "safetensors")


def _requested(place: _Place) -> tuple[Files | None, str]:
    import huggingface_hub
    from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

    try:
        found = huggingface_hub.HfApi().get_safetensors_metadata(place.name, revision=place.commit)
    except NotASafetensorsRepoError:
        return None, "the repository has no safetensors files"
    except SafetensorsParsingError:
        return None, "a header on the Hub cannot be read"
    except _network_errors():
        return None, "the headers are not in the cache and the Hub did not answer"
    tensors: dict[str, Tensor] = {}
    size = 0
    for file in found.files_metadata.values():
        for tensor, info in file.tensors.items():
            tensors[tensor] = Tensor(info.dtype, tuple(info.shape))
            size += info.data_offsets[1] - info.data_offsets[0]
    return Files(tensors, size, "safetensors"), ""


def _network_errors() -> tuple[type[Exception], ...]:
    """What a Hub that does not answer raises: OSError, and the base error of the HTTP library below (it changed)."""
    from huggingface_hub.errors import HfHubHTTPError

    below = [kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError" and issubclass(kind, Exception)]
    return (OSError, *below)


@contextlib.contextmanager
def _explained(name: str, unreachable: str | None) -> Iterator[None]:
    """Turns what huggingface_hub raises into one mistake with its remedy.

    Raises:
        ModelError: in place of every error of the Hub or the network.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        what = "gated: its owner shares it only with people who asked"
        raise _refused(name, what, "ask on its page, then log in with: hf auth login") from None
    except errors.RepositoryNotFoundError:
        what = "no path, no shipped shape, and not on the Hub (or private)"
        raise _refused(name, what, "check the spelling") from None
    except errors.RevisionNotFoundError:
        raise _refused(name, "has no such revision", "name a branch, tag or commit that its page shows") from None
    except errors.LocalEntryNotFoundError:
        what = f"no path, no shipped shape, not in the local cache, and {unreachable or 'the Hub did not answer'}"
        raise _refused(name, what, "") from None
    except errors.EntryNotFoundError:
        raise _refused(name, "has no config.json, so transformers cannot load it", "name the original model") from None
    except errors.HFValidationError:
        raise _refused(name, "no path, no shipped shape and no Hub id", "") from None
    except _network_errors() as error:
        raise _refused(name, f"the Hub did not answer ({type(error).__name__})", "try again") from None


def _refused(name: str, what: str, remedy: str) -> ModelError:
    close = shapes.closest(name)
    offline = f"take the shipped shape {close}, or a local folder" if close else "take a local folder or --list-shapes"
    return ModelError(Mistake(name, what, f"{remedy}; or {offline}" if remedy else offline))
