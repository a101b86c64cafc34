"""What users have, read as data: configuration files of keepalived and ldirectord, rules of
ipvsadm, and what a machine's own programs print.

In: text. Out: frozen records, and beside them every line that was not understood; a text that is
cut short, older, newer or foreign is never an error. Nothing here opens a file or asks a machine.
"""
