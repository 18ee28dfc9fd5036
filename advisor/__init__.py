"""perf-advisor in Python: what the commands do, as functions that return the objects behind --json.

    import advisor

    plan = advisor.diagnose("meta-llama/Llama-3.1-8B", batch=8, goal="throughput")
    result = advisor.apply(plan)
    print(result.speedup)
    loaded = advisor.load("plan.json")
    loaded.model.generate(**inputs, max_new_tokens=100, **loaded.arguments)

Nothing heavy is imported before a function is called. `load` alone imports torch and transformers into this process.
`install` makes this process, or this notebook, explain its own failures; `uninstall` ends that.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.api import Loaded, apply, diagnose, explain, load
    from advisor.hooks import install, uninstall

__all__ = ["Loaded", "apply", "diagnose", "explain", "install", "load", "uninstall"]


def __getattr__(name: str) -> Any:
    if name in ("install", "uninstall"):
        from advisor import hooks

        return getattr(hooks, name)
    if name in __all__:
        from advisor import api

        return getattr(api, name)
    raise AttributeError(f"module 'advisor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
