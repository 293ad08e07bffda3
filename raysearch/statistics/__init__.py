"""Statistics of comparison: which of two programs is better, how sure that is, and what it cost to know.

- `claims`: what may be claimed of one objective, and the gap between two values of it
- `intervals`: medians, shifts and other statistics, with intervals that hold
- `paired`: a sequential test of runs in turns that may be looked at after each of them
- `duel`: a candidate against an incumbent on all objectives, in turns
- `discovery`: how much evidence a claim needs after so many others
- `dominance`: two sets of measurements, objective by objective and together

Pure functions and plain data over the standard library.
"""
