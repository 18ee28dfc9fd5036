from advisor.show.in_code import in_code


def test_a_change_is_written_as_the_user_would_write_it() -> None:
    assert in_code({"dtype": "bfloat16", "attn_implementation": "sdpa"}) == [
        'from_pretrained(..., dtype=torch.bfloat16, attn_implementation="sdpa")'
    ]
    assert in_code({"cache_implementation": "static", "use_cache": True}) == [
        'generate(..., cache_implementation="static", use_cache=True)'
    ]
    assert in_code({"quantization": "bnb_int8", "batch_size": 1}) == [
        "from_pretrained(..., quantization_config=BitsAndBytesConfig(load_in_8bit=True))",
        "one prompt in one call",
    ]


def test_a_knob_without_a_line_of_its_own_is_named() -> None:
    assert in_code({"pad_to_multiple_of": 8}) == ["pad_to_multiple_of: 8"]
    assert in_code({}) == []
