"""The rules of docs/protocol.md as small worlds, explored whole or by the thousand, so that a wrong rule shows."""
