"""The benchmark: one load client, every system in the same run, figures with the machine they come from."""
