"""nginx's configuration language."""
