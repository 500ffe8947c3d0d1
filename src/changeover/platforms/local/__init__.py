"""Instances as processes on this machine, behind one HAProxy that stands for the cloud's load balancers."""
