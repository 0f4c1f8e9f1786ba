"""One log as one offline HTML page."""
