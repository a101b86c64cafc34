"""The rules of diagnosis: one module for each subject, pure functions from evidence to findings."""
