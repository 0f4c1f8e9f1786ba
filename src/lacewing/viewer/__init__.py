"""The viewer: a server over run folders and the page it serves; see docs/viewer.md."""
