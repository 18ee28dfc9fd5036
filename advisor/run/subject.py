"""What a recipe is about besides the setup: which model, which workload, and what is known of the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from advisor.plan import ModelReference
from advisor.workload import Workload

SEED = 0


@dataclass(frozen=True)
class Subject:
    """The model and the workload of a recipe.

    `config` holds the published configuration of a shipped shape; `transformers` and `torch` are the versions in the
    target environment where they are known; `tokenizer` says that a tokenizer lies beside the weights,
    `quantized` that the checkpoint's weights are quantized already.
    """

    reference: ModelReference
    workload: Workload
    random_weights: bool
    config: Mapping[str, Any] | None = None
    transformers: Version | None = None
    tokenizer: bool = False
    torch: Version | None = None
    quantized: bool = False

    def older_than(self, version: Version) -> bool:
        """Whether the installed transformers is known to be older than `version`."""
        return self.transformers is not None and self.transformers < version
