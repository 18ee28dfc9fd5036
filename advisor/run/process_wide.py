"""What a recipe sets for its whole process: environment variables that torch reads when it is imported, and threads."""

from packaging.version import Version

from advisor.run.source import Lines, literal
from advisor.run.subject import Subject
from advisor.setup import Setup

# PYTORCH_ALLOC_CONF came with torch 2.9, but CUDA did not see its expandable_segments there (pytorch issue 183387).
# The older name works in all versions; 2.8 to 2.11 warn of it.
ALLOCATOR_NAME_SINCE = Version("2.12")


def environment_lines(subject: Subject, setup: Setup) -> Lines:
    """The lines that must stand before `import torch`; empty where nothing is set."""
    variables = {}
    if setup.allocator is not None:
        new = subject.torch is not None and subject.torch >= ALLOCATOR_NAME_SINCE
        variables["PYTORCH_ALLOC_CONF" if new else "PYTORCH_CUDA_ALLOC_CONF"] = setup.allocator
    if setup.huge_pages is not None:
        # c10/core/impl/alloc_cpu.cpp reads it at the first allocation, and asks for tensors of 2 MB and more.
        variables["THP_MEM_ALLOC_ENABLE"] = "1" if setup.huge_pages else "0"
    lines = [f"os.environ[{literal(name)}] = {literal(value)}" for name, value in variables.items()]
    return [*lines[:-1], f"{lines[-1]}  # before torch is imported"] if lines else []


def thread_lines(setup: Setup) -> Lines:
    """Settings of threads and arithmetic, at the head of `load()`."""
    lines = [] if setup.threads is None else [f"torch.set_num_threads({literal(setup.threads)})"]
    if setup.interop_threads is not None:
        count = literal(setup.interop_threads)
        # torch takes it once in a process; where programs share one, the second must not fail for it.
        lines.append(f"if torch.get_num_interop_threads() != {count}:")
        lines.append(f"    torch.set_num_interop_threads({count})  # before anything else runs")
    if setup.matmul_precision == "high":
        lines.append('torch.set_float32_matmul_precision("high")  # TF32 for float32 products, where the GPU has it')
    return lines
