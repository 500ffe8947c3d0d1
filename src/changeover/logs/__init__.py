"""The logs of a chain, read in one order of time: those of instances, load balancer, keeper and controller."""
