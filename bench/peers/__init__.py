"""The systems under test: us and the peers, each installed and started by the harness."""
