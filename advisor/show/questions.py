"""Questions on a terminal. Only this module knows that there is one."""

from collections.abc import Callable

import questionary

from advisor.facts import Declaration, Question, Value

SKIP = "I don't know"


def ask(declaration: Declaration, question: Question) -> Value | None:
    """One question with its answers as a list; None for "I don't know". Ctrl-C ends the program."""
    choices = [questionary.Choice(label, value=index) for index, (_, label) in enumerate(question.answers)]
    choices.append(questionary.Choice(SKIP, value=-1))
    default = next(n for n, (value, _) in enumerate(question.answers) if value == question.assumed)
    put: Callable[..., questionary.Question] = questionary.select
    chosen = put(question.text, choices=choices, default=choices[default], instruction=f"({declaration.name})")
    index = chosen.unsafe_ask()
    return None if index < 0 else question.answers[index][0]
