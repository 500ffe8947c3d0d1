"""The core that decides. Events in, commands out; knows no nginx, no clock, no socket."""
