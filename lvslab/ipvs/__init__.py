"""The IPVS table: services, servers, rules in ipvsadm's words, and the table as it is read."""
