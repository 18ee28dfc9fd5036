"""Successive halving on a made-up clock: no process, no model."""

from advisor.run.inside_halving import EFFORTS, FOR_THE_DEAR, MOST_RUNS, Candidate, Effort, Search, halve


class Machine:
    """Setups that take known seconds, on a clock that runs while they are tried."""

    def __init__(self, seconds: dict[str, float], budget: float, fails: tuple[str, ...] = ()) -> None:
        self.seconds, self.left, self.fails = seconds, budget, fails
        self.tried: list[tuple[str, Effort]] = []

    def try_out(self, one: Candidate, effort: Effort) -> float:
        self.tried.append((one.name, effort))
        self.left -= self.seconds[one.name] + one.extra_seconds
        if one.name in self.fails:
            raise RuntimeError("no kernel takes this type")
        return self.seconds[one.name]

    def search(self, *candidates: Candidate) -> Search:
        return Search(candidates, self.try_out, lambda: self.left)


def plain(*names: str) -> list[Candidate]:
    return [Candidate(name) for name in names]


def test_the_quickest_wins_whatever_was_expected() -> None:
    machine = Machine({"a": 3.0, "b": 2.0, "c": 1.0, "d": 4.0}, 1000)
    search = machine.search(*plain("a", "b", "c", "d"))
    assert halve(search) == Candidate("c")


def test_the_better_half_goes_on() -> None:
    machine = Machine({"a": 1.0, "b": 1.04, "c": 1.08, "d": 1.1}, 1000)
    search = machine.search(*plain("a", "b", "c", "d"))
    halve(search)
    assert [name for name, effort in machine.tried if effort == EFFORTS[0]] == ["a", "b", "c", "d"]
    assert {name for name, effort in machine.tried if effort == EFFORTS[1]} == {"a", "b"}


def test_who_is_clearly_behind_is_not_tried_again() -> None:
    machine = Machine({"a": 1.0, "b": 2.0, "c": 3.0, "d": 1.05}, 1000)
    halve(machine.search(*plain("a", "b", "c", "d")))
    assert {name for name, effort in machine.tried if effort == EFFORTS[1]} == {"a", "d"}


def test_it_ends_when_one_is_ahead() -> None:
    machine = Machine({"a": 1.0, "b": 1.09}, 1000)
    halve(machine.search(*plain("a", "b")))
    assert EFFORTS[2] not in {effort for _, effort in machine.tried}


def test_the_order_of_a_round_turns_round() -> None:
    machine = Machine({"a": 1.0, "b": 1.0}, 1000)
    halve(machine.search(*plain("a", "b")), [Effort(4, 1), Effort(8, 2)])
    assert [name for name, _ in machine.tried] == ["a", "b", "a", "b", "b", "a"]


def test_what_fails_drops_out_with_its_reason() -> None:
    machine = Machine({"a": 1.0, "b": 2.0}, 1000, fails=("a",))
    search = machine.search(*plain("a", "b"))
    assert halve(search) == Candidate("b")
    assert search.failed == {"a": "RuntimeError: no kernel takes this type"}
    assert "a" not in search.seconds


def test_nothing_wins_where_everything_fails() -> None:
    machine = Machine({"a": 1.0}, 1000, fails=("a",))
    assert halve(machine.search(*plain("a"))) is None


def test_the_first_is_tried_however_little_time_there_is() -> None:
    machine = Machine({"a": 5.0, "b": 1.0}, 1.0)
    assert halve(machine.search(*plain("a", "b"))) == Candidate("a")
    assert [name for name, _ in machine.tried] == ["a"]


def test_no_run_begins_that_would_not_end_in_time() -> None:
    machine = Machine({"a": 4.0, "b": 4.0, "c": 1.0}, 9.5)
    halve(machine.search(*plain("a", "b", "c")))
    assert [name for name, _ in machine.tried] == ["a", "b"]


def test_short_runs_are_repeated_until_they_fill_some_time() -> None:
    machine = Machine({"a": 0.125, "b": 0.125}, 1000)
    halve(machine.search(*plain("a", "b")), [Effort(4, 1, 0.3)])
    assert [name for name, _ in machine.tried].count("a") == 3
    machine = Machine({"a": 0.001, "b": 1.0}, 1000)
    halve(machine.search(*plain("a", "b")), [Effort(4, 1, 0.3)])
    assert [name for name, _ in machine.tried].count("a") == MOST_RUNS


def test_a_dearer_price_must_be_earned() -> None:
    lossy = Candidate("lossy", price=1.15)
    assert halve(Machine({"plain": 1.0, "lossy": 0.9}, 1000).search(Candidate("plain"), lossy)) == Candidate("plain")
    assert halve(Machine({"plain": 1.0, "lossy": 0.8}, 1000).search(Candidate("plain"), lossy)) == lossy


COMPILED = Candidate("compiled", extra_seconds=30.0, sibling="plain", ratio=0.8)


def test_what_is_dear_to_try_is_valued_by_its_sibling_where_time_is_short() -> None:
    machine = Machine({"plain": 1.0, "compiled": 5.0}, 20.0)
    assert halve(machine.search(COMPILED, Candidate("plain"))) == COMPILED
    assert {name for name, _ in machine.tried} == {"plain"}


def test_it_is_tried_where_there_is_time() -> None:
    machine = Machine({"plain": 1.0, "compiled": 5.0}, 200.0)
    assert halve(machine.search(COMPILED, Candidate("plain"))) == Candidate("plain")
    assert ("compiled", FOR_THE_DEAR) in machine.tried


def test_it_is_not_tried_where_it_would_not_lead() -> None:
    machine = Machine({"plain": 1.0, "compiled": 0.5, "quick": 0.4}, 1000.0)
    assert halve(machine.search(COMPILED, *plain("plain", "quick"))) == Candidate("quick")
    assert "compiled" not in {name for name, _ in machine.tried}


def test_rounds_tell_what_was_measured_in_each() -> None:
    search = Machine({"a": 1.0, "b": 3.0}, 1000).search(*plain("a", "b"))
    halve(search)
    assert search.rounds[0] == {"tokens": EFFORTS[0].tokens, "runs": 1, "seconds": {"a": 1.0, "b": 3.0}}
