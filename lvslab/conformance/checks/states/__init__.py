"""Connection states and lifetimes, as `ipvsadm -Lnc` shows them against the packets sent."""
