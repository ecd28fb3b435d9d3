"""What the command sets before any replica runs; the rest is in tests/rollouts."""

import pytest

from rl_avr.cli import COMMANDS
from rl_avr.errors import ConfigError
from rl_avr.pipeline.serve_rollouts import serve_rollouts
from rl_avr.settings import ServeSettings, load_settings
from rollouts.config import RolloutConfig, ServerConfig
from rollouts.server_address import find_servers, make_key, write_urls
from rollouts.server_launch import (
    devices_by_replica,
    free_ports,
    policy_path,
    replica_arguments,
    replica_environment,
)


def test_the_file_of_a_training_run_serves_too():
    command = COMMANDS["serve-rollouts"]
    settings = load_settings(ServeSettings, ["configs/demo/grpo.yaml"], (), command.ignored)
    assert settings.rollouts.sampling.max_new_tokens > 0
    with pytest.raises(ConfigError, match="unknown key run"):
        load_settings(ServeSettings, ["configs/demo/grpo.yaml"])


def test_a_replica_gets_the_key_in_its_environment_alone():
    config = RolloutConfig(max_model_len=99, max_images_per_prompt=2)
    arguments = replica_arguments("policy", "float32", config, 8100, on_gpu=False)
    assert not any("secret" in argument for argument in arguments)
    assert replica_environment(config, "secret", "")["VLLM_API_KEY"] == "secret"
    assert {"--host=127.0.0.1", "--port=8100", "--max-model-len=99"} <= set(arguments)
    assert '--limit-mm-per-prompt={"image": 2, "video": 0}' in arguments
    assert "--enforce-eager" in arguments
    assert "--enforce-eager" not in replica_arguments("policy", "float32", config, 8100, True)


def test_each_replica_gets_gpus_of_its_own(monkeypatch):
    config = RolloutConfig(tensor_parallel_size=2, server=ServerConfig(num_replicas=2))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices_by_replica(config, 0) == ["", ""]
    assert devices_by_replica(config, 5) == ["0,1", "2,3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert devices_by_replica(config, 4) == ["4,5", "6,7"]
    assert replica_environment(config, "", "6,7")["CUDA_VISIBLE_DEVICES"] == "6,7"
    with pytest.raises(ConfigError, match="need 4 GPUs, got 3"):
        devices_by_replica(config, 3)


def test_ports_are_free_and_all_different_or_those_of_the_config():
    assert len(set(free_ports(ServerConfig(num_replicas=5)))) == 5
    assert free_ports(ServerConfig(num_replicas=2, first_port=8100)) == [8100, 8101]


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    config = ServerConfig(dir=str(tmp_path / "new"))
    key = make_key(config)
    assert len(key) > 30
    assert make_key(config) == key
    assert (tmp_path / "new" / "api_key").stat().st_mode & 0o777 == 0o600
    write_urls(config, ["http://127.0.0.1:1"])
    assert find_servers(config).urls == ("http://127.0.0.1:1",)
    assert key not in repr(find_servers(config))


def test_a_policy_that_is_not_there(tmp_path):
    assert policy_path("someone/policy") == "someone/policy"
    assert policy_path(str(tmp_path / ".." / tmp_path.name)) == str(tmp_path)
    for path in ("", "runs/no/policy", "./policy"):
        with pytest.raises(ConfigError, match="policy.path"):
            policy_path(path)


def test_one_command_a_folder(tmp_path, monkeypatch):
    import fcntl

    from rl_avr.modeling.config import PolicyConfig

    (tmp_path / "policy").mkdir()
    config = RolloutConfig(server=ServerConfig(dir=str(tmp_path)))
    with (tmp_path / "lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another `rl-avr serve-rollouts` runs there"):
            serve_rollouts(PolicyConfig(path=str(tmp_path / "policy")), config)
