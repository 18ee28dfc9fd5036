"""Requests that arrive by themselves: how many, how often, and the lines of a program that makes them.

A program for them has `make_requests(model)`, which gives (second of arrival, prompt, new tokens) for each, and
`serve(model, requests)`, which answers (seconds to the first token, seconds to the last, new tokens) for each, both
counted from the request's own arrival.
"""

from advisor.run.source import Lines, literal
from advisor.workload import Arrivals, Workload

SEED = 0


def constants(arrivals: Arrivals) -> Lines:
    rate = literal(arrivals.rate_per_second)
    return [f"REQUESTS = {literal(arrivals.requests)}", f"PER_SECOND = {rate}  # None: all are there at once"]


def request_lines(workload: Workload, arrivals: Arrivals) -> Lines:
    """The function `make_requests()`: at a rate, prompts and answers are of all lengths, as users' are."""
    ragged = workload.mixed_lengths or arrivals.rate_per_second is not None
    length, new = "PROMPT_TOKENS", "NEW_TOKENS"
    if ragged:
        length, new = (f"numbers.randint(-(-{name} // 4), {name})" for name in (length, new))
    gap = [] if arrivals.rate_per_second is None else ["    at += numbers.expovariate(PER_SECOND)  # Poisson arrivals"]
    return [
        "def make_requests(model):",
        '    """(second of arrival, prompt, new tokens) of each request; the same in every run."""',
        f"    numbers = random.Random({SEED})",
        "    size = model.config.get_text_config().vocab_size",
        "    words = range(size // 10, size // 2 + 1)  # the ends of a vocabulary hold special tokens",
        "    at, requests = 0.0, []",
        "    for _ in range(REQUESTS):",
        f"        prompt = numbers.choices(words, k={length})",
        f"        requests.append((at, prompt, {new}))",
        *(f"    {line}" for line in gap),
        "    return requests",
    ]


def main_lines() -> Lines:
    """The program's own end: one round of requests, and what became of them."""
    return [
        "def main():",
        "    started = time.perf_counter()",
        "    model = load()",
        '    print(f"loaded in {time.perf_counter() - started:.1f} s")',
        "    requests = make_requests(model)",
        "    serve(model, [(0.0, *request[1:]) for request in requests[:2]])  # the first requests are slower",
        "    answers = serve(model, requests)",
        "    ends = [arrival + last for (arrival, _, _), (_, last, _) in zip(requests, answers)]",
        "    tokens = sum(len(ids) for _, _, ids in answers)",
        '    for name, number in (("first token", 0), ("whole answer", 1)):',
        "        waits = sorted(answer[number] for answer in answers)",
        "        middle, late = (waits[-(-len(waits) * share // 100) - 1] for share in (50, 95))",
        '        print(f"{name}: {middle:.3f} s for half of the requests, {late:.3f} s for 95 of 100")',
        '    print(f"{tokens / max(ends):.1f} new tokens/s, {len(answers) / max(ends):.2f} requests/s")',
    ]
