"""A challenger beside the champion on live traffic: what both answered, and which is the better one."""
