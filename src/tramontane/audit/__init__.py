"""MIXTURE → SCORES: suites, statistics, report, compare."""
