"""The IPVS table: services and servers, their rules in ipvsadm's words, and the table as it is read."""
