"""Where what a device saw and decided goes: each kind in a file of its own."""
