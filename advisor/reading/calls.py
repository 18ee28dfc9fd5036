"""Which kind of tensor failed, by the innermost calls of a traceback or by the operator that a compiler names.

Frames are read by what they do, not by the words of one library: a product of queries and keys is an attention matrix
in every model, whatever its file is called.
"""

import re
from collections.abc import Iterator, Sequence

from advisor.patterns import when_used
from advisor.reading.cleaning import Line

INNERMOST = 3
"""Calls of a traceback that are looked at, from the innermost outwards."""
LARGE_SIDE = 512
"""Both sides of a feature map of which one sample alone is large."""
REACH = 60
"""Lines around a message in which a compiler lists its buffers."""

_FRAME = when_used(r"^File \S|^[\w./\\~<>\[\]()-]{1,300}\.py\W|site-packages|^(?:Cell|Input) In")
_ARROW = when_used(r"^-{1,6}> ?\d{1,6} (.{1,400})")
_FUSED = when_used(
    r"scaled_dot_product|flash|xformers|memory_efficient|rotary|_proj\("
    r"|(?<!functional\.)linear\((?!.{0,60}embed_tokens)|layer_?norm|past_key|cache|register"
    r"|torch\.(?:zeros|empty|cat)\(",
    re.IGNORECASE,
)
_QUERY_KEY = when_used(
    r"\b\w{0,20}(?:query|queries|\bqs?|\bqt|_q|xq|q_\w{1,12})\w{0,12}(?:\.[\w.]{1,20}\([\w, -]{0,20}\))?(?:\s*[@,*]"
    r"|\.matmul\()\s*\(?"
    r"\w{0,20}(?:keys?|\bks?|\bkt|_k|xk|k_\w{1,12}|k[tT])\b"
)
_SCORES = when_used(
    r"^(?:self\.)?(?:attn|att|attention|scores?|dots|energy|sim|similarity|affinity|position_bias|causal_mask|aff|alpha"
    r"|attn_\w{1,24}|attention_\w{1,24}|\w{1,12}_attn|(?!pred)\w{1,12}_scores)\s?(?:[-+*/]?=)(?!=)"
)
_ON_SCORES = when_used(
    r"(?:softmax|dropout|drop|masked_fill|where)\w{0,8}\(\s*(?:input=)?(?:attn|att|scores?|attention|dots|energy|sim"
    r"|weights)\w{0,24}\b"
    r"|\b(?:attn|scores|attention_scores|attn_weights|attention_probs|attn_probs) ?@ ?v\w{0,12}\b"
    r"|\b(?:attn|att|scores?|attention_scores|dots|energy|sim)\w{0,16}\.(?:softmax|masked_fill|float|to|exp)\w{0,2}\("
)
_WITHIN_ATTENTION = when_used(r"att(?:ention|n)", re.IGNORECASE)
_ON_WEIGHTS = when_used(
    r"^(?:\w{0,12}weights|w|probs|p_attn|a)\s?=.{0,40}(?:dropout|softmax|@|matmul|bmm"
    r"|einsum)\w{0,8}"
)
_LOGITS = when_used(
    r"\b(?:\w{1,12}_)?logits?\b(?!_)|\blog_?probs?\b|prediction_scores|embed_tokens\.weight|wte\.weight|cross_entropy"
    r"|\bvocab|\blm_head|logsumexp"
)
_NO_VOCABULARY = when_used(
    r"preds\b|\.add\(|(?:model|net)\(|nested|gather|\.cat\(|concat|append|attn_logits|attention_logits|router_logits"
    r"|gate_logits|logits_to_keep|router"
)
_STATEMENT = when_used(r"[A-Za-z_][\w.]{0,40}(?:, ?\w{1,30}){0,2} ?[-+*/@]?= ?[^=\s]")
_OPERATOR = when_used(r"op_name=\"?([^\"\s]{1,400})|\[\[\{?\{?node ([\w./-]{1,300})")
_TRAINS = when_used(r"gradient|transpose\(jvp|optimi[sz]er|train", re.IGNORECASE)
_OPERATORS = (
    ("one_hot", when_used(r"one_?hot", re.IGNORECASE)),
    (
        "attention",
        when_used(
            r"att(?:ention|n)\b.{0,80}(?:dot_general|softmax|matmul|mul|add|div|select|exp)|bhqk|bnts"
            r"|bhts|bnqk",
            re.IGNORECASE,
        ),
    ),
    ("logits", when_used(r"logits|lm_head|vocab|log_softmax|cross_entropy|sparse_softmax", re.IGNORECASE)),
    ("picture", when_used(r"conv|upsampl|deconv|resize", re.IGNORECASE)),
)
_XLA_SHAPE = when_used(r"\b(?:shape: )?(?:bf16|f16|f32|f64|pred|s32)\[([\d,]{1,80})\]", re.IGNORECASE)


def tensor(lines: Sequence[Line], first: int, last: int, shape: Sequence[int]) -> tuple[str, int] | None:
    """attention, logits, one_hot or picture, and the line that tells; None where nothing tells."""
    named = _by_operator(lines, max(0, first - REACH), min(len(lines), last + REACH), shape)
    return named or _by_calls(lines, first, last)


def _by_operator(lines: Sequence[Line], first: int, last: int, shape: Sequence[int]) -> tuple[str, int] | None:
    """By the first operator that a list of buffers or a graph node names: compilers list the largest first."""
    for number in range(first, last):
        found = _OPERATOR.search(lines[number].bare)
        if not found:
            continue
        operator = found[1] or found[2]
        sides = shape or _shape_below(lines, number)
        for name, words in _OPERATORS:
            if words.search(operator) and (name != "picture" or _one_large(operator, sides)):
                return name, number
        if "softmax" in operator.lower() and len(sides) >= 3 and sides[-1] == sides[-2]:
            return "attention", number
        return None
    return None


def _shape_below(lines: Sequence[Line], number: int) -> tuple[int, ...]:
    for line in lines[number : number + 4]:
        if found := _XLA_SHAPE.search(line.bare):
            return tuple(int(part) for part in found[1].split(",") if part)
    return ()


def _one_large(operator: str, sides: Sequence[int]) -> bool:
    """Whether a feature map is that of one large picture and of no training step."""
    large = sum(side >= LARGE_SIDE for side in sides[1:])
    return len(sides) >= 4 and sides[0] == 1 and large >= 2 and not _TRAINS.search(operator)


def _by_calls(lines: Sequence[Line], first: int, last: int) -> tuple[str, int] | None:
    """By the innermost calls; the first that tells, from the innermost outwards."""
    calls = list(_calls(lines, first, last))[-INNERMOST:]
    if not calls:
        return _by_statements(lines, first, last)
    around = " ".join(f"{where} {code}" for where, code, _ in calls)
    for _, code, number in reversed(calls):
        if _FUSED.search(code):
            return None
        if _is_attention(code, bool(_WITHIN_ATTENTION.search(around))):
            return "attention", number
        if _LOGITS.search(code) and not _NO_VOCABULARY.search(code):
            return "logits", number
    return None


def _by_statements(lines: Sequence[Line], first: int, last: int) -> tuple[str, int] | None:
    """By code that was pasted without its traceback: only a product of queries and keys is plain enough."""
    for number in range(last - 1, first - 1, -1):
        code = lines[number].bare
        if _STATEMENT.match(code) and not _FUSED.search(code) and _is_attention(code, within=False):
            return "attention", number
    return None


def _is_attention(code: str, within: bool) -> bool:
    if _QUERY_KEY.search(code) or _ON_SCORES.search(code):
        return True
    return within and bool(_SCORES.search(code) or _ON_WEIGHTS.search(code))


def _calls(lines: Sequence[Line], first: int, last: int) -> Iterator[tuple[str, str, int]]:
    """Where a call stands, its code and its line; outermost first."""
    where = ""
    for number in range(first, last):
        bare = lines[number].bare
        if arrow := _ARROW.match(bare):
            yield where, arrow[1].strip(), number
        elif _FRAME.search(bare):
            where = bare
        elif where and bare and number and _FRAME.search(lines[number - 1].bare):
            yield where, bare, number
