"""Helpers of protocols, and the match `ipvs` of iptables."""
