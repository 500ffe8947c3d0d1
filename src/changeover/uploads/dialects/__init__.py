"""One file for each way in which clients upload. All of them speak to one engine, and leave one state behind."""
