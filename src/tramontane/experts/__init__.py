"""PASSAGES → EXPERT → MIXTURE: learn, route, compose, withdraw, voice."""
