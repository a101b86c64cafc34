"""Every scheduler against its model."""
