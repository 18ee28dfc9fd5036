"""Facts and rules -> one decision for every rule. Pure, and linear in the number of rules."""

from collections.abc import Sequence

from advisor.clauses import Condition, clauses_of, judge
from advisor.facts import Facts, Known
from advisor.rule import Because, Blocked, Decision, Fires, Rule, Silent, Undecided, Verdict


def decide(rules: Sequence[Rule], facts: Facts) -> tuple[Decision, ...]:
    """What each rule says; nobody is left out."""
    return tuple(Decision(rule, verdict(rule, facts)) for rule in rules)


def fires(rule: Rule, facts: Facts) -> bool:
    """Whether a rule fires: `verdict` without its reasons, which stops at the first condition that does not hold."""
    if _other_task(rule, facts):
        return False
    return all(judge(condition, facts) is True for condition in (*rule.when, *rule.requires))


def verdict(rule: Rule, facts: Facts) -> Verdict:
    """Silent when a condition of `when` fails; blocked when only a requirement fails; undecided when what could fail
    is unknown; fires when all hold."""
    if other := _other_task(rule, facts):
        return Silent((other,))
    wanted = [(condition, judge(condition, facts)) for condition in rule.when]
    if failed := [condition for condition, holds in wanted if holds is False]:
        return Silent(_because(failed, facts))
    if unknown := [condition for condition, holds in wanted if holds is None]:
        return Undecided(_because(unknown, facts))
    needed = [(condition, judge(condition, facts)) for condition in rule.requires]
    if failed := [condition for condition, holds in needed if holds is False]:
        return Blocked(_because(failed, facts))
    if unknown := [condition for condition, holds in needed if holds is None]:
        return Undecided(_because(unknown, facts))
    return Fires(_because([*rule.when, *rule.requires], facts))


def _other_task(rule: Rule, facts: Facts) -> Because | None:
    """Why a rule has nothing to say for the task of this workload, or None."""
    task = facts.get("workload.task")
    if isinstance(task, Known) and task.value not in rule.tasks:
        return Because(f"workload.task in [{', '.join(rule.tasks)}]", "workload.task", task)
    return None


def _because(conditions: Sequence[Condition], facts: Facts) -> tuple[Because, ...]:
    """What settled each condition: of a group that holds the clauses that hold, else all of them."""
    found = []
    for condition in conditions:
        clauses = clauses_of(condition)
        settling = [clause for clause in clauses if judge(clause, facts) is True] or clauses
        found += [Because(clause.text, clause.fact, facts.get(clause.fact)) for clause in settling]
    return tuple(found)
