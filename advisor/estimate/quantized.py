"""What quantized weights do to a step: fewer bytes to read, more to launch, and a detour where a batch is large."""

from dataclasses import dataclass

from packaging.version import Version

from advisor.estimate.constants import Matrices, Measured
from advisor.estimate.room import device
from advisor.facts import Facts
from advisor.setup import Setup


@dataclass(frozen=True)
class Scheme:
    """A way to keep weights, on an accelerator: bits per weight, host time against plain weights, and whether products
    of more than one row first write the weights out in 16 bits, with the factor on the host time that this takes."""

    bits: float
    host: float
    writes_out: bool
    host_many: float = 1.0


# Bits: 32-bit scale per 64 weights (nf4), itself quantized (double), 16-bit scale and 4-bit zero per 128 (gptq, awq).
# Host factors from published runs on A100 and H100 (transformers 4.35 to 4.51, bitsandbytes 0.45): gptq 0.93 to 1.10,
# fine-grained fp8 2.4-3.5. Two to sixteen prompts cost bitsandbytes 1.24 times the host time of one.
ON_ACCELERATOR = {
    "bnb_int8": Scheme(8.0, 3.3, False),
    "bnb_nf4": Scheme(4.5, 1.36, True, 1.24),
    "bnb_fp4": Scheme(4.5, 1.36, True, 1.24),
    "bnb_nf4_double": Scheme(4.13, 1.69, True, 1.24),
    "gptq": Scheme(4.16, 1.0, True),
    "gptq_int8": Scheme(8.19, 1.35, True),
    "awq": Scheme(4.16, 1.25, False),
    "fp8": Scheme(8.0, 3.0, False),
}
SLOWER_BEFORE = Version("0.45.dev0")
SLOWER = {"bnb_int8": 1.3, "bnb_nf4": 1.18, "bnb_fp4": 1.18, "bnb_nf4_double": 1.28}
"""How much longer the host took with bitsandbytes before 0.45: the same runs on an H100 with 0.44.1 and with 0.45 (int8
on A100 and T4)."""
# Factors on the host time and on products of 1, 8 and 256 rows in bf16. Measured with bitsandbytes 0.50.2 on 150M and
# 600M models on two CPUs of two cores: one with AMX, where plain bf16 is fast, and an EPYC 9004 without.
ON_CPU = {
    ("bnb_int8", True): (3.3, 1.0, 1.25, 2.0),
    ("bnb_int8", False): (3.3, 1.1, 0.9, 1.6),
    ("bnb_4bit", True): (1.9, 0.33, 1.4, 6.0),
    ("bnb_4bit", False): (1.9, 0.33, 0.43, 1.5),
    ("quanto_int4", True): (1.0, 0.4, 0.8, 5.3),
    ("torchao_int8", True): (1.0, 1.8, 1.5, 1.0),
    ("torchao_int8 compiled", True): (1.0, 0.7, 1.2, 1.0),
}
# A call of a 4-bit layer takes 33 us more than one of a plain layer, however small (64 x 64 weights, one thread of the
# first of these CPUs): for seven products 0.9 of the host time of a layer there. What that leaves of the whole runs is
# the factor on the products; without it, 4-bit weights of narrow layers were predicted to be 1.5 times too fast.
# Those of quanto and torchao were worked out from whole runs of a 600M model (bf16; 128 tokens in, 64 out; 1 and 8
# prompts; quanto 0.2.7, torchao 0.18) on the CPU with AMX alone. quanto's int8 was not timed finely enough to be here.


BETWEEN_4_AND_8_BITS = 6.0


@dataclass(frozen=True)
class WrittenOut:
    """Products with weights that are read small for one row, and written out and read again for more."""

    plain: Matrices
    share: float
    """Size of the quantized weights against plain ones."""
    writes_out: bool

    def seconds(self, rows: float) -> float | None:
        """Seconds per parameter for `rows` rows."""
        one, many = self.plain.seconds(1), self.plain.seconds(rows)
        if one is None or many is None or rows <= 1:
            return None if one is None else one * self.share
        # Reading the small weights and writing the large ones; reading those again is part of the plain product.
        return (
            many + one * (1 + self.share) if self.writes_out else max(many - one * (1 - self.share), one * self.share)
        )


@dataclass(frozen=True)
class Quantized:
    """The factor on the host time of a layer, and the cost of the products of the layers."""

    host: float
    matrices: Matrices | WrittenOut
    host_many: float = 1.0
    """The further factor where a pass has more than one row."""


def scheme_of(model: Facts, setup: Setup) -> str:
    """How the weights are kept: as the setup asks, else as they are in the checkpoint; `none` for plain weights."""
    if setup.quantization not in (None, "none"):
        return str(setup.quantization)
    stored = model.text("model.checkpoint_quantization") or "none"
    if stored not in ("bitsandbytes", "gptq"):
        return stored
    bits = _stored_bits(model)
    if bits is None:
        return "of unknown width"
    wide, narrow = ("bnb_int8", "bnb_nf4") if stored == "bitsandbytes" else ("gptq_int8", "gptq")
    return wide if bits > BETWEEN_4_AND_8_BITS else narrow


def _stored_bits(model: Facts) -> float | None:
    """Bits per weight of the layers in the checkpoint, when all other weights are taken as 16-bit."""
    size, linear, total = (
        model.count(f"model.{name}") for name in ("checkpoint_bytes", "parameters_linear", "parameters")
    )
    if not size or not linear or not total:
        return None
    return 8 * (size - 2 * (total - linear)) / linear


def quantized(scheme: str, machine: Facts, setup: Setup, plain: Matrices) -> Quantized | None:
    """The cost of layers whose weights are kept by `scheme`, from that of plain 16-bit ones; None where unknown."""
    if scheme == "none":
        return Quantized(1.0, plain)
    if device(machine, setup) == "cpu":
        return _on_cpu(scheme, machine, setup, plain)
    found = ON_ACCELERATOR.get(scheme)
    if found is None:
        return None
    version = machine.text("bitsandbytes.version")
    slower = SLOWER.get(scheme, 1.0) if version and Version(version) < SLOWER_BEFORE else 1.0
    return Quantized(found.host * slower, WrittenOut(plain, found.bits / 16, found.writes_out), found.host_many)


def _on_cpu(scheme: str, machine: Facts, setup: Setup, plain: Matrices) -> Quantized | None:
    kind = "bnb_4bit" if scheme in ("bnb_nf4", "bnb_fp4", "bnb_nf4_double") else scheme
    if not kind.startswith("bnb") and setup.dtype == "float32":
        return None  # measured with bf16 weights, and other than bitsandbytes these compute in the weights' type
    if kind == "torchao_int8" and setup.compile not in (None, "none"):
        kind += " compiled"
    amx = machine.value("host.amx_bf16")
    wanted = [(kind, amx)] if isinstance(amx, bool) else [(kind, True), (kind, False)]
    rows = [ON_CPU[key] for key in wanted if key in ON_CPU]
    if len(rows) < len(wanted) or not isinstance(plain, Measured):
        return None
    # Where nobody can say which kind of CPU it is, the slower of the two counts.
    host, one, eight, many = (max(column) for column in zip(*rows, strict=True))
    return Quantized(host, Measured(plain.one_row * one, plain.eight_rows * eight, plain.many_rows * many))
