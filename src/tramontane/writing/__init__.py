"""QUESTION → DRAFT: prompt, draft, sources, support."""
