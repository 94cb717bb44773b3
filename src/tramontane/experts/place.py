"""Where learning computes, and in which numbers: on a GPU if there is one, in bfloat16 if fast.

What is learnt is float32 everywhere; these are the numbers of the frozen base and of the states.
"""

from dataclasses import dataclass

import torch

from tramontane.errors import BackendUnavailable


@dataclass(frozen=True)
class Place:
    device: str
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.device}, {str(self.dtype).removeprefix('torch.')}"


def choose_place(wanted: str) -> Place:
    """Returns the place for `wanted`: "cpu", "cuda", or "auto" for a GPU if there is one.

    Raises BackendUnavailable when there is no such GPU.
    """
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise BackendUnavailable(
            "device = cuda: PyTorch sees no such GPU here; learn on the processor with "
            "`device = cpu`, or install PyTorch's build for this GPU"
        )
    device = "cuda" if wanted == "cuda" or (wanted == "auto" and has_gpu) else "cpu"
    is_fast = torch.cuda.is_bf16_supported() if device == "cuda" else cpu_multiplies_bfloat16()
    return Place(device, torch.bfloat16 if is_fast else torch.float32)


def cpu_multiplies_bfloat16() -> bool:
    """Returns whether the processor has instructions for bfloat16 (AVX512-BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
