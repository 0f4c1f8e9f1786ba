"""From a log file of any known format to a `Trace`."""
