"""The embedded method: weights over what a log shows, without any model or network."""
