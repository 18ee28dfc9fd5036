"""`apply --export-serve FILE.sh`: the commands that serve a plan's model."""

from pathlib import Path

from advisor.errors import Mistake, RequestError
from advisor.files import write_whole
from advisor.plan import Plan
from advisor.run.serve_command import serve_script
from advisor.setup import Setup
from advisor.show import terminal


def write_serve(plan: Plan, setup: Setup, path: str | None) -> None:
    """Write the commands where a file is asked for.

    Raises:
        PlanError: the plan's model cannot be served.
        RequestError: the file cannot be written.
    """
    if path is None:
        return
    try:
        write_whole(Path(path), serve_script(plan, setup))
    except OSError as error:
        raise RequestError(Mistake("--export-serve", f"{path} cannot be written: {error.strerror}")) from error
    terminal.talk().print(f"The commands that serve the model: {path}", markup=False, soft_wrap=True)
