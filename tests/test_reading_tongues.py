"""Slowness told in other languages than English, and figures that stand away from the message."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import errorbook, rulebook
from advisor.explaining import explain
from advisor.reading import read

RULES = errorbook.load(rulebook.shipped() / "errors", kept=False)
TOLD = {
    "compile_warmup_counted": "Avec torch.compile le premier appel du modèle prend 45 secondes, sans compile c'est "
    "0.5 s. Je ne mesure que cet appel.",
    "multi_gpu_slower_than_single": "Con una sola RTX 3090 el modelo genera 40 tokens/s, con dos tarjetas genera 25 "
    "tokens/s. ¿Por qué es más lento con dos?",
    "slow_model_loading_cold_cache": "Первый запуск: загрузка модели занимает 5 минут. Второй раз только 20 секунд. "
    "После перезагрузки снова 5 минут.",
    "gpu_layers_not_offloaded": "llama.cpp mit GGUF: die GPU bleibt bei 0 %, alle Kerne der CPU sind voll ausgelastet. "
    "Ich habe eine RTX 4070 und nur 3 Token/s.",
    "int8_slower_than_fp16": "load_in_8bit にすると A100 で 7 tokens/s しか出ません。fp16 では 24 tokens/s でした。",
}
HARMLESS = (
    "Ich habe das Modell auf meiner neuen Karte getestet und alles ist gut: 52 Token/s. Danke für die Hilfe!",
    "Je voudrais savoir comment charger un modèle avec une seule carte. Merci pour les exemples.",
    "模型加载完成，显存占用 12GB，一切正常。谢谢大家的帮助！",
    "Спасибо, модель загрузилась за 12 секунд и работает отлично на одной карте.",
    "モデルの読み込みは 12 秒で完了しました。ありがとうございます。",
    "GPU 0 fills up to 60 % while training and the loss goes down nicely. CUDA OOMs: 0, oom_kill 0",
)


@pytest.mark.parametrize("cause", TOLD)
def test_slowness_in_another_language(cause: str) -> None:
    found = explain(TOLD[cause], "text", None, RULES)
    assert found.cause == cause
    assert found.quoted_line.startswith(TOLD[cause][:20])


def test_two_cards_in_chinese() -> None:
    text = "同样的模型，单卡 A100 每秒 50 个 token，两张 A100 反而更慢，只有 30 token/s，为什么？"
    assert explain(text, "text", None, RULES).cause == "multi_gpu_slower_than_single"


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_remarks_stay_quiet(text: str) -> None:
    assert not explain(text, "text", None, RULES).recognized


def test_english_is_left_as_it_is() -> None:
    text = "It is 3 times slower with two cards, plus the load time (see example.com, no solo run, EST)."
    assert [line.bare for line in read(text).lines] == [text]


@given(st.text(alphabet="ſKİıich und das nicht медленно в два 遅い最初の更慢卡 0123456789 s", max_size=400))
def test_any_letters_are_read(text: str) -> None:
    read(text)


def test_long_lines_take_no_time() -> None:
    begun = time.perf_counter()
    read("ich und das " + "langsam" * 200_000)
    assert time.perf_counter() - begun < 5


def test_figures_above_a_bare_summary() -> None:
    message = (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 502.00 MiB. GPU 0 has a total capacity of 8 GiB"
    )
    found = read(
        f"{message}\nException: Capture cuda graph failed: CUDA out of memory.\nPossible solutions: 1. 2."
    ).figures
    assert found["requested_bytes"] == 502 * 2**20
    assert found["total_bytes"] == 2**33


def test_statistics_of_a_pool() -> None:
    text = "Stats: \nLimit:  2147483648\nInUse:  1893427712\nMaxInUse: 196053\nOOM when allocating tensor with shape[2]"
    assert read(text).figures["allocated_bytes"] == 1893427712


def test_largest_block_of_a_driver() -> None:
    text = (
        "RuntimeError: Current platform can NOT allocate memory block with size larger than 4GB! Tried to allocate "
        "5.64 GiB (GPU  0; 15.11 GiB total capacity; 2.13 GiB already allocated; 2.18 GiB reserved in total by PyTorch)"
    )
    found = explain(text, "text", None, RULES)
    assert (found.kind, found.cause) == ("gpu_oom", "single_allocation_limit")
    assert found.figures["limit_bytes"] == 4 * 2**30
