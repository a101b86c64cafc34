"""The catalog of kernels: what can be had, how it is fetched, built or added, and what is here."""
