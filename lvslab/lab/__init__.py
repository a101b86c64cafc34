"""The plan carried out: nodes and links, kernels booted, daemons started, all of it ended again."""

from lvslab.lab.lab import Lab as Lab
