"""The prompt at which a person pastes a traceback."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.output import Output

HINT = "Paste the text of the error. Two empty lines or Ctrl-D end it."


def read_pasted(source: "Input | None" = None, screen: "Output | None" = None) -> str:
    """What a person pastes: ends at two empty lines that were typed, or at Ctrl-D.

    A bracketed paste arrives as a whole, so empty lines inside it end nothing. `source` and `screen` stand for the
    terminal in tests.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    # Imported here: only this prompt needs it, and it takes a tenth of a second.
    from prompt_toolkit import PromptSession
    from prompt_toolkit.output import create_output

    print(HINT, file=sys.stderr)
    # The prompt is talk, so it goes to stderr; stdout is for results.
    output = screen or create_output(stdout=sys.stderr)
    session: PromptSession[str] = PromptSession(
        multiline=True, key_bindings=_keys(), input=source, output=output, enable_open_in_editor=False
    )
    return session.prompt("> ", prompt_continuation="  ")


def _keys() -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.keys import Keys

    keys = KeyBindings()

    @keys.add(Keys.Enter)
    def _enter(event: "KeyPressEvent") -> None:
        """A new line, or the end where the last two lines are empty."""
        buffer = event.current_buffer
        if buffer.document.is_cursor_at_the_end and _ends_in_empty_lines(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    @keys.add(Keys.ControlD, eager=True)
    def _end(event: "KeyPressEvent") -> None:
        event.current_buffer.validate_and_handle()

    return keys


def _ends_in_empty_lines(text: str) -> bool:
    """Whether one more Enter makes the second empty line. An empty prompt never ends by Enter alone."""
    return bool(text.strip()) and text.endswith("\n\n")
