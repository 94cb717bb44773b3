"""One command per verb."""
