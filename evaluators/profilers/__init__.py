"""Profilers: where the time of a program goes, told in the same terms whatever the tool (docs/profilers.md)."""
