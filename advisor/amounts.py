"""Amounts of memory as people read them."""


def size(value: float) -> str:
    """Bytes in the largest unit in which they are at least one."""
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if abs(value) >= 2**power:
            amount = value / 2**power
            return (
                f"{amount:.2f} {unit}"
                if amount < 10
                else f"{amount:.1f} {unit}"
                if amount < 100
                else f"{amount:,.0f} {unit}"
            )
    return f"{value:.0f} bytes"
