"""Coding agents: whatever takes a prompt and a workspace, may change files, and answers.

A role (implementer, judge, planner, profiler, performance evaluator, lessons writer) is a prompt, a permission and a
reply schema over one `Agent`; mutators, judges and consultations use agents through `raysearch.agents.interface`.
Agents are plug-ins of the kind ``agents``: the built-in ones come through the same door as a user's.
"""
