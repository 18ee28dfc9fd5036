"""One static cache for all requests: nothing is allocated anew, and compiled code finds the same tensors."""

from advisor.run.source import Lines
from advisor.setup import Setup


def own_cache_lines(setup: Setup) -> Lines:
    """The function `empty_cache()` of a recipe, and blank lines behind it; empty where no cache is kept."""
    if not setup.keep_cache:
        return []
    body = [
        'kept = model.__dict__.setdefault("kept_caches", {})',
        "length, cache = kept.get(rows, (0, None))",
        "if length < tokens:",
        "    length = max(tokens, PROMPT_TOKENS + NEW_TOKENS)",
        "    cache = StaticCache(config=model.config, max_cache_len=length)",
        "    kept[rows] = length, cache",
        "cache.reset()  # else the last request would be read too",
        "return cache",
    ]
    return [
        "def empty_cache(model, rows, tokens):",
        '    """The static cache for so many prompts, made anew only for longer requests."""',
        *(f"    {line}" for line in body),
        "",
        "",
    ]


def kept_cache_lines(setup: Setup) -> Lines:
    """The line before each call of generate."""
    asked = "    cache = empty_cache(model, ids.shape[0], ids.shape[1] + NEW_TOKENS)"
    return [asked] if setup.keep_cache else []
