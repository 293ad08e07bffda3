"""Agents that call a model's API themselves: a tool loop, and two that answer in one go.

`toolloop`, `diff` and `rewrite` are the agents; `dialogue` is one conversation within time, budget and the provider's
limits; `anthropic`, `openai`, `openai_chat` and `gemini` each say `messages` in one provider's words, and are imported
only when a model of theirs is asked (the extra ``agents``).
"""
