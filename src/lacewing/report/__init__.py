"""Everything measured about one run, as data and as one offline page."""
