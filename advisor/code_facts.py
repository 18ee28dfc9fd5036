"""What the user's own script does, as facts `code.*`: read from its text (reading_code), which is never run.

Without a script each is unknown. `advisor.rulebook.vocabulary()` joins them to the facts of the machine and the model.
"""

from advisor.facts import Declaration, Kind

F, T, L = Kind.FLAG, Kind.NAME, Kind.NAMES

NOT_GIVEN = "no --code FILE was given"

DECLARATIONS: tuple[Declaration, ...] = tuple(
    Declaration(name, kind, line)
    for name, kind, line in (
        ("code.names", L, "old or telling names that the script uses where they mean something to transformers"),
        ("code.generates", F, "the script calls generate"),
        ("code.calls_forward", F, "the script calls the model itself: model(**inputs)"),
        ("code.uses_pipeline", F, "the script makes a pipeline"),
        ("code.trains", F, "the script trains"),
        ("code.shows_training", F, "every setting of its training that the estimate needs stands in the script"),
        ("code.unread_settings", L, "settings of its training that the script does not show, or that are not counted"),
        ("code.unread_options", L, "options of diagnose that state settings of training which were not read"),
        ("code.unread_without_option", L, "settings of its training that are not counted and that no option states"),
        ("code.training_loop", T, "what a training loop without a Trainer is made with: accelerate or torch"),
        ("code.computes_metrics", F, "a Trainer is given compute_metrics"),
        ("code.batches_continuously", F, "the script uses continuous batching"),
        ("code.loops_over_prompts", F, "the script answers one prompt after the other in a loop"),
        ("code.pipeline_one_by_one", F, "a pipeline gets many prompts and runs them one after the other"),
        ("code.pipeline_device", F, "a pipeline is told on which device to run"),
        ("code.moves_inputs", F, "what the tokenizer gives is moved to a device"),
        ("code.no_gradients", F, "plain forward calls stand under no_grad or inference_mode"),
        ("code.keeps_all_logits", F, "logits of every position are computed, those of the last one are read"),
        ("code.collects_logits", F, "a list grows by logits, scores or hidden states"),
        ("code.reads_attentions", F, "the script reads attention weights"),
        (
            "code.pads_to_max_length",
            F,
            "prompts are padded to a fixed length: the one that is given, or the longest that the model takes",
        ),
        ("code.pads_in_batches", F, "prompts are padded to the longest of their batch"),
        ("code.pads_to_multiple", F, "prompts are padded to a multiple of a length"),
        ("code.sets_left_padding", F, "prompts are padded on the left"),
        ("code.compiles_generate", F, "torch.compile is put on generate"),
        ("code.compiles_model", F, "torch.compile is put on the model"),
        ("code.compiles_forward", F, "torch.compile is put on forward"),
        ("code.reuses_static_cache", F, "one StaticCache is passed to several calls"),
        ("code.resets_cache", F, "a cache is reset"),
        ("code.four_bit_without_compute_dtype", F, "4-bit weights are configured without bnb_4bit_compute_dtype"),
        ("code.four_bit_type", T, "type of 4-bit weights: nf4 or fp4"),
        ("code.loads_gguf", F, "weights are loaded from a GGUF file"),
        ("code.moves_quantized_model", F, "a quantized model is moved or cast after loading"),
        ("code.times_first_call", F, "a clock is read around the first call, with none before to warm up"),
        ("code.loads_again_for_attention", F, "one model is loaded twice and only attention differs"),
        ("code.limits_continuous_batching", F, "both limits of continuous batching are given"),
        ("code.checks_request_status", F, "the status of finished requests is read"),
    )
)
