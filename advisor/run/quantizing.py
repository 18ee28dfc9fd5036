"""The `quantization_config` of a recipe, as the installed version takes it."""

from packaging.version import Version

from advisor.conflicts import BITSANDBYTES, quantizes
from advisor.run.source import Lines, literal
from advisor.run.subject import Subject
from advisor.setup import Setup

FOUR_BIT = {"bnb_nf4": "nf4", "bnb_nf4_double": "nf4", "bnb_fp4": "fp4"}
INT4_GROUP = 128
# TorchAoConfig takes torchao's own configurations from 4.50 on, names of them before.
TORCHAO_OBJECTS_SINCE = Version("4.50")
# From 5.4 on transformers asks for torchao 0.15, whose int4 weights are packed for a package of their own (mslk)
# unless they are asked to be packed for torch's kernel.
INT4_PACKING_SINCE = Version("5.4")


def configuration_class(setup: Setup) -> str | None:
    """The class of transformers that the program must import, or None where nothing is quantized."""
    if not quantizes(setup):
        return None
    package = str(setup.quantization).partition("_")[0]
    return {
        "bnb": "BitsAndBytesConfig",
        "torchao": "TorchAoConfig",
        "quanto": "QuantoConfig",
        "fp8": "FineGrainedFP8Config",
    }[package]


def torchao_class(subject: Subject, setup: Setup) -> str | None:
    """The class of torchao that the program must import, or None."""
    classes = {"torchao_int8": "Int8WeightOnlyConfig", "torchao_int4": "Int4WeightOnlyConfig"}
    return None if subject.older_than(TORCHAO_OBJECTS_SINCE) else classes.get(str(setup.quantization))


def configuration(subject: Subject, setup: Setup) -> Lines:
    """The argument `quantization_config` of from_pretrained; empty where nothing is quantized."""
    made = configuration_class(setup)
    if made is None:
        return []
    if setup.quantization in BITSANDBYTES:
        return [f"quantization_config={made}(", *(f"    {line}" for line in _bitsandbytes(setup)), ")"]
    return [f"quantization_config={made}({_arguments(subject, setup)})"]


def _arguments(subject: Subject, setup: Setup) -> str:
    if setup.quantization in ("quanto_int8", "quanto_int4"):
        return f"weights={literal(str(setup.quantization).removeprefix('quanto_'))}"
    if setup.quantization == "torchao_int8":
        return '"int8_weight_only"' if subject.older_than(TORCHAO_OBJECTS_SINCE) else "Int8WeightOnlyConfig()"
    if setup.quantization == "torchao_int4":
        return _int4(subject)
    return ""


def _int4(subject: Subject) -> str:
    if subject.older_than(TORCHAO_OBJECTS_SINCE):
        return f'"int4_weight_only", group_size={INT4_GROUP}'
    packing = "" if subject.older_than(INT4_PACKING_SINCE) else ', int4_packing_format="tile_packed_to_4d"'
    return f"Int4WeightOnlyConfig(group_size={INT4_GROUP}{packing})"


def _bitsandbytes(setup: Setup) -> Lines:
    if setup.quantization == "bnb_int8":
        return ["load_in_8bit=True,"]
    compute = setup.dtype or "bfloat16"
    lines = [
        "load_in_4bit=True,",
        f"bnb_4bit_quant_type={literal(FOUR_BIT[str(setup.quantization)])},",
        f"bnb_4bit_compute_dtype=torch.{compute},",
    ]
    return [*lines, "bnb_4bit_use_double_quant=True,"] if setup.quantization == "bnb_nf4_double" else lines
