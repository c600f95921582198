"""The judge. It knows the wire only, imports nothing of Holdfast, and decides from records alone."""
