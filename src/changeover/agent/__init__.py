"""The agent: what must stand beside a tier's software when the controller is on another machine."""
