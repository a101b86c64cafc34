"""Kernels: what each can do, found by trial, and how to boot one as a guest."""
