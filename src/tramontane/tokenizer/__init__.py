"""TEXT ⇄ TOKENS: encode, decode, chat templates, streaming text."""
