"""Whether the run that failed was one of training or of inference, by the calls and log lines around it."""

from collections.abc import Sequence

from advisor.patterns import when_used
from advisor.reading.cleaning import Line

ABOVE = 30
"""Lines above the traceback whose progress bars and log lines still belong to the step that failed."""
# Calls that only a step of training makes: transformers, trl, accelerate, torch, lightning, deepspeed.
_STEP = when_used(
    r"\btraining_step\b|\btrainer\.train\(|inner_training_loop|\btrain_one_epoch\b|\b_run_ddp_forward\b"
    r"|nn[/\\]parallel[/\\]distributed\.py|fsdp[/\\]fully_sharded_data_parallel\.py|deepspeed[/\\]runtime[/\\]"
    r"|trl[/\\]trainer[/\\]|fit_loop\.py|training_epoch_loop\.py|\.backward\(|\boptimi[sz]er\.step\("
)
# The loss, which evaluation computes as well, and the names that people give to files and functions.
_LOSS = when_used(
    r"\bcompute_loss\b|ForCausalLMLoss|loss[/\\]loss_utils\.py|\bloss_function\(|\bcriterion\(|\bloss\w*\s?=\s?\w"
    r"|\bin train(?:_\w{1,30})?\b|File .{0,300}\b(?:train|finetune|sft)\w{0,30}\.py\b"
)
_LOG = when_used(
    r"\bepoch\b[\s:=\[(#]{0,3}\d|(?<![a-z_])(?:train[_ /])?loss['\"]?\s?[:=]?\s?\d{1,6}\.\d"
    r"|['\"]grad_norm['\"]|\bgrad_norm[:=]"
)
_INFERENCE = when_used(
    r"generation[/\\]utils\.py|\.generate\(|transformers[/\\]pipelines[/\\]|diffusers[/\\]pipelines[/\\]|\bpipe(?:line)?\("
    r"|[/\\](?:vllm|sglang|lmdeploy)[/\\]|\bexecute_model\b|\.predict\(|\bevaluation_loop\b|\bprediction_step\b"
)
_TOLD = when_used(
    r"\b(?:re)?train(?:s|ing)?\b|\bfine-?\s?tun(?:ing|es?)\b|\bepochs?\b|\bbackward\b|\bsft\b|\bgrpo\b|\bdpo\b"
)
_TOLD_OTHERWISE = when_used(
    r"\bgenerat\w*|\binference\b|\bprompts?\b|\bchat\w*|\bserv(?:e|es|er|ing)\b|\beval\w*|\bpredict\w*|\bload\w*"
)


def runs(lines: Sequence[Line], scope: tuple[int, int], message: int, no_grad: bool) -> tuple[bool, bool]:
    """Whether training is shown, and whether inference is. `scope` are the lines that tell where it failed, `no_grad`
    whether gradients were seen to be off."""
    first, last = scope
    frames = [line.bare for line in lines[first:last]]
    if any(_STEP.search(bare) for bare in frames):
        return True, False
    infers = no_grad or any(_INFERENCE.search(bare) for bare in frames)
    above = (line.bare.lower() for line in lines[max(0, first - ABOVE) : message])
    trains = any(_LOSS.search(bare) for bare in frames) or any(_LOG.search(bare) for bare in above)
    return trains and not infers, infers


def told_runs(story: str) -> tuple[bool, bool]:
    """The same of an account in somebody's own words, where only plain words for training count."""
    story = story.lower()
    return _TOLD.search(story) is not None and _TOLD_OTHERWISE.search(story) is None, False
