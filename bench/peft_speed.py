"""The peer in speed and memory of learning: transformers and PEFT, in a process of its own.

    python bench/peft_speed.py --convert FILE.gguf FOLDER
    python bench/peft_speed.py FOLDER --adapts same-layers|defaults --batch 4 --steps 6

same-layers: a LoRA on gate, up and down of the layers that an expert has, of an expert's size, in
bfloat16. defaults: what PEFT's quick tour writes, a LoraConfig with nothing but the task, on the
model as `from_pretrained` gives it. Both: AdamW, the loss that transformers computes. Windows are
of 256 tokens; times are of the steps after the first. Prints one line of JSON.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from memory import peak_bytes

WINDOW_TOKENS = 256
QUANTISED = "quantization_config"


def convert(gguf: Path, folder: Path) -> None:
    """Writes the file's model as transformers keeps one, in bfloat16."""
    read = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16
    )
    # What was read from a GGUF file calls itself quantised and can't be saved.
    config = LlamaConfig(**{k: v for k, v in read.config.to_dict().items() if k != QUANTISED})
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)


def adapted(folder: Path, adapts: str, first: int, rank: int) -> torch.nn.Module:
    if adapts == "defaults":
        model = AutoModelForCausalLM.from_pretrained(folder)
        return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    wanted = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["gate_proj", "up_proj", "down_proj"],
        layers_to_transform=list(range(first, model.config.num_hidden_layers)),
    )
    return get_peft_model(model, wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--convert", action="store_true")
    parser.add_argument("--adapts", choices=("same-layers", "defaults"), default="same-layers")
    parser.add_argument("--first", type=int, default=20)
    parser.add_argument("--rank", type=int, default=35)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    wanted = parser.parse_args()
    if wanted.convert:
        convert(*wanted.folder)
        return
    torch.set_num_threads(wanted.threads)
    torch.manual_seed(0)
    model = adapted(wanted.folder[0], wanted.adapts, wanted.first, wanted.rank).train()
    learnt = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=1e-4)
    seconds = []
    for _ in range(wanted.steps):
        ids = torch.randint(100, 40_000, (wanted.batch, WINDOW_TOKENS))
        began = time.perf_counter(), time.process_time()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    tokens = wanted.batch * WINDOW_TOKENS
    print(
        json.dumps(
            {
                "tokens_per_second": tokens / min(wall for wall, _ in seconds[1:]),
                "tokens_per_cpu_second": tokens / min(cpu for _, cpu in seconds[1:]),
                "peak_bytes": peak_bytes(),
                "parameters": sum(p.numel() for p in learnt),
                "dtype": str(model.dtype),
            }
        )
    )


if __name__ == "__main__":
    main()
