"""The cells: what is measured, each a function from a system and a placement to rows."""
