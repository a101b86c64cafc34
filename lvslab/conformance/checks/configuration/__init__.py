"""The table itself: what ipvsadm takes and refuses, saves and restores."""
