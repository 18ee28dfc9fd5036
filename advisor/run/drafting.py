"""Tokens drafted ahead: by looking them up in the prompt, or by a small assistant that is loaded beside the model."""

from packaging.version import Version

from advisor.run.source import Lines, literal
from advisor.run.subject import Subject
from advisor.setup import Setup

# The keyword `dtype` came with 4.56.
DTYPE_SINCE = Version("4.56")
# Tokens that prompt lookup drafts where the setup does not say: what the method's first publication used.
DRAFTED_TOKENS = 10


def drafting_arguments(setup: Setup) -> list[str]:
    """What generate is told of drafting."""
    if setup.speculation == "prompt_lookup":
        drafted = literal(setup.prompt_lookup_num_tokens or DRAFTED_TOKENS)
        return [f"prompt_lookup_num_tokens={drafted},  # gains only where answers repeat their prompts"]
    return ["assistant_model=model.assistant[0]"] if setup.speculation == "assistant" else []


def assistant_lines(subject: Subject, setup: Setup) -> Lines:
    """Loads the assistant in its own type of weights or the setup's, where the model's embeddings lie."""
    if setup.speculation != "assistant":
        return []
    name = "torch_dtype" if subject.older_than(DTYPE_SINCE) else "dtype"
    dtype = [] if setup.dtype is None else [f"{name}=torch.{setup.dtype}"]
    arguments = ", ".join([literal(setup.assistant_model), *dtype])
    return [
        f"assistant = AutoModelForCausalLM.from_pretrained({arguments})",
        "model.assistant = [assistant.to(model.device).eval()]  # in a list: it is no part of the model",
    ]
