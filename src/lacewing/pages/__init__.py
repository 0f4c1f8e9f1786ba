"""What every page that lacewing writes or serves shares."""
