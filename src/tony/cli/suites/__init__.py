"""What `tony eval` does, one file a suite."""
