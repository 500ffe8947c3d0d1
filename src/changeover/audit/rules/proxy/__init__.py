"""Rules of HAProxy and Envoy."""
