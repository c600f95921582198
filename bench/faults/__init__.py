"""The fault harness: a real cluster, real gateways, producers and viewers, six faults, and a checker that counts."""
