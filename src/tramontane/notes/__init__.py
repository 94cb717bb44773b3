"""FILES → PASSAGES: readers by file type, passages that know their lines."""
