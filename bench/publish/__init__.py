"""The producers: one schedule for every system, and each system's own way in."""
