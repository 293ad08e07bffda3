"""Coding agents with a program of their own: Claude Code, Codex, Gemini CLI and OpenCode.

One file for each says how it is started and what its output means; `runner` does the rest: the sandbox that it runs in,
its home, sessions, skills and MCP servers, the reply's form, one repair, and what is kept of every call.
"""
