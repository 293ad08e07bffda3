"""Whom to breed: dominance, frontier, selection, islands and the policies that use them. Pure code, no effects."""
