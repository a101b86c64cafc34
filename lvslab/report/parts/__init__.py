"""Parts of a page: plain values for the templates, each from what the run directory holds."""
