"""Where the rules lie that come with the program."""

from pathlib import Path


def shipped() -> Path:
    """Their folder: inside the package (a wheel), else beside it (a checkout)."""
    package = Path(__file__).resolve().parent
    inside = package / "rules"
    return inside if inside.is_dir() else package.parent / "rules"
