"""How one replica is started: its arguments, its environment, its port and its GPUs."""

import json
import os
import socket
from pathlib import Path

from rl_avr.errors import ConfigError
from rl_avr.parent_process import END_WITH_PARENT
from rollouts.config import RolloutConfig, ServerConfig
from rollouts.server_transport import transfer_way


def replica_arguments(
    path: str, dtype: str, config: RolloutConfig, port: int, on_gpu: bool
) -> list[str]:
    """Returns the arguments of `vllm serve` for one replica; what the engine `vllm` sets too.

    Raises:
        ConfigError: weights over NCCL without a GPU.
    """
    images = json.dumps({"image": config.max_images_per_prompt, "video": 0})
    arguments: dict[str, str | int | float] = {
        "model": path,
        "host": config.server.host,
        "port": port,
        "dtype": dtype,
        "max-model-len": config.max_model_len,
        "max-num-seqs": config.max_num_seqs,
        "max-num-batched-tokens": max(4096, config.max_model_len),
        "limit-mm-per-prompt": images,
        "logprobs-mode": "processed_logprobs",
        "generation-config": "vllm",
        "tensor-parallel-size": config.tensor_parallel_size,
        "chat-template-content-format": "openai",
        "worker-extension-cls": "rollouts.server_replica.TakesWeights",
        "middleware": "rollouts.server_replica.KeepOut",
    }
    flags = ["--disable-log-stats", "--disable-uvicorn-access-log"]
    if transfer_way(config.server, on_gpu) == "nccl":
        arguments["weight-transfer-config"] = json.dumps({"backend": "nccl"})
    if on_gpu:
        arguments["gpu-memory-utilization"] = config.gpu_memory_utilization
    else:
        # one process less; vLLM wants two on a CPU in order to bind threads to cores
        arguments["distributed-executor-backend"] = "uni"
        flags += ["--enforce-eager", "--no-enable-chunked-prefill"]
    return [*flags, *(f"--{name}={value}" for name, value in arguments.items())]


def replica_environment(config: RolloutConfig, key: str, devices: str) -> dict[str, str]:
    """Returns the environment of one replica; the user's own values win over most of ours.

    Args:
        config: sizes, and how many replicas share the machine.
        key: the API key; in the environment, because every user can read a command line.
        devices: GPUs, as CUDA_VISIBLE_DEVICES takes them; empty without any.
    """
    threads = max(1, (os.cpu_count() or 1) // config.server.num_replicas)
    defaults = {
        "VLLM_CPU_KVCACHE_SPACE": str(config.cpu_kv_cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "OMP_NUM_THREADS": str(threads),
    }
    ours = {
        "VLLM_API_KEY": key,
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1" if devices else "0",
        END_WITH_PARENT: "1",
        **({"CUDA_VISIBLE_DEVICES": devices} if devices else {}),
    }
    return {**defaults, **os.environ, **ours}


def policy_path(path: str) -> str:
    """Returns the policy's full path, or the hub name as it is.

    Raises:
        ConfigError: neither.
    """
    if not path:
        raise ConfigError("policy.path is empty: expected a model folder or a hub name")
    if Path(path).is_dir():
        return str(Path(path).resolve())
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise ConfigError(f"policy.path {path}: no such folder (from {Path.cwd()})")
    return path


def free_ports(server: ServerConfig) -> list[int]:
    """Returns a port for each replica: those of the config, or free ones."""
    if server.first_port:
        return [server.first_port + index for index in range(server.num_replicas)]
    sockets = [socket.socket() for _ in range(server.num_replicas)]
    for one in sockets:  # all are held until each has one, so that no two get the same
        one.bind((dialled(server.host), 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def dialled(host: str) -> str:
    """Returns the address by which this machine reaches a server that listens on `host`."""
    return "127.0.0.1" if host == "0.0.0.0" else host


def num_gpus() -> int:
    """Returns how many GPUs torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def devices_by_replica(config: RolloutConfig, found: int) -> list[str]:
    """Returns the GPUs of each replica, `tensor_parallel_size` each; empty on a CPU.

    Args:
        config: how many replicas, and GPUs for each.
        found: GPUs that there are.

    Raises:
        ConfigError: there are not enough.
    """
    each, count = config.tensor_parallel_size, config.server.num_replicas
    if not found:
        return [""] * count
    if found < each * count:
        raise ConfigError(
            f"rollouts.server.num_replicas {count} with rollouts.tensor_parallel_size {each} need "
            f"{each * count} GPUs, got {found}"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(found)]
    return [",".join(names[i * each : (i + 1) * each]) for i in range(count)]
