"""Where samples come from: each source in a file of its own."""
