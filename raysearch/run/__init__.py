"""A run on disk, and how one is started and taken up again."""
