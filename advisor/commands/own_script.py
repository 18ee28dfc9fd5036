"""What `diagnose --code FILE` does with the user's script: what is no program of transformers is refused or said."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from advisor import reading_code
from advisor.errors import Mistake, RequestError
from advisor.facts import Facts, Known, Value
from advisor.reading_code.told import SIZES_OF_A_STEP
from advisor.reading_code.training import of_unread
from advisor.show import terminal
from advisor.workload import Workload

UNREAD = "code.unread_settings"


def of(options: argparse.Namespace) -> reading_code.Code:
    """What the script of --code says; nothing where there is none.

    Raises:
        RequestError: it runs another engine, of which a plan for transformers would say nothing.
    """
    if not options.code:
        return reading_code.none_given()
    script = reading_code.of_file(Path(options.code))
    if script.other_engine and not script.seen:
        engine, place = script.other_engine
        what = f"this script runs on {engine}, and loads no model by transformers: its settings are not read"
        hint = "leave --code out for a plan of transformers; perf-advisor explain reads failures of other engines too"
        raise RequestError(Mistake(place, what, hint))
    if script.other_engine:
        engine, place = script.other_engine
        _say(f"{place} brings in {engine}: what the script does with it is not read.")
    elif not script.seen:
        _say(f"{Path(options.code).name} neither loads nor calls a model of transformers: no setting was read from it.")
    return script


def with_sizes(workload: Workload, script: reading_code.Code) -> Workload:
    """The workload with the task and the sizes that the script states; what the user has stated stays."""
    if script.trains_at and "task" not in workload.stated:
        _say(f"{script.trains_at} trains: taken as --task train.")
        workload = workload.told("task", "train")
    elif script.trains_at and workload.task != "train":
        _say(f"{script.trains_at} trains; for --task {workload.task} its settings of training are left aside.")
    for name, (value, _) in script.sizes_for(workload.task).items():
        workload = workload if name in workload.stated else workload.told(name, value)
    return workload


def facts(script: reading_code.Code, told: Mapping[str, Value], with_batch: bool) -> Facts:
    """What the script says as facts: of settings that it does not show, those that the user has said are known."""
    unread, source = script.facts.value(UNREAD), script.trains_at
    if not isinstance(unread, tuple) or not unread or source is None:
        return script.facts
    said = {*told, *(SIZES_OF_A_STEP if with_batch else ())}
    left = tuple(name for name in unread if name not in said)
    if left == unread:
        return script.facts
    return script.facts | Facts({name: Known(value, source) for name, value in of_unread(left).items()})


def _say(line: str) -> None:
    terminal.talk().print(line, style="dim", markup=False, soft_wrap=True)
