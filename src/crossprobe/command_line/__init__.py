"""The command `crossprobe`."""
