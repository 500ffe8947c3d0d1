"""nginx, as an L7 proxy (`nginx`) and as an L4 proxy (`nginx-stream`)."""
