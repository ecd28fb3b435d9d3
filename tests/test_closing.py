import pytest

from rl_avr.closing import Closing
from rl_avr.collector import Collector
from rl_avr.reporting.sinks import MetricsFile
from rollouts.scripted import ScriptedEngine
from rollouts.server_engine import ServerEngine
from rollouts.transformers_engine import TransformersEngine
from rollouts.vllm_engine import VllmEngine


class Door(Closing):
    def __init__(self) -> None:
        self.num_closed = 0

    def close(self) -> None:
        self.num_closed += 1


def test_the_context_is_the_thing_itself_and_closes_it_once():
    door = Door()
    with door as entered:
        assert entered is door
        assert door.num_closed == 0
    assert door.num_closed == 1


def test_an_error_closes_and_goes_on():
    door = Door()
    with pytest.raises(KeyError, match="lost"), door:
        raise KeyError("lost")
    assert door.num_closed == 1


def test_a_class_without_close_cannot_be_made():
    class Open(Closing):
        pass

    with pytest.raises(TypeError, match="close"):
        Open()


@pytest.mark.parametrize(
    "kind",
    [Collector, MetricsFile, ScriptedEngine, ServerEngine, TransformersEngine, VllmEngine],
)
def test_nobody_writes_the_context_again(kind):
    assert kind.__enter__ is Closing.__enter__
    assert kind.__exit__ is Closing.__exit__


def test_a_metrics_file_is_closed_by_its_context(tmp_path):
    with MetricsFile(tmp_path / "metrics.jsonl") as metrics:
        metrics.write(1, {"reward": 0.5})
    with pytest.raises(ValueError, match="closed"):
        metrics.write(2, {"reward": 0.5})
