"""Training that can be killed at any moment and goes on exactly where it stopped; engine-free."""
