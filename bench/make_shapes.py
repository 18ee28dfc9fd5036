"""Makes the files of advisor/shapes/ with the transformers of the interpreter that runs this.

    python bench/make_shapes.py                      make every shape again from its own configuration
    python bench/make_shapes.py NAME HUB_ID CONFIG_JSON PUBLISHED [CHECKPOINT_DTYPE]
                                                     add one; PUBLISHED is the publisher's count, like 8.03

A shape is refused when the parameters that the library counts do not round to the published figure.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from advisor.probe import inside_model

FOLDER = Path(__file__).parent.parent / "advisor" / "shapes"


def rounds_to(parameters: int, published: str) -> bool:
    """Whether `parameters` is the published figure in billions, to within one unit of its last digit."""
    digits = len(published.partition(".")[2])
    return abs(parameters / 1e9 - float(published)) < 10.0**-digits


def made(hub_id: str, config: dict[str, Any], published: str, checkpoint_dtype: str) -> dict[str, Any]:
    """One shape as it goes to JSON.

    Raises:
        SystemExit: the parameters do not round to the published figure.
    """
    import transformers

    request = {"config": config, "source": None, "revision": None, "trust_remote_code": False}
    model = inside_model.describe(request)
    if not rounds_to(model["groups"]["total"], published):
        raise SystemExit(f"{hub_id}: {model['groups']['total']:,} parameters counted, {published} billion published")
    return {
        "hub_id": hub_id,
        "published_parameters": published,
        "checkpoint_dtype": checkpoint_dtype,
        "config": config,
        "architecture": model["architecture"],
        "config_dtype": model["dtype"],
        "resolved": model["text"],
        "cache_layers": dict(Counter(model["cache_layers"])),
        "groups": model["groups"],
        "supports": model["supports"],
        "auto_compile": model["auto_compile"],
        "made_with": f"transformers {transformers.__version__}",
    }


def write(name: str, shape: dict[str, Any]) -> None:
    (FOLDER / f"{name}.json").write_text(json.dumps(shape, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    if arguments:
        name, hub_id, config_path, published, *dtype = arguments
        config = json.loads(Path(config_path).read_text(encoding="utf-8"))
        write(name, made(hub_id, config, published, (dtype or [config.get("torch_dtype")])[0]))
        return
    for path in sorted(FOLDER.glob("*.json")):
        old = json.loads(path.read_text(encoding="utf-8"))
        write(path.stem, made(old["hub_id"], old["config"], old["published_parameters"], old["checkpoint_dtype"]))


if __name__ == "__main__":
    main(sys.argv[1:])
