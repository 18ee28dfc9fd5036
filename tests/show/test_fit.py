"""The fit table and the split on the screen: every verdict in words."""

from typing import Any

from advisor.show import fit

GIB = 2**30


def cell(total: float | None, fits: bool | None) -> dict[str, Any]:
    size = None if total is None else round(total * GIB)
    return {"context_tokens": 2048, "total_bytes": size, "available_bytes": 24 * GIB, "fits": fits}


def test_a_cell_says_its_size_and_verdict_in_words() -> None:
    band = (0.9, 1.12)
    assert fit._cell(cell(15.94, True), band) == "15.9 fits"
    assert fit._cell(cell(22.5, True), band) == "22.5 tight"
    assert fit._cell(cell(31.2, False), band) == "31.2 no"
    assert fit._cell(cell(31.2, None), band) == "31.2 ?"
    assert fit._cell(cell(None, None), band) == "-"


def test_a_split_names_layers_by_device() -> None:
    def share(device: str, first: int | None, last: int | None, size: float, **more: bool) -> dict[str, Any]:
        held = {"embedding": False, "head": False, **more}
        return {"device": device, "first_layer": first, "last_layer": last, "weights_bytes": round(size * GIB), **held}

    shares = (share("0", 0, 21, 9.6, embedding=True), share("1", 22, 31, 4.0, head=True), share("cpu", None, None, 0))
    assert fit.split(shares) == ("GPU 0: embedding, layers 0-21 (9.6 GiB); GPU 1: layers 22-31, head (4.0 GiB); CPU: -")
