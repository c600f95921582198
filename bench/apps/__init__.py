"""The applications that run inside peers which are libraries, not servers."""
