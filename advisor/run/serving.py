"""The `serve()` of a recipe for requests that arrive while others run, answered by the model in its own process.

Static batching puts what waits into one padded batch, and all of it waits for the longest answer; continuous batching
lets requests join and leave at every step. `transformers serve` is the matter of `serve_engine`.
"""

from advisor.conflicts import spread
from advisor.run.generating import (
    INPUT_DEVICE,
    SDPA_BACKENDS,
    batch_limits,
    compile_configuration,
    knob_arguments,
    padded_lines,
    prompts_at_hand,
)
from advisor.run.source import Lines, call, literal
from advisor.run.subject import Subject
from advisor.setup import Setup
from advisor.workload import Arrivals

LISTEN_SECONDS = 0.5
"""How long the program waits for an answer before it looks whether the generating thread still lives."""


def arrivals_of(subject: Subject, setup: Setup) -> Arrivals | None:
    """The requests that a program of this setup answers one by one; None where `generate()` takes them together."""
    if subject.workload.arrivals is not None:
        return subject.workload.arrivals
    return Arrivals(prompts_at_hand(subject.workload), None) if setup.engine == "serve" else None


def at_a_time(subject: Subject, setup: Setup) -> int:
    """Requests that are answered side by side at most: the batch size, else those that the workload has in flight."""
    return 1 if setup.batching == "loop" else setup.batch_size or prompts_at_hand(subject.workload)


def serve_lines(subject: Subject, setup: Setup) -> Lines:
    """The function `serve()`. Every value of `setup` has been checked before."""
    return _continuous(subject, setup) if setup.batching == "continuous" else _static(subject, setup)


def _static(subject: Subject, setup: Setup) -> Lines:
    arguments = [
        "input_ids=ids",
        "attention_mask=mask",
        "pad_token_id=pad",
        "max_new_tokens=longest",
        "min_new_tokens=longest,  # for comparable figures; without it answers end where the model ends them",
        "do_sample=False",
        "stopping_criteria=[first]",
        *knob_arguments(subject, setup),
    ]
    device = "device" if spread(setup) else "model.device"
    return [
        *padded_lines(setup),
        *_first_token(),
        "@torch.inference_mode()",
        "def serve(model, requests):",
        '    """Requests that wait make one padded batch, and all of it waits for the longest answer."""',
        "    ends = model.generation_config.eos_token_id or 0",
        "    pad = ends[0] if isinstance(ends, list) else ends  # the mask hides it, so any token will do",
        *(f"    {line}" for line in compile_configuration(setup)),
        *([f"    {INPUT_DEVICE}"] if spread(setup) else []),
        "    answers, started = [], time.perf_counter()",
        "    while len(answers) < len(requests):",
        "        rest = requests[len(answers) :]",
        "        time.sleep(max(0.0, started + rest[0][0] - time.perf_counter()))",
        "        now = time.perf_counter() - started",
        f"        batch = [request for request in rest[:{literal(at_a_time(subject, setup))}] if request[0] <= now]",
        "        longest = max(new for _, _, new in batch)",
        f"        ids, mask = padded([prompt for _, prompt, _ in batch], pad, {device})",
        "        first = FirstToken()",
        *_call(setup, arguments),
        "        made = output[:, ids.shape[1] :].tolist()",
        "        end = time.perf_counter() - started",
        "        for (at, _, new), row in zip(batch, made):",
        "            answers.append((first.at - started - at, end - at, row[:new]))",
        "    return answers",
    ]


def _call(setup: Setup, arguments: list[str]) -> Lines:
    """The call of generate, within the choice of a kernel where there is one."""
    if setup.sdpa_backend is None:
        return call("        output = model.generate", arguments, 8)
    chosen = f"        with sdpa_kernel(SDPBackend.{SDPA_BACKENDS[setup.sdpa_backend]}):"
    return [chosen, *call("            output = model.generate", arguments, 12)]


def _first_token() -> Lines:
    return [
        "class FirstToken:",
        '    """A stopping criterion that never stops and notes when the first tokens of a batch were there."""',
        "",
        "    at = None",
        "",
        "    def __call__(self, ids, scores, **_):",
        "        if self.at is None:",
        "            ids[0, -1].item()  # waits for the device",
        "            self.at = time.perf_counter()",
        "        return ids.new_zeros(ids.shape[0], dtype=bool)",
        "",
        "",
    ]


def _continuous(subject: Subject, setup: Setup) -> Lines:
    limits = batch_limits(subject, setup, at_a_time(subject, setup))
    return [
        "def serve(model, requests):",
        '    """Requests join the running batch as they come, and leave it with their last token."""',
        "    longest = PROMPT_TOKENS + NEW_TOKENS",
        *(f"    {line}" for line in limits),
        "    settings = GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False)  # no end token: exact lengths",
        "    manager = model.init_continuous_batching(settings, continuous_batching_config=config)",
        "    manager.start()",
        "    try:",
        '        manager.add_request(requests[0][1], "warm-up", max_new_tokens=1)',
        "        answer(manager, None)",
        "        return served(manager, requests)",
        "    finally:",
        "        manager.stop(block=True, hard_stop=True)",
        "",
        "",
        *_collecting(),
    ]


def _collecting() -> Lines:
    """The functions that send requests to the manager and wait for its answers."""
    return [
        "def served(manager, requests):",
        '    """Send each request when its time has come, and collect what is ready meanwhile."""',
        "    answers, sent, started = {}, 0, time.perf_counter()",
        "    while len(answers) < len(requests):",
        "        now = time.perf_counter() - started",
        "        while sent < len(requests) and requests[sent][0] <= now:",
        "            _, prompt, new = requests[sent]",
        "            manager.add_request(prompt, str(sent), max_new_tokens=new, record_timestamps=True)",
        "            sent += 1",
        "        pause = requests[sent][0] - now if sent < len(requests) else None",
        "        if (found := answer(manager, pause)) is not None:",
        "            at = started + requests[int(found.request_id)][0]",
        "            first, last = found.timestamps[0] - at, found.timestamps[-1] - at",
        "            answers[int(found.request_id)] = (first, last, found.generated_tokens)",
        "    return [answers[number] for number in range(len(requests))]",
        "",
        "",
        "def answer(manager, seconds):",
        '    """The next answer that is ready; None where none comes in time. Without a time it waits."""',
        "    while True:",
        f"        pause = {LISTEN_SECONDS} if seconds is None else seconds",
        "        found = manager.get_result(timeout=pause)",
        "        if found is not None and found.error:",
        '            raise RuntimeError(f"continuous batching failed on a request: {found.error}")',
        "        if found is None and not manager.is_running():",
        '            raise RuntimeError("continuous batching ended before its requests")',
        "        if found is not None or seconds is not None:",
        "            return found",
    ]
