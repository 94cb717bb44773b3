"""TOKENS → LOGITS in PyTorch: the readable definition; learning and GPU run on it."""
