"""Whom policies ask: those who think, and those who measure."""
