"""Trials in a report: what they say, in words and in charts."""
