"""Rules are moves, an estimate is the judge: compose the changes that pay into the best setup that can be reached.

The search starts at the user's own setup. In each round every rule is asked about the setup reached so far, every
change that fires is tried on the estimate, and the best is taken, until none pays. Correctness comes first, then that
the model fits, then what the goal asks for. What was taken and no longer pays is dropped again. Pure: the estimate is
handed in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from advisor.conflicts import conflict
from advisor.engine import fires, verdict
from advisor.facts import Facts, Value
from advisor.merit import WORTH, Score, as_good, bet, gain, is_better, score
from advisor.notes import notes
from advisor.plan import Estimate, Note, Step
from advisor.rule import Change, Decision, FactReference, Fires, Rule
from advisor.setup import Setup
from advisor.steps import Taken, steps

UNREACHABLE = float("inf")
UNDOES = "would undo "
"""Begins the reason of a rule that leads back from a step that was taken: nothing that a reader must weigh."""


@dataclass(frozen=True)
class Situation:
    """What the planner judges with: the rules, the goal, the facts that hold in a setup, and its estimate."""

    rules: Sequence[Rule]
    goal: str
    facts: Callable[[Setup], Facts]
    estimate: Callable[[Setup], Estimate]


@dataclass(frozen=True)
class Composition:
    """The setup reached, its steps, every rule's decision, and why rules that fired were passed over."""

    baseline: Setup
    setup: Setup
    steps: tuple[Step, ...]
    notes: tuple[Note, ...]
    decisions: tuple[Decision, ...]
    passed_over: Mapping[str, str]


@dataclass
class _Search:
    """The state of one search."""

    situation: Situation
    baseline: Setup
    taken: list[Taken] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)

    @property
    def setup(self) -> Setup:
        return _after(self.baseline, self.taken)


def compose(situation: Situation, baseline: Setup) -> Composition:
    """The plan for `baseline`: steps in the order of the ladder, each with its predicted share."""
    search = _searched(situation, baseline)
    fired = {move.decision.rule.id: move.decision for move in search.taken}
    decisions = _decisions(search)
    passed_over = search.passed_over | _settled(search, decisions)
    return Composition(
        baseline=baseline,
        setup=search.setup,
        steps=steps(situation.estimate, baseline, search.taken),
        notes=notes(decisions, situation.facts(search.setup)),
        decisions=tuple(fired.get(decision.rule.id, decision) for decision in decisions),
        passed_over={name: why for name, why in passed_over.items() if name not in fired},
    )


def changes(situation: Situation, baseline: Setup) -> frozenset[tuple[str, str, Value]]:
    """What the plan for `baseline` changes, as (rule, knob, value): enough to tell two plans apart."""
    taken = _searched(situation, baseline).taken
    return frozenset((move.decision.rule.id, name, value) for move in taken for name, value in move.change.items())


def _searched(situation: Situation, baseline: Setup) -> _Search:
    """The search, and where a change was taken that another rule outranks, the search without it: the better of both.

    A change is judged by the next step alone, and one that looks slower at first may let a later one in: 4-bit weights
    rule compilation out, fp8 does not.
    """
    found = _greedy(situation, baseline)
    for rule in _outranking(found):
        rest = [other for other in situation.rules if other.id not in rule.outranks]
        other = _greedy(replace(situation, rules=rest), baseline)
        here, there = (score(situation.estimate(search.setup), situation.goal) for search in (found, other))
        if rule.id in {move.decision.rule.id for move in other.taken} and is_better(here, there, situation.goal):
            found = replace(other, situation=situation)
    return found


def _outranking(search: _Search) -> list[Rule]:
    """Rules that were not taken, would fire, and outrank one that was."""
    taken = {move.decision.rule.id for move in search.taken}
    found = []
    for rule in search.situation.rules:
        beaten = taken.intersection(rule.outranks)
        if rule.change and rule.id not in taken and beaten:
            without = _after(search.baseline, [m for m in search.taken if m.decision.rule.id not in beaten])
            found += [rule] if fires(rule, search.situation.facts(without)) else []
    return found


def _greedy(situation: Situation, baseline: Setup) -> _Search:
    """The best change in each round, until none pays."""
    search = _Search(situation, baseline)
    while (move := _best_move(search)) is not None:
        search.taken.append(move)
    _drop_what_no_longer_pays(search)
    ordered = _in_order(search)
    if _after(baseline, ordered) == search.setup:
        search.taken = ordered
    return search


def _decisions(search: _Search) -> tuple[Decision, ...]:
    """Every rule's word on the setup that the user has; of rules that only advise, on the setup of the plan."""
    here, there = search.situation.facts(search.baseline), search.situation.facts(search.setup)
    return tuple(Decision(rule, verdict(rule, here if rule.change else there)) for rule in search.situation.rules)


def _in_order(search: _Search) -> list[Taken]:
    """Correctness first, then up the ladder; but a step comes after those without which it would not apply."""
    waiting = sorted(search.taken, key=lambda m: (not m.decision.rule.always, m.decision.rule.step_on_ladder))
    ordered: list[Taken] = []
    while waiting:
        facts = search.situation.facts(_after(search.baseline, ordered))
        applies = (move for move in waiting if fires(move.decision.rule, facts))
        ordered.append(next(applies, waiting[0]))
        waiting.remove(ordered[-1])
    return ordered


def _settled(search: _Search, decisions: Sequence[Decision]) -> dict[str, str]:
    """Rules that fired at the start and no longer do with the steps taken, with the condition that ended it."""
    facts = search.situation.facts(search.setup)
    found = {}
    for decision in decisions:
        then = verdict(decision.rule, facts)
        if decision.rule.change and isinstance(decision.verdict, Fires) and not isinstance(then, Fires):
            found[decision.rule.id] = (
                f"no longer holds with the steps taken: {'; '.join(b.clause for b in then.because)}"
            )
    return found


def _after(setup: Setup, moves: Sequence[Taken]) -> Setup:
    for move in moves:
        setup = setup.changed(move.change)
    return setup


def _best_move(search: _Search) -> Taken | None:
    """The change to take next, or None when none pays. Notes why the others were passed over."""
    setup = search.setup
    facts = search.situation.facts(setup)
    here = score(search.situation.estimate(setup), search.situation.goal)
    moves: list[tuple[float, Taken]] = []
    for rule in search.situation.rules:
        if not rule.change or not fires(rule, facts):
            continue
        decision = Decision(rule, verdict(rule, facts))
        move = Taken(
            decision,
            _values(decision.rule.change, facts),
            tuple(_values(fallback, facts) for fallback in decision.rule.fallbacks),
        )
        merit = _merit(search, setup, here, move)
        if isinstance(merit, str):
            search.passed_over[decision.rule.id] = merit
        else:
            moves.append((merit, move))
    return _first(moves) if moves else None


def _first(moves: Sequence[tuple[float, Taken]]) -> Taken:
    """The move of most merit; one that outranks it is taken instead where the estimate sees no real difference."""
    merit, best = max(moves, key=lambda pair: pair[0])
    for other, move in moves:
        if best.decision.rule.id in move.decision.rule.outranks and other * WORTH >= merit:
            return move
    return best


def _values(change: Change, facts: Facts) -> dict[str, Value]:
    """A change in plain values; a knob that takes an unknown fact is left alone."""
    found: dict[str, Value] = {}
    for name, value in change.items():
        plain = facts.value(value.fact) if isinstance(value, FactReference) else value
        if plain is not None:
            found[name] = plain
    return found


def _merit(search: _Search, setup: Setup, here: Score, move: Taken) -> float | str:
    """How much better a move makes things (larger is better), or why it is passed over."""
    rule = move.decision.rule
    if fought := _fought_over(search, setup, move):
        return fought
    after = setup.changed(move.change)
    if after == setup:
        return "the setup is like that already"
    # Where the user's own knobs do not go together, the rules of correctness must be able to mend them one by one.
    if (problem := conflict(after)) and conflict(setup) is None:
        return problem
    if rule.always:
        return UNREACHABLE
    there = score(search.situation.estimate(after), search.situation.goal)
    return bet(here, there) if rule.unpredicted else gain(here, there, rule, search.situation.goal)


def _fought_over(search: _Search, setup: Setup, move: Taken) -> str | None:
    """Why a move may not undo an earlier one. What was set for correctness may be set to another right value."""
    owners = {name: other.decision.rule for other in search.taken for name in other.change}
    for name, value in move.change.items():
        owner = owners.get(name)
        if owner is None or getattr(setup, name) == value:
            continue
        if getattr(search.baseline, name) == value:
            return f"{UNDOES}{owner.id}"
        if not owner.always or fires(owner, search.situation.facts(setup.changed(move.change))):
            return f"{owner.id} sets {name} already"
    return None


def _drop_what_no_longer_pays(search: _Search) -> None:
    """Take out a step when the plan is as good without it: an early step can be overtaken by a later one."""
    for move in list(search.taken):
        if move.decision.rule.always or move.decision.rule.unpredicted:
            continue
        rest = [other for other in search.taken if other is not move]
        without = _after(search.baseline, rest)
        if conflict(without):
            continue
        here = score(search.situation.estimate(search.setup), search.situation.goal)
        there = score(search.situation.estimate(without), search.situation.goal)
        if as_good(here, there):
            search.taken.remove(move)
            search.passed_over[move.decision.rule.id] = "the other steps together are as good without it"
