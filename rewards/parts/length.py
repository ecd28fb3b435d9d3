"""The length of a completion."""

from rl_avr.contracts import ParsedCompletion


def length(parsed: ParsedCompletion, limit: int, buffer: int) -> float | None:
    """Returns 1 up to some length, falling to 0 at a limit.

        n <= L - B        1
        L - B < n < L     (L - n) / B
        L <= n            0

    for n tokens, the limit L and the buffer B; a buffer of 0 is a step. 0 unless the
    status is `ok`: neither an empty, a cut nor a malformed text may earn by being short.
    None where the number of tokens is not known.

    Args:
        parsed: what the completion says.
        limit: in tokens, the end token included.
        buffer: in tokens, 0 to `limit`.

    Source: soft overlong punishment, DAPO (2503.14476), moved from [-1, 0] to [0, 1].
    """
    if parsed.num_tokens is None:
        return None
    if parsed.status != "ok" or parsed.num_tokens >= limit:
        return 0.0
    return min(1.0, (limit - parsed.num_tokens) / buffer) if buffer else 1.0
