"""Cards: every architecture and released checkpoint, one file per family."""
