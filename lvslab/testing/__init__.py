"""What the pytest plugin (lvslab/testing/plugin.py) is made of; docs/testing.md is its manual.

settings    the command line's options, and what a test asks for with its marker: descriptions,
checked before any test starts protocol    a test's whole protocol, carried out in a sandbox; its
reports come back to the pytest that runs the session process     a process in a sandbox that is
bounded in time, can be interrupted and leaves nothing behind labtest     one test's run directory
and labs lab         the lab that a test gets
"""
