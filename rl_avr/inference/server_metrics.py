"""What the chat endpoint counts, as Prometheus reads it."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from rl_avr.contracts import RolloutGroup
from rl_avr.inference.reranker import Reranked

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)


class ServerMetrics:
    """Counters of one server.

    Args:
        num_open: returns how many requests are at work or waiting.
        num_waiting: returns how many wait for the engine.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, num_open: Callable[[], int], num_waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "rl_avr_requests", "Chat requests by HTTP status", ["status"], registry=registry
        )
        self._seconds = Histogram(
            "rl_avr_request_seconds",
            "Time to the first byte of an answer",
            buckets=_SECONDS,
            registry=registry,
        )
        self._chains = Counter("rl_avr_chains", "Chains sampled", registry=registry)
        self._tokens = Counter("rl_avr_tokens", "Tokens sampled", registry=registry)
        self._abstained = Counter(
            "rl_avr_abstentions", "Votes without any answer", registry=registry
        )
        for name, help_text, count in (
            ("rl_avr_open_requests", "Requests at work or waiting", num_open),
            ("rl_avr_waiting_requests", "Requests that wait for the engine", num_waiting),
        ):
            Gauge(name, help_text, registry=registry).set_function(count)

    def count_request(self, status: int, seconds: float) -> None:
        """Counts an answered or refused chat request."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def count_result(self, result: RolloutGroup | Reranked) -> None:
        """Counts what was sampled for a request."""
        if isinstance(result, Reranked):
            chains = [one.completion for one in result.candidates]
            self._abstained.inc(result.answer is None)
        else:
            chains = list(result.completions)
        self._chains.inc(len(chains))
        self._tokens.inc(sum(len(one.token_ids) for one in chains))

    def text(self) -> bytes:
        """Returns all of it in Prometheus' text format."""
        return generate_latest(self._registry)
