"""`perf-advisor rule`: the ladder, one rule's page, or the cases of a folder."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from advisor import casebook, child, errorbook, rulebook, ruleschema
from advisor.commands import options as common
from advisor.errors import Mistake, RequestError, nearest
from advisor.explaining import test_cases
from advisor.probe import locate
from advisor.rule import RUNGS, Rule
from advisor.show import ladder, terminal


def run(options: argparse.Namespace) -> int:
    """0; 1 when cases of a tested folder fail."""
    if options.schema:
        common.print_json(ruleschema.schema())
        return 0
    if options.test:
        return _test(Path(options.test), options.json)
    rules = common.rules(options)
    if options.id is None:
        if options.json:
            common.print_json([ladder.rule_json(rule) for rule in rules])
        else:
            terminal.out().print(ladder.ladder(rules))
        return 0
    return _page(options, rules)


def _page(options: argparse.Namespace, rules: Sequence[Rule]) -> int:
    """The page of a rule, or of a cause that explain knows."""
    causes = errorbook.load(rulebook.shipped() / "errors")
    # The path of a rule's file names it as well: docs/coverage.md writes errors/ID.
    wanted = options.id.rsplit("/", 1)[-1].removesuffix(".yaml")
    advice = next((rule for rule in rules if rule.id == wanted), None)
    cause = next((rule for rule in causes if rule.id == wanted), None)
    if advice is not None:
        located = _located(options, advice)
        found, as_json = ladder.page(advice, located), ladder.rule_json(advice, located)
    elif cause is not None:
        found, as_json = ladder.error_page(cause), ladder.error_json(cause)
    else:
        close = nearest(wanted, [rule.id for rule in rules] + [rule.id for rule in causes])
        hint = f"did you mean {close}?" if close else "perf-advisor rule lists them"
        raise RequestError(Mistake("ID", f"no rule is called {options.id}", hint))
    if options.json:
        common.print_json(as_json)
    else:
        terminal.out().print(found)
    return 0


def _located(options: argparse.Namespace, rule: Rule) -> Sequence[locate.Located] | None:
    """Where the rule's symbols stand in the target environment; a recorded machine has none that could be read."""
    if options.machine or not rule.locate:
        return None
    return locate.look(child.target_python(options.python), rule.locate).symbols


def _test(folder: Path, as_json: bool) -> int:
    """Run a folder's own cases, with the check that every condition is isolated by one; errors/ as well."""
    rules = rulebook.load(folder)
    mistakes = casebook.check(rules, rulebook.full_vocabulary())
    cases = sum(len(rule.cases) for rule in rules)
    errors = errorbook.load(folder / "errors", kept=False) if (folder / "errors").is_dir() else ()
    if not rules and not errors:
        what = "holds no rule; a rule is a .yaml file in the folder of its rung"
        raise RequestError(Mistake(str(folder), what, f"{folder}/{RUNGS[0]}/ID.yaml, for one"))
    mistakes += test_cases(errors)
    texts = sum(len(rule.cases) for rule in errors)
    if as_json:
        failures = [{"where": m.where, "what": m.what, "hint": m.hint} for m in mistakes]
        counts = {"rules": len(rules), "cases": cases, "error_rules": len(errors), "texts": texts}
        common.print_json({**counts, "failures": failures})
        return 1 if mistakes else 0
    for mistake in mistakes:
        print(mistake)
    failed = "1 failure" if len(mistakes) == 1 else f"{len(mistakes)} failures"
    outcome = failed if mistakes else "all as they should be"
    print(f"{len(rules)} rules with {cases} cases, {len(errors)} error rules with {texts} texts: {outcome}")
    return 1 if mistakes else 0
