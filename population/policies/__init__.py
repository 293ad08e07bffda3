"""Search policies: a query that proposes, and a fold over the facts."""
