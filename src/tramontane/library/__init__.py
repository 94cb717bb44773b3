"""PASSAGES ⇄ DISK → HITS: the only folder that speaks SQL; sync, search, ranking."""
