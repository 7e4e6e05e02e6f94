"""Device and dtype, decided once, with the reason that the page prints; and seeded randomness.

Knows no model: how much memory one needs is its row's business.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aigc_demo.errors import Invalid
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cuda", "mps", "cpu")
DTYPES = ("auto", "bfloat16", "float16", "float32")


@dataclass(frozen=True)
class Device:
    """Where models run. `kind` and `dtype` are torch's names; `reason` says why these. compiled: whether torch.compile is
    to be used where a model's family knows how."""

    kind: str
    name: str
    dtype: str
    reason: Words
    compiled: bool = False

    @property
    def torch_dtype(self) -> torch.dtype:
        import torch

        return getattr(torch, self.dtype)

    @property
    def bytes_per_number(self) -> int:
        return 4 if self.dtype == "float32" else 2

    def total_memory(self) -> int:
        """Bytes that the device has; for the CPU what this process may use of the machine's."""
        if self.kind == "cuda":
            import torch

            return torch.cuda.get_device_properties(0).total_memory
        return min(_machine_memory().total, _container_limit())

    def free_memory(self) -> int:
        """Bytes that could be had now without swapping."""
        if self.kind == "cuda":
            import torch

            kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
            return torch.cuda.mem_get_info()[0] + kept  # torch gives its own cache out again before it asks for more
        return self.free_machine_memory()

    def free_machine_memory(self) -> int:
        """Bytes that could be had now beside the device: where weights wait for their turn on it."""
        import psutil

        return min(_machine_memory().available, max(0, _container_limit() - psutil.Process().memory_info().rss))

    def memory_in_use(self) -> int:
        """Bytes that this process holds on the device: what torch allocated, or the process's resident size."""
        if self.kind == "cuda":
            import torch

            return torch.cuda.memory_allocated()
        import psutil

        return psutil.Process().memory_info().rss

    def release_cached_memory(self) -> None:
        """Give back what torch keeps for later, once models or caches have been dropped."""
        import gc

        import torch

        gc.collect()
        if self.kind == "cuda":
            torch.cuda.empty_cache()
        elif self.kind == "mps":
            torch.mps.empty_cache()


class MemoryMeter:
    """The most memory in use since it was made: on CUDA torch's own peak, elsewhere the largest of the samples."""

    def __init__(self, device: Device):
        self._device = device
        self.peak = 0
        if device.kind == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        self.sample()

    def sample(self) -> None:
        if self._device.kind == "cuda":
            import torch

            self.peak = max(self.peak, torch.cuda.max_memory_allocated())
        else:
            self.peak = max(self.peak, self._device.memory_in_use())


def choose(device: str = "auto", dtype: str = "auto", compiled: bool = False) -> Device:
    """The best device there is, or the one asked for; raises `Invalid` where that one is not there."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device != "auto" and not there.get(device, False):
        raise Invalid(
            Words(
                "The device “{device}” is not available here; there is: {there}.",
                "此处没有设备“{device}”；可用的有：{there}。",
            ).format(device=device, there=", ".join(k for k, v in there.items() if v))
        )
    kind = next(k for k, v in there.items() if v) if device == "auto" else device
    chosen, why = fitting_dtype(kind)
    if dtype != "auto":
        chosen, why = dtype, Words("as set by --dtype", "按 --dtype 的设置")
    found = (
        Words("no GPU found, so models run on the CPU", "没有找到 GPU，因此模型在 CPU 上运行")
        if device == "auto" and kind == "cpu"
        else Words("the best device found", "找到的最佳设备")
        if device == "auto"
        else Words("as set by --device", "按 --device 的设置")
    )
    reason = Words("{device}; {dtype}: {why}", "{device}；{dtype}：{why}").format(device=found, dtype=chosen, why=why)
    return Device(kind, _device_name(kind), chosen, reason, compiled)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how a device says that its memory is full; only CUDA has a class for it."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in said or "MPS backend out of memory" in said)


def uniforms(seed: int, count: int) -> list[float]:
    """`count` numbers in [0, 1), the same on every machine for one seed; a longer list begins with a shorter one."""
    import torch

    return torch.rand(count, dtype=torch.float64, generator=torch.Generator("cpu").manual_seed(seed)).tolist()


def fitting_dtype(kind: str) -> tuple[str, Words]:
    """The shortest dtype that a kind of device computes fast in, and why."""
    import torch

    if kind == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", Words("this GPU computes it natively", "此 GPU 原生支持")
        return "float16", Words("this GPU has no native bfloat16", "此 GPU 不原生支持 bfloat16")
    if kind == "mps":
        return "float16", Words("the fast type on Apple GPUs", "Apple GPU 上较快的类型")
    # private, but the only way to ask. oneDNN says yes to all of AVX-512, and emulates it, three to four times as slow as
    # float32, where its instructions for bf16 are missing
    emulated = torch.cpu._is_avx512_supported() and not torch.cpu._is_avx512_bf16_supported()
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported() and not emulated:
        return "bfloat16", Words(
            "half the memory traffic of float32 on this processor", "在此处理器上内存读写量是 float32 的一半"
        )
    return "float32", Words("this processor is slow in shorter types", "此处理器上更短的类型较慢")


def _device_name(kind: str) -> str:
    import torch

    if kind == "cuda":
        return torch.cuda.get_device_name(0)
    if kind == "mps":
        return "Apple GPU"
    return f"CPU × {torch.get_num_threads()}"


def _machine_memory() -> Any:
    import psutil

    return psutil.virtual_memory()


def _container_limit() -> int:
    """The control group's memory limit, which a container is killed at while the machine still has plenty."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if os.path.exists(path):
            with open(path) as file:
                text = file.read().strip()
            if text.isdigit():
                return int(text)
    return 2**63
