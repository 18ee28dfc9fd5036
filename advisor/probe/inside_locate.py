"""Runs in the target interpreter: where symbols and words stand in the installed packages, by their source text.

Two paths on the command line: the request and the answer, both JSON. Nothing of the packages is imported.

Request: {"symbols": [text], "words": [text]}. Answer: {"symbols": [PLACE | {"symbol", "missing": reason}],
"words": {word: [PLACE]}, "said": {word: what the library says of its deprecation}, "near": {word: [name]},
"transformers": version or null}, where PLACE is {"symbol", "file",
"line", "text"} with the file relative to the folder that holds the package.

Words are looked for in transformers: as a class or function, as an argument of the calls in CALLS, as a text in VALUES,
as a constant. The modules of single models are searched last, because they repeat each other.
"""

from __future__ import annotations  # The target may run an older Python than this program does.

import ast
import difflib
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

WORD = re.compile(r"[A-Za-z_][\w|.-]*")
MOST_PLACES = 5
LONGEST_REMARK = 400
DEFINITION = r"^(?:class|def|async def) +{}\b"
METHOD = r"^[ \t]+(?:class|def|async def) +{}\b"
CONSTANT = r"^{}\s*(?::[^=\n]*)?="
CALLS = (
    "transformers.modeling_utils:PreTrainedModel.from_pretrained",
    "transformers.generation.configuration_utils:GenerationConfig",
    "transformers.generation.configuration_utils:ContinuousBatchingConfig",
    "transformers.generation.configuration_utils:CompileConfig",
    "transformers.utils.quantization_config:BitsAndBytesConfig",
    "transformers.tokenization_utils_base:PreTrainedTokenizerBase",
    "transformers.tokenization_utils_base:PreTrainedTokenizerBase.__call__",
    "transformers.training_args:TrainingArguments",
)
VALUES = (
    "transformers.modeling_utils:AttentionInterface",
    "transformers.generation.configuration_utils:ALL_CACHE_IMPLEMENTATIONS",
    "transformers.quantizers.auto:AUTO_QUANTIZER_MAPPING",
)


def beside(name: str) -> ModuleType:
    """The program `name` from this folder as a module, whatever the import path holds."""
    path = Path(__file__).resolve().with_name(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


places = beside("inside_places.py")


def located(library: Any, symbol: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = library.place(symbol)
        return found
    except places.Missing as missing:
        return {"symbol": symbol, "missing": str(missing)}


class Words:
    """A search for plain words in the source of transformers."""

    def __init__(self, library: Any) -> None:
        self.library = library
        spec = importlib.util.find_spec("transformers")
        self.root = Path(spec.origin).parent if spec and spec.origin else None
        self.general = self.files() if self.root else []
        self.texts: dict[Path, str] = {}

    def find(self, word: str) -> list[dict[str, Any]]:
        """The places of a word, at most MOST_PLACES: definitions, arguments, values, constants."""
        if self.root is None or not WORD.fullmatch(word):
            return []
        inside = self.lines(self.general, METHOD, word)
        found = [*self.lines(self.general, DEFINITION, word), *self.asked(word), *inside]
        found = found or self.lines(self.general, CONSTANT, word)
        found = found or self.lines(sorted(self.root.glob("models/*/*.py")), DEFINITION, word)
        found = found or self.lines(sorted(self.root.glob("models/*/*.py")), METHOD, word)
        return found[:MOST_PLACES]

    def files(self) -> list[Path]:
        """The files that serve all models, those nearest to the top first."""
        assert self.root is not None
        folders = [path for path in self.root.iterdir() if path.is_dir() and path.name not in ("models", "__pycache__")]
        files = [*self.root.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
        files = [path for path in files if not path.name.startswith("dummy_")]
        return sorted(files, key=lambda path: (len(path.parts), path))

    def text(self, path: Path) -> str:
        if path not in self.texts:
            self.texts[path] = path.read_text(encoding="utf-8", errors="replace")
        return self.texts[path]

    def lines(self, files: list[Path], pattern: str, word: str) -> list[dict[str, Any]]:
        """The first line of each file that matches."""
        looked = re.compile(pattern.format(re.escape(word)), re.MULTILINE)
        found = []
        for path in files:
            text = self.text(path)
            if word in text and (matched := looked.search(text)):
                number = text.count("\n", 0, matched.end()) + 1
                found.append(self.place(path, number, text.splitlines()[number - 1], word))
        return found

    def place(self, path: Path, number: int, line: str, word: str) -> dict[str, Any]:
        assert self.root is not None
        inside = path.relative_to(self.root.parent)
        return {"symbol": word, "file": inside.as_posix(), "line": number, "text": places.shown(line)}

    def asked(self, word: str) -> Iterator[dict[str, Any]]:
        """The word as an argument of well-known calls, and as a value of well-known lists."""
        symbols = [f"{call}({word})" for call in CALLS] + [f"{owner}[{word}]" for owner in VALUES]
        for symbol in symbols:
            place = located(self.library, symbol)
            if "file" in place:
                yield place

    def said(self, word: str) -> str | None:
        """The text of a warning that calls the word deprecated, in the library's own words."""
        named = re.compile(rf"[`'\"]{re.escape(word)}[`'\"]")
        for path in self.general:
            text = self.text(path)
            if "deprecated" in text and named.search(text):
                for remark in remarks(text):
                    if "deprecated" in remark and named.search(remark):
                        return remark[:LONGEST_REMARK]
        return None

    def near(self, word: str) -> list[str]:
        """Names of definitions and arguments that look like a word."""
        if self.root is None:
            return []
        anything = re.compile(r"^(?:    )?(?:class|def) +(\w+)|^\s+\w+ = kwargs\.pop\(\"(\w+)\"", re.MULTILINE)
        texts = (self.text(path) for path in self.general)
        names = {name for text in texts for pair in anything.findall(text) for name in pair if name}
        if not word.startswith("_"):
            names = {name for name in names if not name.startswith("_")}
        return difflib.get_close_matches(word, sorted(names), n=3, cutoff=0.75)


def remarks(text: str) -> Iterator[str]:
    """Texts that a file hands to a call, such as a warning; without docstrings."""
    try:
        parsed = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    calls = (node for node in ast.walk(parsed) if isinstance(node, ast.Call))
    for argument in (argument for call in calls for argument in call.args):
        parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
        words = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if words:
            yield " ".join(" ... ".join(words).split())


def version() -> str | None:
    try:
        return metadata.version("transformers")
    except metadata.PackageNotFoundError:
        return None


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    library = places.Library()
    words = Words(library)
    found = {word: words.find(word) for word in request["words"]}
    answer = {
        "symbols": [located(library, symbol) for symbol in request["symbols"]],
        "words": found,
        "said": {word: remark for word in found if (remark := words.said(word))},
        "near": {word: words.near(word) for word, there in found.items() if not there},
        "transformers": version(),
    }
    whole = Path(sys.argv[2] + ".part")
    whole.write_text(json.dumps(answer), encoding="utf-8")
    whole.replace(sys.argv[2])


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if str(Path(entry or ".").resolve()) != here]
    main()
