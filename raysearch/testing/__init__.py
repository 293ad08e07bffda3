"""Proof: kits that authors of plug-ins inherit, and the simulator that drives whole runs from one seed.

`conformance` has the kits, `workspace` a workspace and a target to try a plug-in on; `simulation` runs a policy
through faults and power cuts, `audit` says what must hold of every journal, `twins` what two equal runs share.
"""
