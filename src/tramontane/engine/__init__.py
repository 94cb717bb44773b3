"""REQUESTS → TOKENS: requests, scheduler, KV pages, sampler; drives a runtime."""
