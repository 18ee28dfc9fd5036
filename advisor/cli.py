"""The command line: parse, call, print, exit code.

Exit codes: 0 done; 1 the plan did not hold, a rule's case failed, or the text was not recognized; 2 the request cannot
be carried out as it stands; 70 a bug of this program; 130 interrupted, 143 terminated, 129 the
terminal was closed.
"""

import argparse
import gc
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TypeAlias

from advisor.errors import AdvisorError

DONE, NOT_SO, WRONG_REQUEST, BUG, INTERRUPTED, TERMINATED = 0, 1, 2, 70, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser(words[0] if words else "")
    options = parser.parse_args(words)
    if options.command is None:
        parser.print_help(sys.stderr)
        return WRONG_REQUEST
    # A polite kill ends like Ctrl-C does: children are ended, temporary folders go.
    signal.signal(signal.SIGTERM, _terminated)
    # So does a terminal that is closed, unless nohup asks to go on.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _terminated)
    try:
        command = _imported(options.command)
        code: int = command.run(options)
        if sys.stdout is not None:  # closed by the caller: nothing was printed to it
            sys.stdout.flush()
        return code
    except AdvisorError as error:
        for mistake in error.mistakes:
            print(f"perf-advisor: {mistake}", file=sys.stderr)
        return WRONG_REQUEST
    except KeyboardInterrupt:
        print("perf-advisor: interrupted; what was started has been ended", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): no error of the user's, and nothing left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception:
        import traceback

        traceback.print_exc()
        print(_OUR_BUG, file=sys.stderr)
        return BUG


def _imported(name: str) -> ModuleType:
    """The module of a command. Nothing that an import makes is garbage: none is looked for meanwhile, and never among
    what the first command of a process brought."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(f"advisor.commands.{name}")
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
        if collecting:
            gc.enable()


def _terminated(number: int, _: object) -> None:
    raise SystemExit(128 + number)


_OUR_BUG = (
    "perf-advisor: this is a bug of perf-advisor, not of your request. Please report it with the lines above and with\n"
    "the output of: perf-advisor probe --json   (it holds no name, host or path)"
)


def _parser(first: str) -> argparse.ArgumentParser:
    """The parser of all commands, or only of the one that the first word names: the others cost time, say nothing."""
    parser = argparse.ArgumentParser(
        prog="perf-advisor",
        description="Makes Hugging Face Transformers models fit and run fast on this machine, and proves it.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    # Without `prog`, argparse makes a formatter of help to find its own name.
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", prog=parser.prog)
    every = (_diagnose, _apply, _check, _explain, _run, _probe, _rule, _where, _demo)
    named = [add for add in every if add.__name__ == f"_{first}"]
    for add in named or every:
        add(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"perf-advisor {version('perf-advisor')}")
        parser.exit()


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


_SAYS_ASSUMED = "ask nothing; list what was assumed"
_TAKEN_ALIKE = "this command never asks; taken so that scripts can give it to every command"
_SILENT = "wait for the text without asking for it"


def _command(
    commands: _Commands, name: str, line: str, no_input: str = _TAKEN_ALIKE, json_file: bool = False
) -> argparse.ArgumentParser:
    """A command with the options that all share. `no_input` says what --no-input does there; with `json_file`, --json
    names a file, because stdout is another program's."""
    parser = commands.add_parser(name, help=line, description=line[0].upper() + line[1:] + ".")
    common = parser.add_argument_group("common options")
    if json_file:
        common.add_argument("--json", metavar="FILE", help="write the result as JSON to a file")
    else:
        common.add_argument("--json", action="store_true", help="print the result as JSON to stdout")
    common.add_argument("--no-input", action="store_true", help=no_input)
    common.add_argument("--machine", metavar="FILE", help="a machine recorded with probe --json instead of this one")
    common.add_argument("--rules", metavar="DIR", action="append", help="add a folder of rules (repeatable)")
    common.add_argument("--python", metavar="PATH", help="the interpreter whose environment runs the model")
    return parser


def _count(text: str) -> int:
    """A positive whole number."""
    if not re.fullmatch(r"[0-9]{1,8}", text) or not 1 <= int(text) <= _LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {_LARGEST}")
    return int(text)


def _factor(text: str) -> float:
    """A positive factor."""
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text) or not float(text) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no factor like 1.3")
    return float(text)


def _per_second(text: str) -> float:
    """A positive rate."""
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,6})?", text) or not float(text) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of requests a second, like 2 or 0.5")
    return float(text)


_LARGEST = 10_000_000


_GOALS = (
    "what should get better: the time of one request, the tokens of all requests, less memory (at up to half the "
    "speed), or only that it runs at all (default: latency)"
)
_QUANTIZE = (
    "when weights may be quantized: never, only to make the model fit, or for speed and memory too (default: to_fit)"
)
_PROMPTS = 'your own prompts: one a line, or JSON with {"prompt": "..."} or {"input_ids": [...]}'
_RATE = "measure under load: requests of all lengths arrive by chance, R a second, while others are being answered"
_SET = "a part of your present setup, like dtype=float32; --list-knobs lists the names (repeatable)"


def _diagnose(commands: _Commands) -> None:
    parser = _command(
        commands, "diagnose", "find what to change so that a model fits and runs fast here", _SAYS_ASSUMED
    )
    parser.add_argument("model", nargs="?", help="Hub id, local folder, config.json, or a shipped shape")
    parser.add_argument("--list-shapes", action="store_true", help="list the shipped model shapes")
    parser.add_argument(
        "--task", choices=("generate", "encode", "train"), help="what the model is used for (default: generate)"
    )
    parser.add_argument("--goal", choices=("latency", "throughput", "memory", "fit"), help=_GOALS)
    parser.add_argument("--batch", type=_count, metavar="N", help="prompts at hand at one time (default: 1)")
    parser.add_argument("--prompts", metavar="FILE", help=_PROMPTS)
    parser.add_argument("--prompt-tokens", type=_count, metavar="N", help="length of a prompt (default: 512)")
    parser.add_argument("--new-tokens", type=_count, metavar="N", help="tokens to generate (default: 128)")
    parser.add_argument("--concurrency", type=_count, metavar="N", help="requests in flight at a time (default: 1)")
    for name, line in (
        ("repeats", "whether one process serves many requests of about one shape (default: yes)"),
        ("mixed-lengths", "whether the prompts of a batch differ much in length (default: no)"),
        ("reads-attention-weights", "whether your code reads attention weights (default: no)"),
        ("turns", "whether requests are turns of conversations (default: no)"),
        ("grounded", "whether answers repeat passages of the prompt (default: no)"),
        ("sampling", "whether tokens are drawn by chance, do_sample=True (default: no)"),
    ):
        parser.add_argument(f"--{name}", choices=("yes", "no"), help=line)
    parser.add_argument("--quantize", choices=("never", "to_fit", "freely"), help=_QUANTIZE)
    parser.add_argument("--list-knobs", action="store_true", help="list the names and values that --set takes")
    parser.add_argument("--set", metavar="KNOB=VALUE", action="append", help=_SET)
    parser.add_argument("--code", metavar="FILE", help="your script or notebook; it is read, never run")
    parser.add_argument("--from-error", metavar="FILE", help="the text of a failure to answer, as explain reads it")
    parser.add_argument("--revision", help="revision of a Hub model")
    parser.add_argument("--trust-remote-code", action="store_true", help="run code from the model's repository")
    parser.add_argument("--no-dry-run", action="store_true", help="memory by formula: do not run the model's code")
    parser.add_argument("--details", action="store_true", help="show the silent rules too, and why")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write the plan (default: plan.json)")


def _apply(commands: _Commands) -> None:
    parser = _command(commands, "apply", "run baseline and plan side by side and keep what holds")
    parser.add_argument("--plan", required=True, metavar="FILE", help="the plan that diagnose wrote")
    parser.add_argument("--model", metavar="FOLDER", help="confirm a model folder that lies outside the plan's folder")
    parser.add_argument("--assistant", metavar="FOLDER", help="confirm the folder of the model that drafts tokens")
    parser.add_argument("--weights", choices=("real", "random"), help="random: only a config is at hand")
    parser.add_argument("--steps", action="store_true", help="measure the steps one by one first")
    parser.add_argument("--tune", action="store_true", help="try setups near the plan first and take the quickest")
    parser.add_argument("--tune-seconds", type=_count, metavar="N", help="how long --tune may try (default: 60)")
    parser.add_argument("--dry-run", action="store_true", help="show what would run, run nothing")
    parser.add_argument("--export", metavar="FILE.py", help="write the final setup as a program of its own")
    parser.add_argument("--report", metavar="FILE.html", help="write the result as a page")
    parser.add_argument("--limit-seconds", type=_count, metavar="N", help="longest time for one run of the model")
    parser.add_argument("--install", action="store_true", help="install what the plan needs and lacks, after a yes")
    parser.add_argument("--yes", action="store_true", help="with --install: yes, without being asked")
    parser.add_argument("--export-serve", metavar="FILE.sh", help="write the commands that serve it, vLLM's too")
    _load(parser)


def _check(commands: _Commands) -> None:
    parser = _command(commands, "check", "measure a plan again and say in one line whether it still pays, for CI jobs")
    parser.add_argument("--plan", required=True, metavar="FILE", help="the plan that diagnose wrote")
    parser.add_argument("--min-speedup", required=True, type=_factor, metavar="X", help="the least gain, like 1.3")
    parser.add_argument("--model", metavar="FOLDER", help="confirm a model folder that lies outside the plan's folder")
    parser.add_argument("--assistant", metavar="FOLDER", help="confirm the folder of the model that drafts tokens")
    parser.add_argument("--weights", choices=("real", "random"), help="random: only a config is at hand")
    parser.add_argument("--limit-seconds", type=_count, metavar="N", help="longest time for one run of the model")
    _load(parser)


def _load(parser: argparse.ArgumentParser) -> None:
    """What is measured instead of the plan's own prompts, all at once."""
    parser.add_argument("--prompts", metavar="FILE", help=_PROMPTS)
    parser.add_argument("--request-rate", type=_per_second, metavar="R", help=_RATE)
    parser.add_argument("--requests", type=_count, metavar="N", help="requests of one run at that rate (default: 32)")


_SNAPSHOT = "a file of torch.cuda.memory._dump_snapshot(): who holds the memory, by line of code"


def _explain(commands: _Commands) -> None:
    parser = _command(commands, "explain", "explain a pasted out-of-memory traceback or another error", _SILENT)
    parser.add_argument("files", nargs="*", metavar="FILE", help="texts to explain; - or none: standard input")
    parser.add_argument("--model", metavar="MODEL", help="the model that failed: say what would make it fit")
    parser.add_argument("--plan", metavar="FILE", help="the plan that was running: its setup is what is in force")
    parser.add_argument("--snapshot", metavar="FILE", help=_SNAPSHOT)


def _run(commands: _Commands) -> None:
    parser = _command(commands, "run", "run a program as it is, and explain it if it fails", json_file=True)
    parser.usage = "perf-advisor run [options] -- COMMAND ..."
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="the program and its arguments")


def _probe(commands: _Commands) -> None:
    parser = _command(commands, "probe", "show the machine as the other commands see it")
    parser.add_argument("--no-speed", action="store_true", help="leave out the speed constants (about three seconds)")


def _rule(commands: _Commands) -> None:
    parser = _command(commands, "rule", "the ladder of rules, one rule's page, or a folder's cases")
    parser.add_argument("id", nargs="?", metavar="ID", help="show this rule's page")
    parser.add_argument("--test", metavar="DIR", help="run the cases of a folder of rules")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of a rule file, for editors")


def _where(commands: _Commands) -> None:
    parser = _command(commands, "where", "show where a knob or a name stands in the installed library")
    parser.add_argument("name", metavar="NAME", help="a knob, module:name, a name of transformers, or an old name")


def _demo(commands: _Commands) -> None:
    parser = _command(commands, "demo", "diagnose and apply on a small model that is made here in seconds")
    parser.add_argument("--folder", default=".demo", metavar="DIR", help="where the model is made (default: .demo)")


if __name__ == "__main__":
    sys.exit(main())
