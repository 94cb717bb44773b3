"""FILES ⇄ NAMED TENSORS: GGUF, safetensors; families; pull."""
